"""Group commit: concurrent appends of one process travel together, one call of the append function per batch.

A flush starts at once; while it is in flight, the next batch fills. Every outcome of a command goes through here, also a
refusal, so that no answer rests on a state that is no longer so. An append whose answer was lost is sent again as it was:
the function knows its command id.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from math import inf
from typing import NamedTuple
from uuid import UUID

import psycopg
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Histogram

from infra import tracing
from infra.arrays import Blobs, Int4s, Int8s, Texts, Times, Uuids
from infra.database import AsyncConnection, connect_async
from infra.log.identity import StreamKey
from infra.measured import query

log = logging.getLogger(__name__)
CONFLICTS = Counter("append_conflict_total", "Appends left out because what they were decided on had changed")
SIZES = Histogram("append_batch_size", "Appends that travel together", buckets=[2**n for n in range(10)])

LARGEST_BATCH = 512
LONGEST_PAUSE_S = 0.5
WATCH_S = 0.1
# Connection, rollback, resources, state, intervention, system: not the append's fault (PostgreSQL manual, appendix A).
PASSING = {"08", "40", "53", "55", "57", "58"}
DONE, APPENDED, MOVED = range(3)
CALL = f"select * from fieldlog.append({', '.join(['%b'] * 11)})"


class Lineage:
    """A chain of states of one stream, each decided on the one before; broken once a link was not appended as predicted."""

    __slots__ = ("broken",)

    def __init__(self) -> None:
        self.broken = False


class Read(NamedTuple):
    """At which version a decision saw a stream, and in which lineage."""

    key: StreamKey
    version: int
    lineage: Lineage


class NewFact(NamedTuple):
    """A fact as it will be stored on a stream; its version follows from what was read."""

    key: StreamKey
    topic: str
    state: bytes
    envelope: bytes
    occurred_at: datetime


class Append(NamedTuple):
    """The outcome of a command: the facts (perhaps none) and every stream that the decision read, its own first.

    Its answer is TimeoutError once the event loop's time `expires` has passed without one.
    """

    command_id: UUID
    reads: Sequence[Read]
    facts: Sequence[NewFact]
    answer: asyncio.Future[Answer]
    expires: float = inf
    traceparent: str | None = None

    def outdated(self) -> bool:
        """Say whether it was decided on something that has not come to pass."""
        return any(read.lineage.broken for read in self.reads)

    def left_out(self, moved: StreamKey | None = None) -> None:
        """Break the lineages of what it would have written, and of the stream that had moved."""
        written = {fact.key.raw for fact in self.facts}
        for read in self.reads:
            if read.key.raw in written or read.key == moved:
                read.lineage.broken = True


class Answer(NamedTuple):
    """DONE: its command id is in the log. APPENDED at `position` and following. MOVED: what it read is no longer so.

    `position` is the log's head where nothing was appended.
    """

    kind: int
    position: int


class Batcher:
    """Sends appends to the log, in order, in batches; runs in one event loop."""

    def __init__(self, writer_url: str, max_queued: int = 2_000) -> None:
        self._url, self._max_queued = writer_url, max_queued
        self._queue: deque[Append] = deque()
        self._connection: AsyncConnection | None = None
        self._flushing: asyncio.Task[None] | None = None
        self._under_way: list[Append] = []
        self._watching = False
        self.batches = 0
        self.appends = 0
        self.moved = 0

    def put(self, append: Append) -> None:
        """Queue an append; its answer is set when it is known."""
        self._queue.append(append)
        if self._flushing is None:
            loop = asyncio.get_running_loop()
            self._flushing = loop.create_task(self._flush())
            if not self._watching:
                self._watching = True
                loop.call_later(WATCH_S, self._watch)

    @property
    def queued(self) -> int:
        """How many appends wait for the next batch."""
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Say whether more appends wait than this process should take."""
        return len(self._queue) >= self._max_queued

    async def stop(self) -> None:
        """Answer what is queued, then close."""
        if self._flushing is not None:
            await asyncio.wait([self._flushing])
        if self._connection is not None:
            await self._connection.close()

    def _watch(self) -> None:
        """Let callers go whose patience is over; one timer for all, since almost every append is answered long before."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        for append in (*self._under_way, *self._queue):
            if append.expires < now and not append.answer.done():
                append.answer.set_exception(TimeoutError())
        self._watching = self._flushing is not None
        if self._watching:
            loop.call_later(WATCH_S, self._watch)

    async def _flush(self) -> None:
        try:
            while self._queue:
                self._under_way = [self._queue.popleft() for _ in range(min(len(self._queue), LARGEST_BATCH))]
                await self._send_until_answered(self._under_way)
        finally:
            self._flushing = None

    async def _send_until_answered(self, batch: list[Append]) -> None:
        pause = 0.01
        while batch := self._still_wanted(batch):
            try:
                await self._send(batch)
                return
            except Exception as error:
                if _passes(error):
                    # Whether the batch was committed is unknown, so it is sent again as it was.
                    log.warning(
                        "append to be sent again", extra={"appends": len(batch), "reason": type(error).__name__}
                    )
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE_S)
                    continue
                # Something in one append cannot be stored; halving the batch finds it and lets the others through.
                if len(batch) == 1:
                    batch[0].left_out()
                    if not batch[0].answer.done():  # its caller may have given up meanwhile
                        batch[0].answer.set_exception(error)
                    return
                middle = len(batch) // 2
                await self._send_until_answered(batch[:middle])
                batch = batch[middle:]

    def _still_wanted(self, batch: list[Append]) -> list[Append]:
        wanted = []
        for append in batch:
            if append.answer.done():  # its caller gave up
                append.left_out()
            elif append.outdated():
                append.left_out()
                append.answer.set_result(Answer(MOVED, 0))
            else:
                wanted.append(append)
        return wanted

    async def _send(self, batch: list[Append]) -> None:
        if self._connection is None or self._connection.closed:
            self._connection = await connect_async(self._url, "fieldlog append")
        keys, parameters = _parameters(batch)
        SIZES.observe(len(batch))
        about = {"db.system.name": "postgresql", "db.operation.name": "append", "db.operation.batch.size": len(batch)}
        traces = [append.traceparent for append in batch]
        with query("append", appends=len(batch)), tracing.batch("append batch", traces, about, SpanKind.CLIENT):
            row = await (await self._connection.execute(CALL, parameters, binary=True)).fetchone()
        if row is None:
            raise psycopg.OperationalError("the append function returned nothing")
        head, answers, moved_slots = row
        self.batches += 1
        for append, kind, slot in zip(batch, answers, moved_slots, strict=True):
            self.appends += 1
            if kind == APPENDED and append.facts:
                answer = Answer(APPENDED, head + 1)
                head += len(append.facts)
            else:
                answer = Answer(kind, head)
            if kind != APPENDED:
                if kind == MOVED:
                    self.moved += 1
                    CONFLICTS.inc()
                append.left_out(keys[slot - 1] if kind == MOVED else None)
            with contextlib.suppress(asyncio.InvalidStateError):  # its caller gave up meanwhile
                append.answer.set_result(answer)


def _passes(error: Exception) -> bool:
    """Say whether what failed may succeed when it is tried again: lost, refused or overloaded."""
    return isinstance(error, psycopg.OperationalError) and (error.sqlstate is None or error.sqlstate[:2] in PASSING)


def _parameters(batch: Sequence[Append]) -> tuple[Sequence[StreamKey], Sequence[object]]:
    """Return the streams of a batch, in the order of their slots, and what the append function is called with.

    The plan is one array of numbers: for each append how many reads and facts it has, then slot and version of each read,
    then the slot of each fact.
    """
    slots: dict[bytes, int] = {}
    keys: list[StreamKey] = []
    plan: list[int] = []
    facts: list[NewFact] = []
    for append in batch:
        plan += (len(append.reads), len(append.facts))
        for read in append.reads:
            slot = slots.get(read.key.raw)
            if slot is None:
                keys.append(read.key)
                slot = slots[read.key.raw] = len(keys)
            plan += (slot, read.version)
        for fact in append.facts:
            plan.append(slots[fact.key.raw])
            facts.append(fact)
    tenants = {tenant: number for number, tenant in enumerate(dict.fromkeys([key.tenant_id for key in keys]), 1)}
    return keys, [
        Uuids(tenants),
        Int4s([tenants[key.tenant_id] for key in keys]),
        Uuids([key.raw for key in keys]),
        Texts([key.stream for key in keys]),
        Texts([key.id for key in keys]),
        Uuids([append.command_id for append in batch]),
        Int8s(plan),
        Texts([fact.topic for fact in facts]),
        Blobs([fact.state for fact in facts]),
        Blobs([fact.envelope for fact in facts]),
        Times([fact.occurred_at for fact in facts]),
    ]
