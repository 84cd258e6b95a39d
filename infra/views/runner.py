"""The runner of one build: folds the log into its rows, batch by batch, and moves its bookmark with them.

Rows, changes and bookmark are written in one transaction. While a build is made, a batch is folded as the one before it is
written. The lease is held by the connection that writes; a second
runner waits for it as a hot standby, and whoever writes on an old bookmark is fenced. After a failed or unanswered commit
nothing in memory is believed any more.
"""

from __future__ import annotations

import contextlib
import logging
import struct
import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from prometheus_client import Counter, Gauge, Histogram
from psycopg import sql

from domain.kernel import Recorded
from infra import tracing
from infra.database import Connection, connect
from infra.log.codec import Codec, UnreadableFactError
from infra.measured import BUCKETS, operation, query
from infra.views.reading import LogReader, StoredFact
from infra.views.rows import Changed, Rows
from infra.views.tables import schema_of, whose
from projections.kernel import Context, Folding

log = logging.getLogger(__name__)

LEASES = 730521
LIVE_BATCH, BUILDING_BATCH = 2_000, 10_000
WAIT_S, PAUSE_S, QUIET_S = 1.0, 0.5, 0.1
# Under load, a commit for every few facts costs more than it hastens: at 500 facts a second, watchers hear of them sooner
# when the next batch waits this long after the one before.
PACE_S = 0.008
WORTH_PREFETCHING = 8
PRUNE_S = 3_600.0
FACTS = Counter("projection_facts_total", "Facts read by views", ["projection"])
POSITION = Gauge("projection_position", "How far a view has read the log", ["projection", "build"])
DELAY = Histogram(
    "projection_delay_seconds", "From a fact's record until readers see it", ["projection"], buckets=BUCKETS
)

# What a row may hold that no table takes: refused by PostgreSQL, or before it is sent.
UNWRITABLE = (psycopg.DataError, psycopg.IntegrityError, struct.error, ValueError, OverflowError, TypeError)


class BuildGoneError(Exception):
    """The build was dropped, so there is nothing left to do."""


