"""Rows per second of a rebuild by the real projector, against plain SQL that makes the same rows, and the library's way.

The log is filled once, through the desk, with the haulage of several organisations. A rebuild is measured from the moment
its build is made until it is served, in a projector that serves the former build meanwhile, as in production.

The limit is one SQL statement in one durable transaction, as the same login, into tables of the same definition (columns,
indexes, row-level security). A fold is not SQL (and fixes are encrypted), so the statement is given the finished rows of
`changes` and of every view. It does of a fold what no SQL could go without: it reads the log, decodes the JSON of each fact
once, takes out each field of each fact, grouped by record, once per view that folds it, and makes the JSON in its rows anew
from text (copied as it is, it would stay compressed). Kind to SQL: no value is computed, no order kept, nothing decrypted,
nothing written twice. Kind to the projector: it works on two cores, the statement on one. `finished rows only` copies the
rows without looking at the log: the cost of writing alone.

The library's way is a recorder that tracks: a transaction per fact, with one upsert of one row and its position; no `changes`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import uvloop
from eventsourcing.persistence import Tracking
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresTrackingRecorder
from psycopg import sql

from commands.kernel import Command
from commands.tenants import OpenTenant
from commands.trips.drivers import GoOnDuty, RegisterDriver
from commands.trips.locations import FixSent
from commands.trips.sites import RegisterSite
from commands.trips.trips import CompleteTrip, RecordLoad, RecordTripLocations, ScheduleTrip, StartTrip
from commands.trips.trucks import RegisterTruck
from domain.catalog import STREAMS
from domain.roles import Actor, Role
from infra.database import connect
from infra.log.codec import Envelope
from infra.log.desk import Desk
from infra.log.identity import random_command_id, tenant_id_of
from infra.log.library import datastore
from infra.log.order import BusyError, Order
from infra.log.service import open_log
from infra.settings import Settings
from infra.views.builds import drop_old_builds, make_build
from infra.views.tables import Table, definition, schema_of
from projections.catalog import CONTEXTS
from projections.kernel import Context, View
from tests.bench.measure import Figure, measure, server
from tests.bench.processes import house, running

TENANTS, TRUCKS, TRIPS = 5, 20, 20  # trucks of each tenant, trips of each truck: 36,000 facts
BATCHES, FIXES, FIX_S = 8, 10, 10
DEPOT, LANDFILL = (46.0552, 14.5480), (46.0236, 14.4731)
OFFICE = Actor("bench", frozenset({Role.ADMIN}))
TRIPS_CONTEXT, TENANTS_CONTEXT = CONTEXTS["trips"], CONTEXTS["tenants"]
PATIENCE_S = 120.0
CHANGES_ANEW = "t.tenant_id, t.view, t.position, t.key, t.data::text::jsonb, t.was::text::jsonb, t.until"
SQL, FINISHED, REBUILD = "plain SQL from the log", "plain SQL, finished rows only", "rebuild of trips"


def main(*, rounds: int, seconds: float, as_json: bool) -> None:
    """Print the table."""
    with (
        server() as postgres,
        house(postgres) as (environment, settings),
        running(environment, "infra", "projector") as projector,
    ):
        uvloop.run(fill(settings))
        facts = wait_until_folded(settings)
        figures = _figures(settings, facts, postgres.url(), seconds)
        figures.append(Figure("peak memory of the projector", "MiB", lambda: peak_mib(projector.pid)))
        measure(figures, rounds, as_json=as_json, title=f"Rebuild of {facts:,} facts")


def _figures(settings: Settings, facts: int, owner: str, seconds: float) -> list[Figure]:
    took: list[float] = []

    def rows_per_second(context: Context) -> float:
        took.append(rebuild(settings, context))
        return rows_of(settings, context) / took[-1]

    def in_sql(*, folding: bool) -> Callable[[], float]:
        return lambda: rows_of(settings, TRIPS_CONTEXT) / made_in_sql(settings, TRIPS_CONTEXT, folding=folding)

    return [
        Figure(SQL, "rows/s", in_sql(folding=True)),
        Figure(FINISHED, "rows/s", in_sql(folding=False)),
        Figure(REBUILD, "rows/s", lambda: rows_per_second(TRIPS_CONTEXT), SQL, "1.2 x"),
        Figure(f"{REBUILD}, same run", "rows/s", lambda: rows_of(settings, TRIPS_CONTEXT) / took[-1], FINISHED),
        Figure("the library's recorder, a transaction per fact", "facts/s", lambda: library(owner, seconds)),
        Figure(
            f"{REBUILD}, same run again",
            "facts/s",
            lambda: facts / took[-1],
            "the library's recorder, a transaction per fact",
        ),
        Figure("rebuild of tenants", "facts/s", lambda: facts / rebuild(settings, TENANTS_CONTEXT)),
    ]


@dataclass(frozen=True)
class Haulage:
    """The haulage of one organisation, asked of a desk as it happened on some past days."""

    desk: Desk
    tenant: UUID
    begins: datetime

    async def run(self) -> None:
        """Register what is needed; then all trucks drive at once, each one trip after the other."""
        await self._ask(
            "tenants", str(self.tenant), OpenTenant(name="bench", time_zone="Europe/London", currency="EUR")
        )
        for id, place in (("depot", DEPOT), ("landfill", LANDFILL)):
            rate = {"amount_minor": 28_169, "currency": "EUR", "unit": "m3"}
            site = {"name": id, "latitude": place[0], "longitude": place[1], "rate": rate}
            await self._ask("sites", id, RegisterSite.model_validate_json(json.dumps(site)))
        await asyncio.gather(*(self._drive_truck(number) for number in range(TRUCKS)))

    async def _drive_truck(self, number: int) -> None:
        truck, driver = f"truck-{number}", f"driver-{number}"
        await self._ask("trucks", truck, RegisterTruck(number=str(number), plate=f"LJ {number}"))
        await self._ask("drivers", driver, RegisterDriver(name=f"Driver {number}", user=driver))
        await self._ask("drivers", driver, GoOnDuty())
        for trip in range(TRIPS):
            at = self.begins + timedelta(days=trip // 4, hours=3 * (trip % 4))
            plan = ScheduleTrip(
                driver_id=driver, truck_id=truck, date=at.date(), from_site_id="depot", to_site_id="landfill"
            )
            await self._drive(f"trip-{number}-{trip}", plan, at)

    async def _drive(self, trip: str, plan: Command, at: datetime) -> None:
        await self._ask("trips", trip, plan, at)
        await self._ask("trips", trip, StartTrip(odometer_km=48_000), at)
        way = list(fixes(at))
        for first in range(0, len(way), FIXES):
            batch = tuple(way[first : first + FIXES])
            await self._ask("trips", trip, RecordTripLocations(fixes=batch), batch[-1].at)
        load = RecordLoad(quantity=Decimal("18.25"), unit="m3", receipt_number=f"R-{trip}")
        await self._ask("trips", trip, load, way[-1].at)
        await self._ask("trips", trip, CompleteTrip(odometer_km=48_012), way[-1].at)

    async def _ask(self, stream: str, id: str, command: Command, at: datetime | None = None) -> None:
        happened = at or self.begins
        envelope = Envelope(command=f"{stream}.{type(command).__name__}", actor="bench", roles=("admin",))
        order = Order(
            self.tenant, STREAMS[stream], id, command, OFFICE, happened, happened, random_command_id(), envelope
        )
        while True:
            try:
                await self.desk.carry_out(order)
            except BusyError:  # asked again, it is done once all the same
                continue
            return


def fixes(begins: datetime) -> Iterator[FixSent]:
    """Yield the fixes of a trip: most of them on the way, the last ones standing at the landfill."""
    moving = (BATCHES - 2) * FIXES
    for number in range(BATCHES * FIXES):
        along = min(1.0, number / moving)
        latitude, longitude = (a + (b - a) * along for a, b in zip(DEPOT, LANDFILL, strict=True))
        yield FixSent(
            at=begins + timedelta(seconds=FIX_S * (number + 1)), latitude=latitude, longitude=longitude, accuracy_m=8.0
        )


async def fill(settings: Settings) -> None:
    """Let several organisations haul at once."""
    begins = datetime.now(UTC).replace(hour=6, minute=0, second=0, microsecond=0) - timedelta(days=TRIPS)
    async with open_log(settings) as log:
        tenants = [tenant_id_of(f"bench {number}") for number in range(TENANTS)]
        await asyncio.gather(*(Haulage(log.desk, tenant, begins).run() for tenant in tenants))


def wait_until_folded(settings: Settings) -> int:
    """Wait until every build has come to the log's head; return that."""
    with psycopg.connect(settings.need("projector_url"), autocommit=True) as connection:
        connection.execute("listen fieldlog_positions")
        ends = time.monotonic() + PATIENCE_S
        while time.monotonic() < ends:
            row = connection.execute("select min(position), fieldlog.head() from fieldlog.builds").fetchone()
            assert row is not None
            if row[0] == row[1]:
                return int(row[1])
            list(connection.notifies(timeout=1, stop_after=1))
    raise TimeoutError("the views do not come to the head of the log")


