"""The desk: where commands are decided, one after another on each stream, and their outcome is made certain by the log.

A decision sees the state that its still unanswered predecessor will leave, so the commands of a hot stream travel in one
batch. What was decided on something that did not come to pass is decided again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import reduce
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from pydantic import BaseModel

from commands.kernel import Actor, Asked, Command, On, consult, decide
from domain.claims import CLAIMS
from domain.kernel import COMMON_FACTS, Refused, Stream
from infra.arrays import Blobs, Dates, Uuids
from infra.database import AsyncConnection
from infra.log.batcher import APPENDED, DONE, Answer, Append, Batcher, Lineage, Read, StoredFact
from infra.log.codec import Client, Codec, Envelope, read_envelope, write_envelope
from infra.log.identity import StreamKey, stream_key
from infra.log.vault import KeysNeeded, StoredKey

log = logging.getLogger(__name__)

PATIENCE_S = 2.0
ENTRY_BYTES = 400
LOAD = """select originator_id, originator_version, topic, state from fieldlog.log
           where originator_id = any(%b) order by originator_id, originator_version"""
LOAD_UNTIL = """select originator_id, originator_version, topic, state from fieldlog.log
                 where originator_id = %b and originator_version <= %b order by originator_version"""
LOAD_COMMAND = """select notification_id, envelope, originator_id, originator_version, topic, state from fieldlog.log
                   where command_id = %b order by command_index"""
VERSION_AT = "select max(originator_version) from fieldlog.log where originator_id = %b and notification_id <= %b"
KEYS_BY_ID = "select key_id, tenant_id, person_id, day, wrapped from fieldlog.keys where key_id = any(%b)"
KEEP_KEYS = """select key_id, tenant_id, person_id, day, wrapped
                 from fieldlog.keep_keys(%b, %b, %b, %b, %b, %s)"""


class NoSuchRecordError(Exception):
    """There is no such record yet, and this command does not make one."""


class StaleVersionError(Exception):
    """The record is no longer at the version that the caller expects."""

    def __init__(self, current: int) -> None:
        super().__init__(f"the record is at version {current}")
        self.current = current


class KeyReusedError(Exception):
    """This idempotency key was used before with another payload."""


class BusyError(Exception):
    """No answer could be had in time; whether the command took effect is unknown, unless it is asked again with its key."""


ANY_VERSION = -1
COMMON = frozenset(COMMON_FACTS.values())


@dataclass(frozen=True, slots=True)
class Order:
    """A command on its way: for which record, by whom, when, under which id. `if_match` ANY_VERSION: it must exist."""

    tenant_id: UUID
    stream: Stream[Any]
    id: str
    command: Command
    by: Actor
    at: datetime
    now: datetime
    command_id: UUID
    envelope: Envelope
    client: Client = field(default_factory=Client)
    if_match: int | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a command led to: the record's version after it, the position of its last fact, and the facts' stored names.

    Without facts, the position is the log's head when it was answered.
    """

    id: str
    version: int
    position: int
    facts: tuple[str, ...]
    answer: BaseModel | None = None


class _MissingError(LookupError):
    def __init__(self, keys: Iterable[StreamKey]) -> None:
        self.keys = list(keys)


@dataclass(slots=True)
class _Entry:
    """A stream as this process believes it to be, its unanswered facts included; `waiting` appends write to it."""

    stream: Stream[Any]
    state: Any
    version: int = 0
    size: int = ENTRY_BYTES
    waiting: int = 0
    lineage: Lineage = field(default_factory=Lineage)