class Runner:
    """Folds the log into one build of a context, in a thread of its own, until it is stopped or the build is dropped."""

    def __init__(self, context: Context, build: int, url: str, codec: Codec, most_rows: int, changes_days: int) -> None:
        self._context, self._build, self._url, self._codec = context, build, url, codec
        self._most_rows, self._changes_days = most_rows, changes_days
        self._name = f"fieldlog projector {context.name} {build}"
        self._schema = schema_of(context.name, build)
        self._folding = Folding(context)
        self._stopping = threading.Event()
        self._position = self._bookmark = self._careful_until = 0
        self._moved_at = -QUIET_S
        self._parked: set[UUID] = set()
        self._served = False
        self._writing: tuple[Sequence[StoredFact], Future[None]] | None = None
        self._pruned = -PRUNE_S
        self.works = False

    def stop(self) -> None:
        """Ask the runner to end after its batch."""
        self._stopping.set()

    def run(self) -> None:
        """Work until stopped; begin anew after whatever went wrong."""
        while not self._stopping.is_set():
            try:
                self._work()
            except BuildGoneError:
                log.info("build is gone", extra={"context": self._context.name, "build": self._build})
                return
            except Exception as error:
                about = {
                    "context": self._context.name,
                    "build": self._build,
                    "reason": f"{type(error).__name__}: {error}",
                }
                log.warning("projector begins anew", extra=about, exc_info=not isinstance(error, psycopg.Error))
                self._stopping.wait(PAUSE_S)

    def _work(self) -> None:
        self._reader = LogReader(self._url, self._name, self._codec, self._folding.streams())
        try:
            with (
                connect(self._url, self._name) as self._writer,
                connect(self._url, self._name) as listener,
                ThreadPoolExecutor(1, thread_name_prefix=f"{self._name} writes") as self._thread,
            ):
                self._writing = None
                for channel in ("fieldlog_log", "fieldlog_keys", "fieldlog_builds"):
                    listener.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
                if self._take_lease():
                    self.works = True
                    self._follow(listener)
        finally:
            self.works = False
            self._reader.close()

    def _take_lease(self) -> bool:
        """Wait until no other runner has this build; a session lock, so it ends with the connection that writes."""
        while not self._stopping.is_set():
            row = self._writer.execute("select pg_try_advisory_lock(%s, %s)", [LEASES, self._build]).fetchone()
            if row is not None and row[0]:
                return True
            self._stopping.wait(PAUSE_S)
        return False

    def _follow(self, listener: Connection) -> None:
        self._recall()
        self._rows = Rows(self._context, self._schema, self._most_rows, complete=self._position == 0)
        self._readmit()
        while not self._stopping.is_set():
            limit = LIVE_BATCH if self._served else BUILDING_BATCH
            batch = self._reader.after(self._position, 1 if self._position < self._careful_until else limit)
            if batch:
                began = time.monotonic()
                with (
                    operation("project", projection=self._context.name, build=self._build, facts=len(batch)),
                    self._traced(batch),
                ):
                    self._take(batch)
                if self._served and len(batch) < limit:
                    self._stopping.wait(max(0.0, began + PACE_S - time.monotonic()))
                continue
            if not self._settle():
                continue
            if not self._served:
                self._writer.execute("select fieldlog.switch_view(%s)", [self._build])
                self._recall()
            self._prune()
            behind = self._bookmark < self._position
            if behind and self._quiet_for(QUIET_S):
                self._move_bookmark()
                continue
            for notification in listener.notifies(timeout=QUIET_S if behind else WAIT_S, stop_after=1):
                if notification.channel == "fieldlog_keys":
                    self._reader.forget_keys()
                elif notification.channel == "fieldlog_builds":
                    self._recall()
                    self._readmit()

    def _traced(self, batch: Sequence[StoredFact]) -> AbstractContextManager[object]:
        """Trace a batch that readers wait for."""
        about = {
            "db.system.name": "postgresql",
            "fieldlog.projection": self._context.name,
            "messaging.batch.message_count": len(batch),
            "event.position": batch[-1].position,
        }
        traces = self._reader.traceparents(batch) if tracing.on() and self._served else []
        return tracing.batch(f"project {self._context.name}", traces, about)

    def _recall(self) -> None:
        """Read where this build stands. Raises BuildGoneError."""
        row = self._writer.execute(
            """select b.position, v.build >= b.build from fieldlog.builds b join fieldlog.views v using (context)
                where b.build = %s""",
            [self._build],
        ).fetchone()
        if row is None:
            raise BuildGoneError
        self._position, self._served = row
        self._bookmark = self._position
        parked = self._writer.execute("select tenant_id from fieldlog.parked where build = %s", [self._build])
        self._parked = {tenant for (tenant,) in parked}

    def _take(self, batch: Sequence[StoredFact]) -> None:
        """Fold a batch, and have what it changes written; while all rows are in memory, the next one is folded meanwhile."""
        if not self._rows.complete and not self._settle():
            return
        poisons = self._fold_all(batch)
        if not self._settle():
            return
        self._position = batch[-1].position
        placed = self._placed(poisons)
        FACTS.labels(self._context.name).inc(len(batch))
        POSITION.labels(self._context.name, self._build).set(self._position)
        if not placed and not poisons and not self._quiet_for(QUIET_S):
            return  # it changed nothing, so nobody waits for it; moving the bookmark each time would cost a commit
        self._writing = batch, self._thread.submit(self._write, self._bookmark, self._position, placed, poisons)
        self._bookmark, self._moved_at = self._position, time.monotonic()
        if (self._served or not self._rows.complete) and self._settle() and self._served:
            DELAY.labels(self._context.name).observe(time.time() - batch[0].recorded_at.timestamp())

    def _quiet_for(self, seconds: float) -> bool:
        """Say whether the bookmark has not moved for so long."""
        return time.monotonic() - self._moved_at >= seconds

    def _move_bookmark(self) -> None:
        """Move the bookmark behind facts that changed nothing."""
        self._write(self._bookmark, self._position, [], [])
        self._bookmark, self._moved_at = self._position, time.monotonic()

    def _settle(self) -> bool:
        """Wait until what was folded is written. What cannot be written is folded again, fact by fact, to find the one
        at fault; say False then.
        """
        if self._writing is None:
            return True
        (batch, written), self._writing = self._writing, None
        try:
            written.result()
        except UNWRITABLE as error:
            self._rows = Rows(self._context, self._schema, self._most_rows, complete=False)
            self._recall()
            if len(batch) > 1:
                self._careful_until = batch[-1].position
            else:
                self._write(self._position, batch[0].position, [], [_Poison(batch[0], _first_line(error))])
                self._recall()
            return False
        return True

    def _fold_all(self, batch: Sequence[StoredFact]) -> list[_Poison]:
        """Fold facts in memory; return those that could not be, after which their tenants are left out."""
        poisons: dict[UUID, _Poison] = {}
        decoded = self._reader.decoded(batch)
        self._prefetch(decoded)
        read = self._rows.reader(self._writer)
        for stored, happened in zip(batch, decoded, strict=True):
            if happened is None or stored.tenant in self._parked or stored.tenant in poisons:
                continue
            try:
                if isinstance(happened, UnreadableFactError):
                    raise happened
                for view, key, row in self._folding.rows_after(happened, read):
                    forget = type(happened.fact) in view.forgets
                    self._rows.put(view, stored.tenant, key, row, forget=forget)
            except psycopg.Error:
                raise
            except Exception as error:
                log.exception("fact parked", extra={"position": stored.position, "topic": stored.topic})
                poisons[stored.tenant] = _Poison(stored, f"{type(error).__name__}: {error}")
        return list(poisons.values())

    def _prefetch(self, decoded: Sequence[Recorded[Any] | UnreadableFactError | None]) -> None:
        """Read the rows that a batch will change in few statements, as far as their keys can be told beforehand."""
        facts = [one for one in decoded if isinstance(one, Recorded) and one.tenant not in self._parked]
        if self._rows.complete or len(facts) < WORTH_PREFETCHING:
            return
        for _ in range(2):  # the second time for keys that depend on rows which the first time has read
            wanted = []
            for happened in facts:
                with contextlib.suppress(
                    Exception
                ):  # what fails here fails again, and is answered for, when it is folded
                    changes = self._folding.keys(happened, self._rows.peek)
                    wanted += [(view, happened.tenant, key) for view, key in changes]
            for name, missing in self._rows.missing(wanted).items():
                self._rows.load(self._writer, name, missing)

    def _placed(self, poisons: Sequence[_Poison]) -> list[tuple[int, list[Changed]]]:
        """Return what changed in memory, by the position at which it is written: where the build will stand, or, for whom
        is parked, just before the fact that parks him, where his answers stand.
        """
        before = {stored.tenant: stored.position - 1 for stored, _ in poisons}
        placed: dict[int, list[Changed]] = {}
        for one in self._rows.changed():
            placed.setdefault(before.get(one.tenant, self._position), []).append(one)
        for position, changed in placed.items():
            self._rows.written(changed, position)
        self._parked |= before.keys()
        return sorted(placed.items())

    def _write(
        self,
        was: int,
        position: int,
        placed: Sequence[tuple[int, list[Changed]]],
        poisons: Sequence[_Poison],
        resumed: Collection[UUID] = (),
    ) -> None:
        """Write what changed, park whose facts could not be folded, and move the bookmark, all at once."""
        tenants = {one.tenant for _, changed in placed for one in changed}
        tenants |= {*resumed, *(stored.tenant for stored, _ in poisons)}
        with query("write views"), self._writer.pipeline(), self._writer.transaction():
            for tenant in resumed:
                self._writer.execute(UNPARK, [self._build, tenant])
            for at, changed in placed:
                self._rows.write(self._writer, changed, at)
            for stored, error in poisons:
                self._writer.execute(PARK, [self._build, stored.tenant, stored.position, stored.topic, error[:2_000]])
            if not tenants:
                # Should this be lost, the same facts are folded into the same nothing again.
                self._writer.execute("set local synchronous_commit = off")
            self._writer.execute(MOVE, [self._build, was, position, whose(tenants)])

    def _readmit(self) -> None:
        """Fold what was left out of tenants that are to be resumed; their rows take the place where the build stands."""
        resumed = self._writer.execute(
            "select tenant_id, position from fieldlog.parked where build = %s and resume", [self._build]
        ).fetchall()
        for tenant, position in resumed:
            if self._bookmark < self._position:
                self._move_bookmark()
            batch = self._reader.of_tenant(tenant, position, self._position)
            self._parked.discard(tenant)
            poisons = self._fold_all(batch)
            try:
                self._write(self._position, self._position, self._placed(poisons), poisons, resumed=[tenant])
            except UNWRITABLE as error:
                self._rows = Rows(self._context, self._schema, self._most_rows, complete=False)
                self._parked.add(tenant)
                self._writer.execute(
                    "update fieldlog.parked set resume = false, error = %s where build = %s and tenant_id = %s",
                    [_first_line(error), self._build, tenant],
                )

    def _prune(self) -> None:
        """Now and then, drop former states of rows that were succeeded longer ago than they are kept."""
        if time.monotonic() - self._pruned < PRUNE_S:
            return
        self._pruned = time.monotonic()
        cut = self._position_at(datetime.now(UTC) - timedelta(days=self._changes_days))
        # Said first: whoever resumes from before the cut must not be shown what is half gone.
        self._writer.execute("update fieldlog.builds set changes_from = %s where build = %s", [cut, self._build])
        self._writer.execute("select pg_notify('fieldlog_views', %s)", [str(self._build)])
        table = sql.Identifier(self._schema, "changes")
        while self._writer.execute(
            sql.SQL(
                """delete from {0} where ctid = any(array(select ctid from {0} where until <= %s limit 10000))"""
            ).format(table),
            [cut],
        ).rowcount:
            pass

    def _position_at(self, moment: datetime) -> int:
        """Return the last position that was recorded before a moment; positions and moments rise together."""
        low, high = 0, self._position
        while low < high:
            middle = (low + high + 1) // 2
            row = self._writer.execute(
                "select recorded_at < %s from fieldlog.log where notification_id = %s", [moment, middle]
            ).fetchone()
            low, high = (middle, high) if row is not None and row[0] else (low, middle - 1)
        return low


class _Poison(NamedTuple):
    stored: StoredFact
    error: str


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:2_000]


MOVE = "select fieldlog.move_bookmark(%s, %s, %s, %s)"
PARK = """insert into fieldlog.parked (build, tenant_id, position, topic, error) values (%s, %s, %s, %s, %s)
          on conflict do nothing"""
UNPARK = "delete from fieldlog.parked where build = %s and tenant_id = %s"
