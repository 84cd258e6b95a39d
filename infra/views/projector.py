"""The projector: a process with one runner for each build of its contexts, as builds come and go."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable
from typing import Any

import psycopg
from prometheus_client import Gauge

from infra.database import connect
from infra.log.codec import Codec
from infra.log.vault import Vault
from infra.settings import Settings
from infra.views.builds import STATUS
from infra.views.runner import Runner
from infra.web.framework import Health
from infra.web.serving import Query
from projections.kernel import Context

log = logging.getLogger(__name__)

WAIT_S = 1.0
# Looked up whenever somebody asks, so they are true also while nothing is folded, for whatever reason.
LAG = Gauge("projection_lag_seconds", "Age of the first fact that is not in a served view yet", ["projection"])
PARKED = Gauge("projection_parked", "Tenants whose facts are parked", ["projection", "build"])
WORKS = Gauge("projection_works", "1: this process folds the view; 0: it stands by", ["projection", "build"])


class Projector:
    """Runs until it is stopped; runners of dropped builds end by themselves, those of new builds are started.

    It works on builds of its own version only: other folds would make other rows.
    """

    def __init__(self, settings: Settings, contexts: Iterable[Context]) -> None:
        self._settings, self._contexts = settings, {context.name: context for context in contexts}
        self._runners: dict[int, tuple[Runner, threading.Thread]] = {}
        self._stopping = threading.Event()

    def run(self) -> None:
        """Keep one runner for each build until stopped."""
        url = self._settings.need("projector_url")
        while not self._stopping.is_set():
            try:
                with connect(url, "fieldlog projector") as connection:
                    connection.execute("listen fieldlog_builds")
                    while not self._stopping.is_set():
                        self._start_missing(url, connection)
                        list(connection.notifies(timeout=WAIT_S, stop_after=1))
            except psycopg.OperationalError as error:
                log.warning("projector lost its database", extra={"reason": str(error).partition("\n")[0]})
                self._stopping.wait(WAIT_S)
        for runner, _ in self._runners.values():
            runner.stop()
        for _, thread in self._runners.values():
            thread.join()

    def health(self, look: Query) -> Health:
        """Return what this process says of itself."""

        async def views() -> str:
            served = [row for row in await self._mine(look) if row[3]]
            late = [f"{row[0]} by {row[6]:.0f} s" for row in served if row[6] > self._settings.max_lag_seconds]
            unmade = self._contexts.keys() - {row[0] for row in served}
            if unmade:
                raise RuntimeError(f"there are no views of {', '.join(sorted(unmade))}")
            if late:
                raise RuntimeError(f"views lag: {', '.join(late)}")
            return "; ".join(f"{row[0]} lags {row[6]:.1f} s" for row in served)

        async def parked() -> str:
            return f"{sum(row[7] for row in await self._mine(look))} tenants"

        async def leases() -> str:
            runners = list(self._runners.values())
            return "; ".join(f"{thread.name} {'works' if one.works else 'stands by'}" for one, thread in runners)

        async def measure() -> None:
            rows: list[Any] = []
            try:
                rows = await self._mine(look)
            finally:
                for gauge in (LAG, PARKED, WORKS):
                    gauge.clear()
            for context, build, _, served, _, _, lag, tenants in rows:
                PARKED.labels(context, build).set(tenants)
                if served:
                    LAG.labels(context).set(lag)
                if build in self._runners:
                    WORKS.labels(context, build).set(self._runners[build][0].works)

        return Health({"views": views, "parked": parked, "leases": leases}, [measure])

    async def _mine(self, look: Query) -> list[Any]:
        return [row for row in await look(STATUS, []) if row[0] in self._contexts]

    def stop(self) -> None:
        """Ask all runners to end after their batch."""
        self._stopping.set()
        for runner, _ in list(self._runners.values()):
            runner.stop()

    def _start_missing(self, url: str, connection: psycopg.Connection[tuple[object, ...]]) -> None:
        rows = connection.execute(
            """select build, context from fieldlog.builds b join unnest(%s::text[], %s::integer[]) mine(context, version)
               using (context, version)""",
            [[*self._contexts], [context.version for context in self._contexts.values()]],
        )
        there = {int(str(build)): str(context) for build, context in rows}
        for build in [build for build, (_, thread) in self._runners.items() if not thread.is_alive()]:
            del self._runners[build]
        for build in there.keys() - self._runners.keys():
            settings = self._settings
            codec = Codec(self._contexts[there[build]].streams, Vault(settings.need("master_key")))
            runner = Runner(
                self._contexts[there[build]], build, url, codec, settings.row_cache_rows, settings.changes_days
            )
            thread = threading.Thread(target=runner.run, name=f"{there[build]} {build}", daemon=True)
            self._runners[build] = runner, thread
            thread.start()
