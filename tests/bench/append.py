"""Appends per second with envelopes, leaves and command ids, against pgbench's single-row inserts and the library."""

from __future__ import annotations

import asyncio
import os
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import UUID, uuid4

import uvloop
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder

from infra.local.postgres import Postgres
from infra.log.batcher import APPENDED, Append, Batcher, Lineage, NewFact, Read
from infra.log.identity import random_command_id, stream_key
from infra.log.library import datastore
from tests.bench.measure import EVENT_BYTES, Figure, measure, pgbench, server

STATE = b'{"odometer_km":48210}'
ENVELOPE = b"x" * (EVENT_BYTES - len(STATE))


def appends(url: str, callers: int, seconds: float) -> float:
    """Return appends per second of one process: each caller adds facts to a stream of its own, one after the other."""

    async def run() -> float:
        batcher, tenant, loop = Batcher(url), UUID(bytes=os.urandom(16)), asyncio.get_running_loop()
        end = time.perf_counter() + seconds

        async def caller() -> int:
            key, version, lineage = stream_key(tenant, "trips", str(uuid4())), 0, Lineage()
            while time.perf_counter() < end:
                fact = NewFact(key, "trips.started.v1", STATE, ENVELOPE, datetime.now(UTC))
                reads = (Read(key, version, lineage),)
                append = Append(random_command_id(), reads, [fact], loop.create_future())
                batcher.put(append)
                assert (await append.answer).kind == APPENDED
                version += 1
            return version

        done = sum(await asyncio.gather(*(caller() for _ in range(callers))))
        await batcher.stop()
        return done / seconds

    return uvloop.run(run())


def library(url: str, threads: int, seconds: float) -> float:
    """Return appends per second of the eventsourcing library's own PostgreSQL recorder."""
    with datastore(url) as store:
        store.schema = "public"
        store.pool.resize(threads, threads)
        recorder = PostgresApplicationRecorder(store, events_table_name="library_events")
        recorder.create_table()
        end = time.perf_counter() + seconds

        def caller(_: int) -> int:
            done = 0
            while time.perf_counter() < end:
                recorder.insert_events([StoredEvent(uuid4(), 1, "trips.started.v1", STATE + ENVELOPE)])
                done += 1
            return done

        with ThreadPoolExecutor(threads) as pool:
            return sum(pool.map(caller, range(threads))) / seconds


def main(*, rounds: int, seconds: float, as_json: bool) -> None:
    """Print the table."""
    with server() as postgres:
        figures = _figures(postgres, seconds)
        measure(figures, rounds, as_json=as_json, title="Appends")


def _figures(postgres: Postgres, seconds: float) -> list[Figure]:
    targets = {1: "0.45 x", 32: "1.0 x", 64: "1.5 x"}
    figures = []
    for callers, target in targets.items():
        limit = f"pgbench, {callers} clients"
        figures += [
            Figure(limit, "rows/s", lambda n=callers: pgbench(postgres, n, seconds)),
            Figure(
                f"append, {callers} callers",
                "facts/s",
                lambda n=callers: appends(postgres.url("fieldlog_writer"), n, seconds),
                limit,
                target,
            ),
        ]
    figures.append(
        Figure("eventsourcing recorder, 32 threads", "facts/s", lambda: library(postgres.url(), 32, seconds))
    )
    figures.append(
        Figure(
            "append, 32 callers, again",
            "facts/s",
            lambda: appends(postgres.url("fieldlog_writer"), 32, seconds),
            "eventsourcing recorder, 32 threads",
            "15 x",
        )
    )
    return figures
