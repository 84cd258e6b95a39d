"""The eventsourcing library's recorders over this log: what it can read and do with its own log, it can do with ours.

`Log` appends through the very function and batcher that the doors use. The library's table making, its retry around
inserts (which reports a conflict for a committed append) and its database functions are left out on purpose.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from eventsourcing.persistence import IntegrityError, StoredEvent, Tracking, TrackingRecorder
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg.conninfo import conninfo_to_dict

from infra.database import Connection
from infra.log.batcher import APPENDED, Answer, Append, Batcher, Lineage, NewFact, Read
from infra.log.identity import StreamKey, random_command_id

NIL = UUID(int=0)
OPAQUE = b"{}"


def datastore(url: str) -> PostgresDatastore:
    """Return the library's pool of connections to this database."""
    parts = {name: str(value) for name, value in conninfo_to_dict(url).items()}
    return PostgresDatastore(
        dbname=parts.get("dbname", ""),
        host=parts.get("host", ""),
        port=parts.get("port", "5432"),
        user=parts.get("user", ""),
        password=parts.get("password", ""),
        schema="fieldlog",
        pool_size=2,
        max_overflow=10,
    )


class Log(PostgresApplicationRecorder):
    """The library's application recorder; events without a tenant go to the nil tenant, their bytes as they are."""

    def __init__(self, store: PostgresDatastore, writer_url: str) -> None:
        super().__init__(store, events_table_name="log")
        self.channel_name = "fieldlog_log"
        self._batcher = Batcher(writer_url)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="log", daemon=True)
        self._thread.start()

    def create_table(self) -> None:
        """Make nothing: `fieldlog migrate` has made the table."""

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int]:
        """Append events of one or more streams at once; return their positions.

        The first version of a stream is 0 or 1. Raises the library's IntegrityError if a version exists or is skipped.
        """
        if not stored_events:
            return []
        answer = asyncio.run_coroutine_threadsafe(self._append(stored_events), self._loop).result()
        if answer.kind != APPENDED:
            raise IntegrityError("a version of these events exists already, or would be skipped")
        return list(range(answer.position, answer.position + len(stored_events)))

    async def _append(self, events: Sequence[StoredEvent]) -> Answer:
        reads: dict[StreamKey, Read] = {}
        expected: dict[StreamKey, int] = {}
        facts, now = [], datetime.now(UTC)
        for event in events:
            originator_id = UUID(str(event.originator_id))
            key = StreamKey(originator_id, NIL, "", str(originator_id), originator_id.bytes)
            reads.setdefault(key, Read(key, event.originator_version - 1, Lineage()))
            if expected.setdefault(key, event.originator_version) != event.originator_version:
                raise IntegrityError(f"version {event.originator_version} does not follow its predecessor")
            expected[key] += 1
            facts.append(NewFact(key, event.topic, event.state, OPAQUE, now))
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        append = Append(random_command_id(), tuple(reads.values()), facts, future)
        self._batcher.put(append)
        return await append.answer

    def close(self) -> None:
        """Answer what is queued, and stop."""
        asyncio.run_coroutine_threadsafe(self._batcher.stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self.datastore.close()


class Bookmarks(TrackingRecorder):
    """How far each reader of the log has come, over one connection: the library's tracking recorder, never backwards."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def insert_tracking(self, tracking: Tracking) -> None:
        """Move a bookmark forward to a position. Raises the library's IntegrityError if it is there or further already."""
        moved = self._connection.execute(
            """insert into fieldlog.bookmarks as b (name, position) values (%s, %s)
               on conflict (name) do update set position = excluded.position where b.position < excluded.position""",
            [tracking.application_name, tracking.notification_id],
        )
        if not moved.rowcount:
            raise IntegrityError(f"{tracking.application_name} has read {tracking.notification_id} already")

    def max_tracking_id(self, application_name: str) -> int | None:
        """Return how far a reader has come, or None if it has not begun."""
        row = self._connection.execute(
            "select position from fieldlog.bookmarks where name = %s", [application_name]
        ).fetchone()
        return row[0] if row else None