class Desk:
    """Decides commands and makes their outcomes certain; runs in one event loop."""

    def __init__(
        self,
        streams: Mapping[str, Stream[Any]],
        pool: AsyncConnectionPool[AsyncConnection],
        batcher: Batcher,
        codec: Codec,
        cache_bytes: int,
    ) -> None:
        self._streams, self._pool, self._batcher, self._codec = streams, pool, batcher, codec
        self._cache_bytes = cache_bytes
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._size = 0
        self._loading: dict[bytes, asyncio.Future[None]] = {}
        self._running: dict[UUID, asyncio.Future[None]] = {}

    async def carry_out(self, order: Order) -> Receipt:
        """Decide a command, append what follows, and return its receipt.

        Raises the decision's Refused, NoSuchRecordError, StaleVersionError, KeyReusedError, BusyError.
        """
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (earlier := self._running.get(order.command_id)) is not None:
                    await asyncio.shield(earlier)
                if order.envelope.fingerprint is None:
                    return await self._carry_out(order)
                self._running[order.command_id] = asyncio.get_running_loop().create_future()
                try:
                    return await self._carry_out(order)
                finally:
                    self._running.pop(order.command_id).set_result(None)
        except (TimeoutError, PoolTimeout) as error:
            raise BusyError from error

    def forget_states(self) -> None:
        """Drop every cached state, as when a key was destroyed: what is decided next is decided on what can be read now."""
        for entry in self._entries.values():
            entry.lineage.broken = True
        self._entries.clear()
        self._size = 0

    async def _carry_out(self, order: Order) -> Receipt:
        first = True
        while True:
            if self._batcher.full:  # asked before anything is believed that would then not be sent
                raise BusyError
            try:
                append, outcome = self._decide(order, assume_new=first)
            except _MissingError as missing:
                await self._load(missing.keys)
                continue
            except KeysNeeded as needed:
                await self._fetch_keys(needed)
                continue
            answer = await self._answer_of(append)
            if answer.kind == DONE:
                return await self._first_receipt(order)
            if answer.kind == APPENDED:
                if isinstance(outcome, Exception):
                    raise outcome
                position = answer.position + max(len(append.facts) - 1, 0)
                return Receipt(order.id, outcome.version, position, outcome.facts, outcome.answer)
            first = False

    def _decide(self, order: Order, *, assume_new: bool) -> tuple[Append, Receipt | Exception]:
        """Decide on what this process believes, and let it believe what follows. Raises _MissingError, KeysNeeded."""
        own_key = stream_key(order.tenant_id, order.stream.name, order.id)
        reads: dict[bytes, Read] = {}

        def find(stream: Stream[Any], id: str) -> Any:
            key = own_key if stream is order.stream and id == order.id else stream_key(order.tenant_id, stream.name, id)
            new = assume_new and (stream is CLAIMS or (key is own_key and order.command.creates))
            entry = self._entry(key, stream, assume_new=new)
            reads[key.raw] = Read(key, entry.version, entry.lineage)
            return entry.state

        state = find(order.stream, order.id)
        asked = Asked(order.tenant_id, order.id, order.by, order.at, order.now)
        asked = consult(order.command, state, asked, find)
        outcome: Receipt | Exception
        facts: Sequence[On] = ()
        stored: list[StoredFact] = []
        try:
            self._check_version(order, reads[own_key.raw].version)
            facts = decide(order.command, order.stream, state, asked)
        except (Refused, NoSuchRecordError, StaleVersionError) as no:
            outcome = no
        else:
            stored = self._believe(order, facts)
            own = self._entries[own_key.raw]
            answer = order.command.answer(own.state, [one.fact for one in facts])
            outcome = Receipt(order.id, own.version, 0, tuple(one.topic for one in stored), answer)
        future = asyncio.get_running_loop().create_future()
        return Append(order.command_id, order.at, tuple(reads.values()), stored, future), outcome

    @staticmethod
    def _check_version(order: Order, version: int) -> None:
        if version == 0 and (order.if_match is not None or not order.command.creates):
            raise NoSuchRecordError if order.if_match is None else StaleVersionError(0)
        if order.if_match not in (None, ANY_VERSION, version):
            raise StaleVersionError(version)

    def _believe(self, order: Order, facts: Sequence[On]) -> list[StoredFact]:
        """Write the facts as they will be stored, then move the believed states on. Raises KeysNeeded before that."""
        after: dict[bytes, tuple[int, Any, int]] = {}
        stored = []
        for one in facts:
            key = stream_key(order.tenant_id, one.stream.name, one.id)
            entry = self._entries[key.raw]
            version, state, size = after.get(key.raw, (entry.version, entry.state, entry.size))
            version += 1
            topic, written = self._codec.encode(key, version, one.fact)
            envelope = write_envelope(order.envelope, order.client, key, version, self._codec.vault)
            stored.append(StoredFact(key, topic, written, envelope))
            after[key.raw] = (version, _evolve(one.stream, state, one.fact), size + len(written))
        for originator_id, (version, state, size) in after.items():
            entry = self._entries[originator_id]
            self._size += size - entry.size
            entry.version, entry.state, entry.size = version, state, size
        return stored

    def _entry(self, key: StreamKey, stream: Stream[Any], *, assume_new: bool) -> _Entry:
        entry = self._entries.get(key.raw)
        if entry is not None and not entry.lineage.broken:
            self._entries.move_to_end(key.raw)
            return entry
        if not assume_new:
            raise _MissingError([key])
        return self._install(key, _Entry(stream, stream.initial))

    def _install(self, key: StreamKey, entry: _Entry) -> _Entry:
        former = self._entries.pop(key.raw, None)
        self._size += entry.size - (former.size if former is not None else 0)
        self._entries[key.raw] = entry
        return entry

    def _evict(self) -> None:
        """Forget the states used longest ago, but none that unanswered facts build on."""
        if self._size <= self._cache_bytes:
            return
        for originator_id, entry in list(self._entries.items()):
            if not entry.waiting:
                del self._entries[originator_id]
                self._size -= entry.size
            if self._size <= self._cache_bytes:
                return

    async def _answer_of(self, append: Append) -> Answer:
        written = [self._entries[id] for id in {fact.key.raw for fact in append.facts}]
        for entry in written:
            entry.waiting += 1
        try:
            self._batcher.put(append)
            return await append.answer
        finally:
            for entry in written:
                entry.waiting -= 1
            self._evict()

    async def _load(self, keys: Sequence[StreamKey]) -> None:
        """Read streams and remember their states; two callers for one stream share one read."""
        ours = [key for key in keys if key.raw not in self._loading]
        others = [self._loading[key.raw] for key in keys if key not in ours]
        for key in ours:
            self._loading[key.raw] = asyncio.get_running_loop().create_future()
        try:
            if ours:
                await self._read(ours)
        finally:
            for key in ours:
                self._loading.pop(key.raw).set_result(None)
        for other in others:
            await asyncio.shield(other)

    async def _read(self, keys: Sequence[StreamKey]) -> None:
        rows = await self._rows(LOAD, [Uuids(key.raw for key in keys)])
        for key in keys:
            stream = self._streams[key.stream]
            own = [row for row in rows if row[0] == key.originator_id]
            state = await self._folded(stream, own)
            entry = self._entries.get(key.raw)
            if entry is None or entry.lineage.broken:
                size = ENTRY_BYTES + sum(len(row[3]) for row in own)
                self._install(key, _Entry(stream, state, own[-1][1] if own else 0, size))

    async def _decoded(self, rows: Iterable[tuple[UUID, int, str, bytes]]) -> list[Any]:
        """Return facts, given (originator, version, topic, state) of each."""
        while True:
            try:
                return [self._codec.decode(topic, written, id, version) for id, version, topic, written in rows]
            except KeysNeeded as needed:
                await self._fetch_keys(needed)

    async def _folded(self, stream: Stream[Any], rows: Sequence[tuple[UUID, int, str, bytes]]) -> Any:
        return reduce(lambda state, fact: _evolve(stream, state, fact), await self._decoded(rows), stream.initial)

    async def _rows(self, statement: LiteralString, parameters: Sequence[object]) -> list[tuple[Any, ...]]:
        """Read, again after a lost connection; the caller's patience bounds how often."""
        while True:
            try:
                async with self._pool.connection() as connection:
                    return await (await connection.execute(statement, parameters, binary=True)).fetchall()
            except psycopg.OperationalError as error:
                log.warning("read to be repeated", extra={"reason": type(error).__name__})
                await asyncio.sleep(0.05)

    async def _fetch_keys(self, needed: KeysNeeded) -> None:
        """Bring keys into memory; people who have none get one, stored before anything is encrypted with it."""
        vault = self._codec.vault
        if needed.people:
            made = [vault.make(person) for person in needed.people]
            parameters = [
                Uuids(key.key_id for key in made),
                Uuids(key.tenant_id for key in made),
                Uuids(key.person_id for key in made),
                Dates(key.day for key in made),
                Blobs(key.wrapped for key in made),
                vault.master_id,
            ]
            vault.remember(StoredKey(*row) for row in await self._rows(KEEP_KEYS, parameters))
        if needed.ids:
            rows = await self._rows(KEYS_BY_ID, [Uuids(needed.ids)])
            vault.remember(StoredKey(*row) for row in rows)
            vault.forget(needed.ids - {row[0] for row in rows})

    async def _first_receipt(self, order: Order) -> Receipt:
        """Return the receipt of a command that is in the log already. Raises KeyReusedError if it was another one."""
        rows = await self._rows(LOAD_COMMAND, [order.command_id])
        first = read_envelope(rows[0][1])
        if first.fingerprint != order.envelope.fingerprint:
            raise KeyReusedError
        own_id = stream_key(order.tenant_id, order.stream.name, order.id).originator_id
        position = rows[-1][0]
        [(version,)] = await self._rows(VERSION_AT, [own_id, position])
        state = await self._folded(order.stream, await self._rows(LOAD_UNTIL, [own_id, version]))
        facts = await self._decoded([row[2:] for row in rows])
        return Receipt(order.id, version, position, tuple(row[4] for row in rows), order.command.answer(state, facts))


def _evolve(stream: Stream[Any], state: Any, fact: object) -> Any:
    return state if type(fact) in COMMON else stream.evolve(state, fact)
