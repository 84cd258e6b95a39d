"""The read API: started by `fieldlog read-api`, or by any ASGI server as `read_api.app:app`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI

from infra import tracing
from infra.collector import tune_collector
from infra.database import MIGRATION_NAMES
from infra.objects import Objects
from infra.redis.boards import open_boards
from infra.redis.cache import Cache
from infra.redis.client import Shared
from infra.settings import Settings
from infra.views.readers import Readers, open_readers
from infra.views.tail import Tail
from infra.web.edge import App
from infra.web.framework import Health, edged, framework
from infra.web.limiting import Limits
from infra.web.tokens import Bearer, Keys, Tokens
from read_api.catalog import ROUTERS

DESCRIPTION = """What may be asked for, and watched. Every answer carries the `Position` in the log that it shows; send
`If-Position-At-Least` with a receipt's position to read your own writes. Every failure is a problem document (RFC 9457)."""


class ReadApi:
    """The read API over the views of one database."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._readers: Readers | None = None
        self._shared = Shared(settings.redis())
        self.health = Health({"database": self._database, "views": self._views, "redis": self._redis})

    def app(self) -> App:
        """Return the ASGI application."""
        settings = self._settings
        keys = Keys(settings.need("jwks"))
        settings.need("cursor_key")

        @asynccontextmanager
        async def lifespan(app: FastAPI) -> AsyncIterator[None]:
            await keys.load()
            refresh = asyncio.create_task(keys.refresh())
            with tracing.exporting(settings, "read-api"):
                async with (
                    self._shared,
                    open_boards(self._shared) as app.state.boards,
                    open_readers(settings) as self._readers,
                ):
                    app.state.readers = self._readers
                    app.state.tail = Tail(self._readers)
                    tune_collector()
                    self.health.started = True
                    yield
            refresh.cancel()
            with suppress(asyncio.CancelledError):
                await refresh

        app = framework("Fieldlog: reading", DESCRIPTION, self.health, lifespan, settings.max_body_bytes)
        app.state.settings = settings
        app.state.shared, app.state.cache = self._shared, Cache(self._shared)
        app.state.objects = Objects(settings)
        app.state.limits = Limits(self._shared, settings)
        app.state.authenticate = Bearer(Tokens(keys, settings.token_issuer, settings.token_audience))
        for router in ROUTERS:
            app.include_router(router)
        return edged(app, settings)

    async def _redis(self) -> str:
        return self._shared.state()

    async def _database(self) -> str:
        assert self._readers is not None
        applied = {name for (name,) in await self._readers.plain("select name from fieldlog.migrations")}
        missing = set(MIGRATION_NAMES) - applied
        if missing:
            raise RuntimeError(f"migrations are missing: {', '.join(sorted(missing))}")
        return "answers"

    async def _views(self) -> str:
        """Check that no served view lags further than it may."""
        assert self._readers is not None
        rows: Sequence[tuple[str, float]] = await self._readers.plain(LAGS)
        late = [
            f"{context} by {seconds:.0f} s" for context, seconds in rows if seconds > self._settings.max_lag_seconds
        ]
        if late:
            raise RuntimeError(f"views lag: {', '.join(late)}")
        return "; ".join(f"{context} lags {seconds:.1f} s" for context, seconds in rows)


LAGS = """select b.context, case when fieldlog.head() > b.position
        then extract(epoch from clock_timestamp() - fieldlog.recorded_after(b.position))::float8 else 0 end
    from fieldlog.views v join fieldlog.builds b using (build)"""


def __getattr__(name: str) -> App:
    """Make the application when a server asks for it, from the environment."""
    if name == "app":
        return ReadApi(Settings.from_environment()).app()
    raise AttributeError(name)
