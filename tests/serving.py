"""Real servers for tests: an API on a port of its own, and a client that speaks for somebody."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
import uvicorn

from domain.roles import Role
from infra.local.home import issue_token
from infra.settings import Settings
from infra.web.edge import App
from tests.conftest import TENANT


@contextmanager
def served(app: App) -> Iterator[str]:
    """Serve an application on loopback; gives its base URL once it has started."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(app, log_level="warning", http="httptools", loop="uvloop", proxy_headers=False)
    )
    started = threading.Event()
    startup = server.startup

    async def announced(sockets: list[socket.socket] | None = None) -> None:
        await startup(sockets)
        started.set()

    server.startup = announced  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    assert started.wait(20), "the server did not start"
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join()


class Client:
    """Speaks to an API for a subject with roles, in an organisation."""

    def __init__(self, url: str, settings: Settings, *roles: Role, subject: str = "ana", tenant: UUID = TENANT) -> None:
        token = issue_token(settings, tenant, roles, subject, hours=1)
        self.http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=20)

    def ask(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """Send a command; header names are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(path, json={} if body is None else body, headers=named)

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Read."""
        return self.http.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})
