"""The write API: started by `fieldlog write-api`, or by any ASGI server as `write_api.app:app`."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from fastapi import FastAPI
from prometheus_client import Gauge

from infra import tracing
from infra.collector import tune_collector
from infra.database import MIGRATION_NAMES
from infra.log.desk import Desk
from infra.log.service import LogService, open_log
from infra.objects import Objects
from infra.redis.client import Shared
from infra.redis.locks import Locks
from infra.settings import Settings
from infra.web.edge import App
from infra.web.framework import Health, edged, framework
from infra.web.limiting import Limits
from infra.web.tokens import Bearer, Keys, Tokens
from write_api import imports, uploads
from write_api.doors import Door
from write_api.guards import Guards
from write_api.openapi import with_commands, with_problems

DESCRIPTION = """One door for every command. A command is answered with a receipt once its facts are in the log for good;
a refusal says why not. Every failure is a problem document (RFC 9457)."""

STREAMED = re.compile(f"{uploads.STREAMED}|{imports.PATH}")  # what these read is bounded by themselves
QUEUED = Gauge("append_queue_length", "Appends that wait for the next batch")


class WriteApi:
    """The write API over one log."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._log: LogService | None = None
        self._shared = Shared(settings.redis())
        checks = {"database": self._database, "queue": self._queue, "redis": self._redis}
        self.health = Health(checks, [self._measure])

    def desk(self) -> Desk:
        """Return the desk; there is none before the start."""
        assert self._log is not None
        return self._log.desk

    def app(self) -> App:
        """Return the ASGI application."""
        keys = Keys(self._settings.need("jwks"))
        settings = self._settings

        @asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[None]:
            await keys.load()
            refresh = asyncio.create_task(keys.refresh())
            with tracing.exporting(settings, "write-api"):
                async with self._shared, open_log(settings) as self._log:
                    tune_collector()
                    self.health.started = True
                    yield
            refresh.cancel()
            with suppress(asyncio.CancelledError):
                await refresh

        title, most = "Fieldlog: commands", settings.max_body_bytes
        behind = framework(title, DESCRIPTION, self.health, lifespan, most, STREAMED)
        with_commands(behind)
        with_problems(behind)
        bearer = Bearer(Tokens(keys, settings.token_issuer, settings.token_audience))
        limits, guards = Limits(self._shared, settings), Guards(Locks(self._shared, settings.lock_seconds))
        behind.state.uploads = uploads.Service(self.desk, bearer, limits, Objects(settings), settings)
        behind.include_router(uploads.router)
        behind.state.imports = imports.Service(self.desk, bearer, limits, guards)
        behind.include_router(imports.router)
        return edged(Door(self.desk, bearer, behind, settings.max_body_bytes, limits, guards), settings)

    async def _redis(self) -> str:
        return self._shared.state()

    async def _database(self) -> str:
        """Check that the log can be written to with the tables that this code knows."""
        assert self._log is not None
        async with self._log.pool.connection(timeout=2) as connection:
            cursor = await connection.execute(
                """select has_function_privilege(p.oid, 'execute') and not pg_is_in_recovery(),
                          array(select name from fieldlog.migrations)
                     from pg_proc p where p.pronamespace = 'fieldlog'::regnamespace and p.proname = 'append'"""
            )
            row = await cursor.fetchone()
        if row is None or not row[0]:
            raise RuntimeError("the database does not take appends")
        missing = set(MIGRATION_NAMES) - set(row[1])
        if missing:
            raise RuntimeError(f"migrations are missing: {', '.join(sorted(missing))}")
        return "takes appends"

    async def _queue(self) -> str:
        assert self._log is not None
        if self._log.batcher.full:
            raise RuntimeError("the queue of appends is full")
        return f"{self._log.batcher.queued} appends wait"

    async def _measure(self) -> None:
        assert self._log is not None
        QUEUED.set(self._log.batcher.queued)


def __getattr__(name: str) -> App:
    """Make the application when a server asks for it, from the environment."""
    if name == "app":
        return WriteApi(Settings.from_environment()).app()
    raise AttributeError(name)
