"""The desk: where commands are decided, one after another on each stream, and their outcome is made certain by the log.

A decision sees the state that its still unanswered predecessor will leave, so the commands of a hot stream travel in one
batch. What was decided on something that did not come to pass is decided again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

from commands.kernel import Asked, On, consult, decide
from domain.claims import CLAIMS
from domain.kernel import Refused, Stream
from infra import tracing
from infra.log.batcher import APPENDED, DONE, Answer, Append, Batcher, NewFact, Read
from infra.log.codec import Codec, EnvelopeWriter, read_envelope
from infra.log.identity import stream_key
from infra.log.order import (
    ANY_VERSION,
    BarredError,
    BusyError,
    KeyReusedError,
    NoSuchRecordError,
    NotCarriedOutError,
    Order,
    Receipt,
    StaleVersionError,
)
from infra.log.states import Belief, States, StatesMissing, evolved
from infra.log.vault import KeysNeeded

PATIENCE_S = 2.0
LOAD_UNTIL = """select originator_id, originator_version, topic, state from fieldlog.log
                 where originator_id = %b and originator_version <= %b order by originator_version"""
LOAD_COMMAND = """select notification_id, envelope, originator_id, originator_version, topic, state from fieldlog.log
                   where command_id = %b order by command_index"""
VERSION_AT = """select coalesce(max(originator_version), 0) from fieldlog.log
                 where originator_id = %b and notification_id <= %b"""


T = TypeVar("T")


class _Decided(NamedTuple):
    """A decision: what it read, what is to be stored, what is to be believed of each stream (version, state, size) before
    that, and what its caller is told once it is certain.
    """

    reads: Mapping[bytes, Read]
    outcome: Receipt | Exception
    facts: Sequence[NewFact] = ()
    before: Sequence[tuple[Belief, int, Any, int]] = ()


class _Begun(NamedTuple):
    """A decision on its way to the log."""

    answer: asyncio.Future[Answer]
    outcome: Receipt | Exception


class Desk:
    """Decides commands and makes their outcomes certain; runs in one event loop."""

    def __init__(self, states: States, batcher: Batcher, codec: Codec) -> None:
        self._states, self._batcher, self._codec = states, batcher, codec
        self._running: dict[UUID, asyncio.Future[None]] = {}

    async def carry_out(self, order: Order) -> Receipt:
        """Decide a command, append what follows, and return its receipt.

        Raises the decision's Refused, NoSuchRecordError, StaleVersionError, BarredError, KeyReusedError, BusyError.
        """
        if order.envelope.fingerprint is None:
            return await self._carry_out(order)
        async with self._alone([order]):
            return await self._carry_out(order)

    async def carry_out_all(self, orders: Sequence[Order]) -> list[Receipt | Exception]:
        """Carry out commands in their order, each on what the ones before it lead to; a failure leaves the others be.

        They travel together; where one is decided again, it is decided before those behind it are. Raises BusyError if
        another request carries out one of them and does not come to an end.
        """
        begun: list[_Begun | Exception] = []
        outcomes: list[Receipt | Exception] = []
        ends = self._ends()
        async with self._alone(orders):
            for order in orders:
                try:
                    begun.append(await self._begin(order, ends))
                except Exception as error:
                    begun.append(error)
            for order, one in zip(orders, begun, strict=True):
                try:
                    outcomes.append(one if isinstance(one, Exception) else await self._finish(order, one, ends))
                except Exception as error:
                    outcomes.append(error)
        return outcomes

    async def carry_out_together(self, orders: Sequence[Order]) -> Sequence[Receipt | Exception]:
        """Carry out commands, all of one command id, as one: where one has no receipt, none takes effect.

        The others are then answered with NotCarriedOutError. Raises KeyReusedError, BusyError.
        """
        ends, first = self._ends(), True
        async with self._alone(orders[:1]):
            while True:
                try:
                    decided, outcomes = self._decide_together(orders, assume_new=first)
                except (StatesMissing, KeysNeeded) as needed:
                    await self._fetch(needed, ends)
                    continue
                answer = await self._answer(self._send(orders[0].command_id, decided, ends))
                if answer.kind == DONE:
                    return await self._in_time(self._first_receipts(orders), ends)
                if answer.kind == APPENDED:
                    return _placed(outcomes, answer)
                first = False
                await self._look_again(orders, ends)

    @asynccontextmanager
    async def _alone(self, orders: Sequence[Order]) -> AsyncIterator[None]:
        """Let a repeated command wait until the first one with its id has its answer. Raises BusyError."""
        mine: list[UUID] = []
        try:
            for id in sorted({order.command_id for order in orders if order.envelope.fingerprint is not None}):
                while (earlier := self._running.get(id)) is not None:
                    if not (await asyncio.wait([earlier], timeout=PATIENCE_S))[0]:
                        raise BusyError
                self._running[id] = asyncio.get_running_loop().create_future()
                mine.append(id)
            yield
        finally:
            for id in mine:
                self._running.pop(id).set_result(None)

    @staticmethod
    def _ends() -> float:
        """Return when a caller's patience ends, in the event loop's time."""
        return asyncio.get_running_loop().time() + PATIENCE_S

    async def _carry_out(self, order: Order) -> Receipt:
        ends = self._ends()
        return await self._finish(order, await self._begin(order, ends), ends)

    async def _begin(self, order: Order, ends: float, *, first: bool = True) -> _Begun:
        """Decide a command and send its outcome on its way. Raises BusyError."""
        while True:
            try:
                decided = self._decide(order, assume_new=first)
            except (StatesMissing, KeysNeeded) as needed:
                await self._fetch(needed, ends)
                continue
            return _Begun(self._send(order.command_id, decided, ends), decided.outcome)

    async def _finish(self, order: Order, begun: _Begun, ends: float) -> Receipt:
        """Wait for the answer; what was decided on something that has not come to pass is decided again. Raises BusyError."""
        while True:
            answer = await self._answer(begun.answer)
            if answer.kind == APPENDED:
                break
            if answer.kind == DONE:
                return (await self._in_time(self._first_receipts([order]), ends))[0]
            if asyncio.get_running_loop().time() > ends:
                raise BusyError
            await self._look_again([order], ends)
            begun = await self._begin(order, ends, first=False)
        outcome = begun.outcome
        if isinstance(outcome, StaleVersionError):
            outcome.changed_fields = await self._in_time(self._changed_fields(order, outcome), ends)
        if isinstance(outcome, Exception):
            raise outcome
        outcome.position = answer.position + max(len(outcome.facts) - 1, 0)
        return outcome

    async def _look_again(self, orders: Sequence[Order], ends: float) -> None:
        """Look anew whether orders may be carried out, before they are decided again. Raises BusyError."""
        for order in orders:
            if order.guard is not None:
                order.barred = await self._in_time(order.guard(), ends)

    async def _fetch(self, needed: StatesMissing | KeysNeeded, ends: float) -> None:
        """Bring into memory what was missing, while there is patience. Raises BusyError."""
        await self._in_time(self._states.fetch(needed), ends)

    @staticmethod
    async def _in_time(reading: Awaitable[T], ends: float) -> T:
        """Return what is read, while there is patience. Raises BusyError."""
        try:
            async with asyncio.timeout_at(ends):
                return await reading
        except TimeoutError as error:
            raise BusyError from error

    @staticmethod
    async def _answer(answer: asyncio.Future[Answer]) -> Answer:
        try:
            with tracing.span("append"):
                return await answer
        except TimeoutError as error:
            raise BusyError from error

    async def _changed_fields(self, order: Order, stale: StaleVersionError) -> list[str]:
        own_id = stream_key(order.tenant_id, order.stream.name, order.id).originator_id
        then = await self._states.folded(order.stream, await self._states.rows(LOAD_UNTIL, [own_id, order.if_match]))
        return [one.name for one in fields(then) if getattr(then, one.name) != getattr(stale.state, one.name)]

    def _send(self, command_id: UUID, decided: _Decided, ends: float) -> asyncio.Future[Answer]:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        if decided.before:
            for belief, *_ in decided.before:
                belief.waiting += 1
            answer.add_done_callback(partial(self._answered, decided.before))
        self._batcher.put(
            Append(command_id, tuple(decided.reads.values()), decided.facts, answer, ends, tracing.traceparent())
        )
        return answer

    def _answered(self, before: Sequence[tuple[Belief, int, Any, int]], _: asyncio.Future[Answer]) -> None:
        for belief, *_rest in before:
            belief.waiting -= 1
        self._states.evict()

    def _decide(self, order: Order, *, assume_new: bool) -> _Decided:
        """Decide on what this process believes, and let it believe what follows. Raises StatesMissing, KeysNeeded."""
        with tracing.span("decide"):
            return self._decided(order, assume_new=assume_new)

    def _decided(self, order: Order, *, assume_new: bool) -> _Decided:
        if self._batcher.full:  # asked before anything is believed that would then not be sent
            raise BusyError
        own_key = stream_key(order.tenant_id, order.stream.name, order.id)
        own = self._states.find(own_key, order.stream, assume_new=assume_new and order.command.creates)
        reads = {own_key.raw: Read(own_key, own.version, own.lineage)}

        def find(stream: Stream[Any], id: str) -> Any:
            key = stream_key(order.tenant_id, stream.name, id)
            belief = self._states.find(key, stream, assume_new=assume_new and stream is CLAIMS)
            reads[key.raw] = Read(key, belief.version, belief.lineage)
            return belief.state

        try:
            if order.barred is not None:
                raise order.barred
            _check_version(order, own.version, own.state)
            asked = Asked(order.tenant_id, order.id, order.by, order.at, order.now)
            asked = consult(order.command, own.state, asked, find)
            facts = decide(order.command, order.stream, own.state, asked)
        except (Refused, NoSuchRecordError, StaleVersionError, BarredError) as no:
            return _Decided(reads, no)
        stored, before = self._believe(order, facts)
        answer = order.command.answer(own.state, [one.fact for one in facts])
        receipt = Receipt(order.id, own.version, 0, tuple([one.topic for one in stored]), answer)
        return _Decided(reads, receipt, stored, before)

    def _believe(self, order: Order, facts: Sequence[On]) -> tuple[list[NewFact], list[tuple[Belief, int, Any, int]]]:
        """Write the facts as they will be stored, then believe them; return also what was believed before.

        Raises KeysNeeded, before anything is believed.
        """
        after: dict[bytes, tuple[Belief, int, Any, int]] = {}
        stored = []
        envelope = EnvelopeWriter(order.envelope, order.client, self._codec.vault)
        for one in facts:
            key = stream_key(order.tenant_id, one.stream.name, one.id)
            belief = self._states.find(key, one.stream)
            _, version, state, size = after.get(key.raw) or (belief, belief.version, belief.state, belief.size)
            version += 1
            topic, written = self._codec.encode(key, version, one.fact)
            stored.append(NewFact(key, topic, written, envelope.at(key, version), order.at))
            after[key.raw] = belief, version, evolved(one.stream, state, one.fact), size + len(written)
        before = [(belief, belief.version, belief.state, belief.size) for belief, *_ in after.values()]
        for belief, version, state, size in after.values():
            self._states.move_on(belief, version, state, size)
        return stored, before

    def _disbelieve(self, parts: Sequence[_Decided]) -> None:
        """Believe again what was believed before these decisions, the last of them first."""
        for part in reversed(parts):
            for belief, version, state, size in part.before:
                self._states.move_on(belief, version, state, size)

    def _decide_together(
        self, orders: Sequence[Order], *, assume_new: bool
    ) -> tuple[_Decided, Sequence[Receipt | Exception]]:
        """Decide several commands as one; if one of them is answered no, nothing is believed of what they lead to."""
        parts: list[_Decided] = []
        try:
            for order in orders:
                parts.append(self._decide(order, assume_new=assume_new))
        except Exception:
            self._disbelieve(parts)
            raise
        reads: dict[bytes, Read] = {}
        for part in parts:
            reads = {**part.reads, **reads}  # the first read of a stream was before any of their facts
        if all(isinstance(part.outcome, Receipt) for part in parts):
            facts = [fact for part in parts for fact in part.facts]
            before = list({id(one[0]): one for part in reversed(parts) for one in part.before}.values())
            return _Decided(reads, NotCarriedOutError(), facts, before), [part.outcome for part in parts]
        self._disbelieve(parts)
        refused = [part.outcome if isinstance(part.outcome, Exception) else NotCarriedOutError() for part in parts]
        return _Decided(reads, NotCarriedOutError()), refused

    async def _first_receipts(self, orders: Sequence[Order]) -> list[Receipt]:
        """Return the receipts of a command that is in the log already. Raises KeyReusedError if it was another one."""
        rows = await self._states.rows(LOAD_COMMAND, [orders[0].command_id])
        envelopes = [read_envelope(row[1]) for row in rows]
        facts = await self._states.decoded([row[2:] for row in rows])
        if envelopes[0].fingerprint != orders[0].envelope.fingerprint:
            raise KeyReusedError
        receipts = []
        for order in orders:
            own = [n for n, envelope in enumerate(envelopes) if envelope.op == order.envelope.op]
            position = rows[own[-1] if own else -1][0]
            own_id = stream_key(order.tenant_id, order.stream.name, order.id).originator_id
            [(version,)] = await self._states.rows(VERSION_AT, [own_id, position])
            state = await self._states.folded(order.stream, await self._states.rows(LOAD_UNTIL, [own_id, version]))
            answer = order.command.answer(state, [facts[n] for n in own])
            receipts.append(Receipt(order.id, version, position, tuple(rows[n][4] for n in own), answer))
        return receipts


def _check_version(order: Order, version: int, state: Any) -> None:
    if version == 0 and (order.if_match is not None or not order.command.creates):
        raise NoSuchRecordError if order.if_match is None else StaleVersionError(0, state)
    if order.if_match not in (None, ANY_VERSION, version):
        raise StaleVersionError(version, state)


def _placed(outcomes: Sequence[Receipt | Exception], answer: Answer) -> Sequence[Receipt | Exception]:
    """Give the receipts of commands that were carried out together their positions: their facts follow one another."""
    following = answer.position
    for outcome in outcomes:
        if isinstance(outcome, Receipt):
            following += len(outcome.facts)
            outcome.position = max(following - 1, answer.position)
    return outcomes