def rebuild(settings: Settings, context: Context) -> float:
    """Let the projector build a context anew; return the seconds until it is served. The former build is dropped then."""
    with psycopg.connect(settings.need("database_url"), autocommit=True) as owner:
        owner.execute("listen fieldlog_views")
        build = make_build(owner, context).rpartition("_")[2]
        began = time.perf_counter()
        if not any(notification.payload == build for notification in owner.notifies(timeout=PATIENCE_S)):
            raise TimeoutError("the build is not finished")
        took = time.perf_counter() - began
        drop_old_builds(owner, 0)
        return took


def rows_of(settings: Settings, context: Context) -> int:
    """Return how many rows the served build of a context has, `changes` included."""
    tables = [*(view.name for view in context.views), "changes", "moved"]
    counts = [sql.SQL("(select count(*) from {})").format(_table(settings, context, table)) for table in tables]
    with psycopg.connect(settings.need("projector_url")) as connection:
        row = connection.execute(sql.SQL("select ") + sql.SQL(" + ").join(counts)).fetchone()
        assert row is not None
        return int(row[0])


def _table(settings: Settings, context: Context, table: str) -> sql.Identifier:
    with psycopg.connect(settings.need("projector_url")) as connection:
        row = connection.execute("select build from fieldlog.views where context = %s", [context.name]).fetchone()
        assert row is not None
        return sql.Identifier(schema_of(context.name, row[0]), table)


