"""Serving over HTTP: an API by its name until a signal to stop, or the health and metrics of a process without an API."""

from __future__ import annotations

import asyncio
import ctypes
import signal
import socket
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from types import FrameType
from typing import Any, LiteralString

import httpx
import uvicorn
from fastapi import FastAPI

from infra.database import MIGRATION_NAMES, pool_async
from infra.ending import end_within
from infra.settings import Settings, SettingsError, variable
from infra.web.drain import DRAIN
from infra.web.framework import Health, edged, framework
from infra.web.logs import configure
from infra.web.tokens import Keys

LAST_ANSWERS_S, LAST_WORDS_S = 10, 3
# Longer than proxies keep connections to us (nginx and most load balancers: 60 s), so that it is they who close them: a
# connection that we close just as a request arrives on it is a request that fails.
KEEP_ALIVE_S = 75
LAST_CONNECTIONS_S = 0.2
POOL_PATIENCE_S = 2.0
# A socket filter (classic BPF): load the flags of the TCP header; is SYN among them? Drop it (0); else keep all of it.
DROP_SYN = ((0x30, 0, 0, 13), (0x45, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
SO_ATTACH_FILTER = 26
Query = Callable[[LiteralString, Sequence[Any]], Awaitable[list[Any]]]


class Server(uvicorn.Server):
    """A server that says it drains, and goes on until proxies had time to notice; then it stops taking connections."""

    def __init__(self, config: uvicorn.Config, drain_seconds: float) -> None:
        super().__init__(config)
        self._drain_seconds, self._hurries = drain_seconds, False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Announce the end, then end: at once on Ctrl-C, and on a second signal."""
        loop = asyncio.get_running_loop()
        self._hurries = sig == signal.SIGINT or DRAIN.begun
        seconds = 0.0 if self._hurries else self._drain_seconds
        end_within(seconds + LAST_ANSWERS_S + LAST_WORDS_S if self.started else 0.0)
        loop.call_soon_threadsafe(DRAIN.begin, seconds)
        loop.call_soon_threadsafe(loop.call_later, seconds, super().handle_exit, sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let nobody begin a connection any more, answer those who have, and end."""
        if not self._hurries:
            for listener in sockets or []:
                _let_nobody_begin(listener)
            await asyncio.sleep(LAST_CONNECTIONS_S)
        await super().shutdown(sockets)


def _let_nobody_begin(listener: socket.socket) -> None:
    """Let the kernel drop what would begin a connection, where it can (Linux).

    Closing a listener resets the connections that it has not handed over yet, so the requests on them fail. Those who are
    not let in try again after a second, and are refused by then: a proxy goes to another process.
    """
    code = b"".join(struct.pack("HBBI", *one) for one in DROP_SYN)
    room = ctypes.create_string_buffer(code)
    with suppress(OSError):
        listener.setsockopt(
            socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(DROP_SYN), ctypes.addressof(room))
        )


def listening(settings: Settings, port: str) -> socket.socket:
    """Return a socket at the address that settings name. Raises SettingsError if it cannot be had."""
    number: int = getattr(settings, port)
    bound = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((settings.host, number))
    except OSError as error:
        bound.close()
        raise SettingsError(f"{variable(port)}: {settings.host}:{number} cannot be had: {error.strerror}") from None
    return bound


def serve(app: str, settings: Settings, port: str) -> None:
    """Serve an application, named `module:attribute`, on the port of this setting until a signal to stop."""
    configure(settings.log_level)
    _must_have_keys(settings.need("jwks"))
    listener = listening(settings, port)
    Server(_config(app), settings.drain_seconds).run([listener])


@contextmanager
def side_door(settings: Settings, port: str, url: str, health_of: Callable[[Query], Health]) -> Iterator[None]:
    """Answer for the health and metrics of a process that serves no API, in a thread of its own, meanwhile.

    Its checks ask the database over a connection of their own. Raises SettingsError if the port cannot be had.
    """
    pool = pool_async(url, "fieldlog health", 1)

    async def query(statement: LiteralString, parameters: Sequence[Any]) -> list[Any]:
        async with pool.connection(POOL_PATIENCE_S) as connection:
            return await (await connection.execute(statement, parameters)).fetchall()

    async def database() -> str:
        missing = set(MIGRATION_NAMES) - {name for (name,) in await query("select name from fieldlog.migrations", [])}
        if missing:
            raise RuntimeError(f"migrations are missing: {', '.join(sorted(missing))}")
        return "answers"

    health = health_of(query)
    health.checks = {"database": database, **health.checks}

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with pool:
            health.started = True
            yield

    app = edged(
        framework("Fieldlog: health", "Health and metrics.", health, lifespan, settings.max_body_bytes), settings
    )
    server = uvicorn.Server(_config(app))
    listener = listening(settings, port)
    thread = threading.Thread(target=server.run, args=[[listener]], name="side door", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(LAST_ANSWERS_S)


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whom to believe is a setting of ours (infra/web/proxies.py)
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=LAST_ANSWERS_S,
    )


def _must_have_keys(source: str) -> None:
    try:
        asyncio.run(Keys(source).load())
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise SettingsError(f"FIELDLOG_JWKS: no keys could be had from {source}: {error}") from error
