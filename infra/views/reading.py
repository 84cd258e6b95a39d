"""Reading the log in order, with keys fetched for what is encrypted: what runners of views and reactions share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from domain.kernel import Recorded
from infra.arrays import Int8s, Texts, Uuids
from infra.database import Connection, connect
from infra.log.codec import Codec, UnreadableFactError
from infra.log.states import KEYS_BY_ID
from infra.log.vault import KeysNeeded, StoredKey
from infra.measured import query

AFTER = """select notification_id, tenant_id, stream, id, originator_id, originator_version, topic,
                  case when stream = any(%b) then state else '' end, occurred_at, recorded_at
             from fieldlog.log where notification_id > %b order by notification_id limit %b"""
OF_TENANT = """select notification_id, tenant_id, stream, id, originator_id, originator_version, topic, state,
                      occurred_at, recorded_at
                 from fieldlog.log where tenant_id = %b and notification_id between %b and %b order by notification_id"""


TRACEPARENTS = """select convert_from(envelope, 'UTF8')::json ->> 'traceparent' from fieldlog.log
                   where notification_id = any(%b)"""


class StoredFact(NamedTuple):
    """A fact as the log has it, still in bytes; without its envelope where nobody asks for that."""

    position: int
    tenant: UUID
    stream: str
    id: str
    originator_id: UUID
    version: int
    topic: str
    state: bytes
    occurred_at: datetime
    recorded_at: datetime
    envelope: bytes = b""


class LogReader:
    """Reads the log by position over a connection of its own; the next batch is read while this one is worked on."""

    def __init__(self, url: str, name: str, codec: Codec, streams: Iterable[str]) -> None:
        self._url, self._name, self._codec, self._streams = url, name, codec, frozenset(streams)
        self._connection: Connection | None = None
        self._ahead: tuple[int, int, Future[list[StoredFact]]] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"{name} ahead")

    def after(self, position: int, limit: int) -> list[StoredFact]:
        """Return the facts after a position, in order; where there may be more, reading them has begun."""
        if self._ahead is not None and self._ahead[:2] == (position, limit):
            rows = self._ahead[2].result()
        else:
            rows = self._thread.submit(self._read, position, limit).result()
        self._ahead = None
        if len(rows) == limit:
            following = rows[-1].position
            self._ahead = (following, limit, self._thread.submit(self._read, following, limit))
        return rows

    def of_tenant(self, tenant: UUID, first: int, last: int) -> list[StoredFact]:
        """Return a tenant's facts from a position through another."""
        return self._thread.submit(self._query, OF_TENANT, [tenant, first, last]).result()

    def decoded(self, rows: Sequence[StoredFact]) -> list[Recorded[Any] | UnreadableFactError | None]:
        """Return each fact as it was: None if it is of no stream that matters here, or why it cannot be read."""
        decoded: list[Recorded[Any] | UnreadableFactError | None] = [None] * len(rows)
        left = [place for place, one in enumerate(rows) if one.stream in self._streams]
        while left:
            locked, needed = [], set[UUID]()
            for place in left:
                one = rows[place]
                try:
                    fact = self._codec.decode(one.topic, one.state, one.originator_id, one.version)
                except KeysNeeded as keys:
                    needed |= keys.ids
                    locked.append(place)
                except UnreadableFactError as error:
                    decoded[place] = error
                else:
                    place_in_log = one.tenant, one.stream, one.id, one.version, one.position
                    decoded[place] = Recorded(fact, *place_in_log, one.occurred_at, one.recorded_at)
            if needed:
                self._thread.submit(self._fetch_keys, needed).result()
            left = locked
        return decoded

    def traceparents(self, rows: Sequence[StoredFact]) -> list[str | None]:
        """Return the traceparents of the facts that matter here."""
        positions = Int8s([row.position for row in rows if row.stream in self._streams])

        def read() -> list[str | None]:
            return [one for (one,) in self._open().execute(TRACEPARENTS.encode(), [positions], binary=True)]

        return self._thread.submit(read).result()

    def forget_keys(self) -> None:
        """Drop every key from memory, as when one was destroyed."""
        self._codec.vault.clear()

    def close(self) -> None:
        """Close the connection."""
        self._thread.shutdown()
        if self._connection is not None:
            self._connection.close()

    def _open(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = connect(self._url, self._name)
        return self._connection

    def _read(self, position: int, limit: int) -> list[StoredFact]:
        return self._query(AFTER, [Texts(self._streams), position, limit])

    def _query(self, statement: str, parameters: Sequence[object]) -> list[StoredFact]:
        with query("read log"):
            cursor = self._open().execute(statement.encode(), parameters, binary=True)
        return [StoredFact(*row) for row in cursor.fetchall()]

    def _fetch_keys(self, ids: set[UUID]) -> None:
        vault = self._codec.vault
        rows = self._open().execute(KEYS_BY_ID, [Uuids(ids)], binary=True).fetchall()
        vault.remember(StoredKey(*row) for row in rows)
        vault.forget(ids - {row[0] for row in rows})