def made_in_sql(settings: Settings, context: Context, *, folding: bool) -> float:
    """Make the rows of the served build in one SQL statement, in tables of their own; return the seconds that took."""
    twin = schema_of(context.name, 0)
    statement = _statement(settings, context, twin, folding=folding)
    with psycopg.connect(settings.need("database_url"), autocommit=True) as owner:
        owner.execute(definition(context, 0))
        try:
            with connect(settings.need("projector_url"), "fieldlog bench") as connection:
                connection.execute("set work_mem = '256MB'")
                began = time.perf_counter()
                connection.execute(statement)
                return time.perf_counter() - began
        finally:
            owner.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(twin)))


def _statement(settings: Settings, context: Context, twin: str, *, folding: bool) -> sql.Composed:
    facts = sql.SQL(
        """facts as materialized (select originator_id, topic, convert_from(state, 'UTF8')::jsonb as fact
             from fieldlog.log where stream = any({}))"""
    ).format(sql.Literal([stream.name for stream in context.streams]))
    views = {view.name: view for view in context.views}
    inserts = [
        sql.SQL("{} as (insert into {} select {} from {} t {})").format(
            sql.Identifier(f"made_{name}"),
            sql.Identifier(twin, name),
            _columns(views.get(name), name) if folding else sql.SQL("t.*"),
            _table(settings, context, name),
            _taken_apart(views[name]) if folding and name in views else sql.SQL(""),
        )
        for name in (*views, "changes", "moved")
    ]
    parts = [facts, *inserts] if folding else inserts
    return sql.SQL("with ") + sql.SQL(",\n").join(parts) + sql.SQL(" select 1")


def _columns(view: View | None, name: str) -> sql.Composable:
    """Return the columns of a table, those of JSON made anew from text."""
    if view is None:
        return sql.SQL(CHANGES_ANEW if name == "changes" else "t.*")
    remade = [
        sql.SQL("t.{}::text::jsonb" if column.kind == "jsonb" else "t.{}").format(sql.Identifier(column.name))
        for column in Table(view).columns
    ]
    return sql.SQL(", ").join([sql.SQL("t.tenant_id"), *remade, sql.SQL("t.position")])


def _taken_apart(view: View) -> sql.Composed:
    """Return SQL that takes out every field of the facts that a view folds, by record, and is true if there are any."""
    topics = [topic for stream, folds in view.folds.items() for topic, fact in stream.facts.items() if fact in folds]
    return sql.SQL(
        """where (select count(taken) from (
                select sum((select count(value) from jsonb_each_text(fact))) as taken
                  from facts where topic = any({}) group by originator_id) records) > 0"""
    ).format(sql.Literal(topics))


class TripsTable(PostgresTrackingRecorder):
    """A view as the library has it: what a fact changes is written with its position, in a transaction of their own."""

    UPSERT = sql.SQL(
        """insert into public.library_trips (id, topic, facts) values (%s, %s, 1)
           on conflict (id) do update set topic = excluded.topic, facts = library_trips.facts + 1"""
    )

    def fold(self, tracking: Tracking, id: UUID, topic: str) -> None:
        """Write what a fact changes."""
        with self.datastore.transaction(commit=True) as cursor:
            cursor.execute(self.UPSERT, [id, topic], prepare=True)
            self._insert_tracking(cursor, tracking)


def library(url: str, seconds: float) -> float:
    """Return facts per second of a view of the eventsourcing library that follows this very log."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("drop table if exists public.library_trips")
        connection.execute("create table public.library_trips (id uuid primary key, topic text, facts bigint)")
    with datastore(url) as log, datastore(url) as store:
        store.schema = "public"
        reader, name = PostgresApplicationRecorder(log, events_table_name="log"), str(uuid4())
        view = TripsTable(store)
        view.create_table()
        began, done = time.perf_counter(), 0
        while time.perf_counter() < began + seconds:
            for one in reader.select_notifications(done + 1, 100):
                json.loads(one.state)
                view.fold(Tracking(name, one.id), UUID(str(one.originator_id)), one.topic)
                done += 1
        return done / (time.perf_counter() - began)


def peak_mib(pid: int) -> float:
    """Return the most memory that a process ever had, in MiB."""
    status: dict[str, Any] = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    return int(status["VmHWM"].split()[0]) / 1024
