"""What this process believes: the folded states of streams, unanswered facts included, and how they are read from the log.

A bounded cache: the states used longest ago are forgotten first, but none that unanswered facts build on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool

from domain.kernel import COMMON_FACTS, Stream
from infra.arrays import Blobs, Dates, Uuids
from infra.database import AsyncConnection
from infra.log.batcher import Lineage
from infra.log.codec import Codec
from infra.log.identity import StreamKey
from infra.log.vault import KeysNeeded, StoredKey
from infra.measured import query

log = logging.getLogger(__name__)

ENTRY_BYTES = 400
PAUSE_S = 0.05
COMMON = frozenset(COMMON_FACTS.values())
LOAD = """select originator_id, originator_version, topic, state from fieldlog.log
           where originator_id = any(%b) order by originator_id, originator_version"""
KEYS_BY_ID = "select key_id, tenant_id, person_id, day, wrapped from fieldlog.keys where key_id = any(%b)"
KEEP_KEYS = """select key_id, tenant_id, person_id, day, wrapped
                 from fieldlog.keep_keys(%b, %b, %b, %b, %b, %s)"""

StoredRow = tuple[UUID, int, str, bytes]
"""Originator, version, topic and state of a fact as they are stored."""


class StatesMissing(LookupError):
    """These streams are not in memory; whoever gets this loads them and decides again."""

    def __init__(self, keys: Iterable[StreamKey]) -> None:
        self.keys = list(keys)


@dataclass(slots=True)
class Belief:
    """A stream as this process believes it to be, its unanswered facts included; `waiting` appends write to it."""

    stream: Stream[Any]
    state: Any
    version: int = 0
    size: int = ENTRY_BYTES
    waiting: int = 0
    lineage: Lineage = field(default_factory=Lineage)


class States:
    """The beliefs of one process about streams, and the keys it has in memory; runs in one event loop.

    `size` is about how many bytes the beliefs take; those in use may exceed the bound for a moment.
    """

    def __init__(
        self,
        streams: Mapping[str, Stream[Any]],
        pool: AsyncConnectionPool[AsyncConnection],
        codec: Codec,
        most_bytes: int,
    ) -> None:
        self._streams, self._pool, self._codec, self._most_bytes = streams, pool, codec, most_bytes
        self._beliefs: OrderedDict[bytes, Belief] = OrderedDict()
        self.size = 0
        self._loading: dict[bytes, asyncio.Future[None]] = {}

    def find(self, key: StreamKey, stream: Stream[Any], *, assume_new: bool = False) -> Belief:
        """Return what is believed of a stream; what is unknown may be assumed to have no facts yet. Raises StatesMissing."""
        belief = self._beliefs.get(key.raw)
        if belief is not None and not belief.lineage.broken:
            self._beliefs.move_to_end(key.raw)
            return belief
        if not assume_new:
            raise StatesMissing([key])
        return self._install(key, Belief(stream, stream.initial))

    def move_on(self, belief: Belief, version: int, state: Any, size: int) -> None:
        """Believe that a stream has come this far."""
        self.size += size - belief.size
        belief.version, belief.state, belief.size = version, state, size

    def forget_all(self) -> None:
        """Believe nothing any more, as when a key was destroyed; what was decided and not yet sent is decided again."""
        for belief in self._beliefs.values():
            belief.lineage.broken = True
        self._beliefs.clear()
        self.size = 0

    def evict(self) -> None:
        """Forget what was used longest ago until the bound is kept."""
        for _ in range(len(self._beliefs)):
            if self.size <= self._most_bytes:
                return
            raw, belief = next(iter(self._beliefs.items()))
            if belief.waiting:
                self._beliefs.move_to_end(raw)
            else:
                del self._beliefs[raw]
                self.size -= belief.size

    async def fetch(self, needed: StatesMissing | KeysNeeded) -> None:
        """Bring into memory what was missing."""
        if isinstance(needed, KeysNeeded):
            await self._fetch_keys(needed)
            return
        ours = [key for key in needed.keys if key.raw not in self._loading]
        others = [self._loading[key.raw] for key in needed.keys if key.raw in self._loading]
        for key in ours:
            self._loading[key.raw] = asyncio.get_running_loop().create_future()
        try:
            if ours:
                await self._load(ours)
        finally:
            for key in ours:
                self._loading.pop(key.raw).set_result(None)
        for other in others:
            await asyncio.shield(other)

    async def rows(self, statement: LiteralString, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        """Read from the log, again after a lost connection; the caller's patience bounds how often."""
        while True:
            try:
                with query("load"):
                    async with self._pool.connection() as connection:
                        return await (await connection.execute(statement, parameters, binary=True)).fetchall()
            except psycopg.OperationalError as error:
                log.warning("read to be repeated", extra={"reason": type(error).__name__})
                await asyncio.sleep(PAUSE_S)

    async def decoded(self, rows: Iterable[StoredRow]) -> list[Any]:
        """Return stored facts as they were."""
        stored = list(rows)
        while True:
            try:
                return [
                    self._codec.decode(topic, state, originator, version)
                    for originator, version, topic, state in stored
                ]
            except KeysNeeded as needed:
                await self._fetch_keys(needed)

    async def folded(self, stream: Stream[Any], rows: Iterable[StoredRow]) -> Any:
        """Return the state of a stream after these stored facts, which are its first."""
        return reduce(lambda state, fact: evolved(stream, state, fact), await self.decoded(rows), stream.initial)

    def _install(self, key: StreamKey, belief: Belief) -> Belief:
        former = self._beliefs.pop(key.raw, None)
        self.size += belief.size - (former.size if former is not None else 0)
        self._beliefs[key.raw] = belief
        return belief

    async def _load(self, keys: Sequence[StreamKey]) -> None:
        rows = await self.rows(LOAD, [Uuids([key.raw for key in keys])])
        for key in keys:
            own = [row for row in rows if row[0] == key.originator_id]
            stream = self._streams[key.stream]
            state = await self.folded(stream, own)
            belief = self._beliefs.get(key.raw)
            if belief is None or belief.lineage.broken:
                size = ENTRY_BYTES + sum(len(row[3]) for row in own)
                self._install(key, Belief(stream, state, own[-1][1] if own else 0, size))

    async def _fetch_keys(self, needed: KeysNeeded) -> None:
        """Bring keys into memory; people who have none get one, stored before anything is encrypted with it."""
        vault = self._codec.vault
        if needed.people:
            made = [vault.make(person) for person in needed.people]
            parameters = [
                Uuids([key.key_id for key in made]),
                Uuids([key.tenant_id for key in made]),
                Uuids([key.person_id for key in made]),
                Dates([key.day for key in made]),
                Blobs([key.wrapped for key in made]),
                vault.master_id,
            ]
            vault.remember([StoredKey(*row) for row in await self.rows(KEEP_KEYS, parameters)])
        if needed.ids:
            rows = await self.rows(KEYS_BY_ID, [Uuids(needed.ids)])
            vault.remember([StoredKey(*row) for row in rows])
            vault.forget(needed.ids - {row[0] for row in rows})


def evolved(stream: Stream[Any], state: Any, fact: object) -> Any:
    """Return the state after a fact; the facts that any stream may hold change no state."""
    return state if type(fact) in COMMON else stream.evolve(state, fact)
