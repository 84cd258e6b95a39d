"""Serving an API by its name, with a drain announced at the first signal to stop."""

from __future__ import annotations

import asyncio
from types import FrameType

import uvicorn

from infra.settings import Settings
from infra.web.framework import DRAIN
from infra.web.logs import configure

LAST_ANSWERS_S = 10


class Server(uvicorn.Server):
    """A server that says it drains before it stops taking connections."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Announce the end, then end."""
        asyncio.get_running_loop().call_soon_threadsafe(DRAIN.begin)
        super().handle_exit(sig, frame)


def serve(app: str, settings: Settings, port: int) -> None:
    """Serve an application, named `module:attribute`, until a signal to stop."""
    configure(settings.log_level)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=port,
        loop="uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=LAST_ANSWERS_S,
    )
    Server(config).run()
