"""Serving an API by its name, with a drain announced at the first signal to stop."""

from __future__ import annotations

import asyncio
from types import FrameType

import httpx
import uvicorn

from infra.settings import Settings, SettingsError
from infra.web.framework import DRAIN
from infra.web.logs import configure
from infra.web.tokens import Keys

LAST_ANSWERS_S = 10


class Server(uvicorn.Server):
    """A server that says it drains before it stops taking connections."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Announce the end, then end."""
        asyncio.get_running_loop().call_soon_threadsafe(DRAIN.begin)
        super().handle_exit(sig, frame)


def _must_have_keys(source: str) -> None:
    try:
        asyncio.run(Keys(source).load())
    except (OSError, ValueError, httpx.HTTPError) as error:
        raise SettingsError(f"FIELDLOG_JWKS: no keys could be had from {source}: {error}") from error


def serve(app: str, settings: Settings, port: int) -> None:
    """Serve an application, named `module:attribute`, until a signal to stop."""
    configure(settings.log_level)
    _must_have_keys(settings.need("jwks"))
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,  # whom to believe is a setting of ours (infra/web/proxies.py)
        timeout_graceful_shutdown=LAST_ANSWERS_S,
    )
    Server(config).run()
