"""The reactor: asks what facts and timers lead to, in the order of the log, from a bookmark, while it holds its lease.

Command ids follow from the cause, so whatever is asked again after a crash changes nothing. A refusal is put on record on
the cause's stream; a technical failure is tried again, then that cause is parked and the others go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid5

import psycopg
from prometheus_client import Counter, Gauge
from psycopg import sql

from commands.kernel import Ask, DestroyKeys, ForgetFile, NoteReactionRefused, Reaction, Rows, Timer
from domain.catalog import STREAMS
from domain.kernel import Recorded, Refused
from domain.roles import Actor, Role
from infra import tracing
from infra.database import Connection, connect
from infra.log.codec import Envelope, read_envelope
from infra.log.identity import caused_command_id
from infra.log.order import BusyError, NoSuchRecordError, Order
from infra.log.service import open_log
from infra.measured import operation, query
from infra.objects import Objects
from infra.settings import Settings
from infra.views.tables import schema_of
from infra.web.framework import Health
from infra.web.serving import Query

log = logging.getLogger(__name__)

BOOKMARK = "reactor"
LEASE = 730522
BATCH = 500
TRIES = 5
WAIT_S, PAUSE_S, LAG_PAUSE_S = 1.0, 0.5, 0.02
# The database is away or too busy: no fault of a cause, so it is waited for however long that takes, and nothing is parked.
AWAY = (psycopg.OperationalError, BusyError)
SYSTEM = Actor("fieldlog", frozenset({Role.SYSTEM}))
CAUSES = """select notification_id, tenant_id, stream, id, originator_id, originator_version, topic, state,
                   occurred_at, recorded_at, command_id, envelope
              from fieldlog.log where {} order by notification_id limit %s"""
AFTER = sql.SQL(CAUSES).format(sql.SQL("notification_id > %s and notification_id <= %s and topic = any(%s)"))
RESUMED = sql.SQL(CAUSES).format(
    sql.SQL("notification_id in (select position from fieldlog.parked_causes where resume)")
)
BEHIND = """select at.name, case when fieldlog.head() > at.position
        then extract(epoch from clock_timestamp() - fieldlog.recorded_after(at.position))::float8 else 0 end,
        (select count(*) from fieldlog.parked_causes)
    from (select n as name, coalesce((select position from fieldlog.bookmarks where name = n), 0) as position
            from cast(%s as text) n) at"""
# Looked up whenever somebody asks, so they are true also while nothing is followed, for whatever reason.
LAG = Gauge("reactor_lag_seconds", "Age of the first fact that was not followed yet", ["reactor"])
PARKED = Gauge("reactor_parked", "Causes that are parked", ["reactor"])
WORKS = Gauge("reactor_works", "1: this process follows the log; 0: it stands by")
REACTIONS_TOTAL = Counter("reactions_total", "What reactions and timers asked for, by outcome", ["reaction", "outcome"])


class StoppingError(Exception):
    """The reactor is asked to stop before a cause could be followed; it is followed at the next start."""


@dataclass(frozen=True)
class Cause:
    """Why something is asked: a fact or a timer of an organisation. Ids of what follows come from `id`."""

    id: UUID
    tenant_id: UUID
    causation_id: str
    correlation_id: str | None = None
    traceparent: str | None = None


class Reactor:
    """Runs until it is stopped."""

    def __init__(self, settings: Settings, reactions: Iterable[Reaction], timers: Iterable[Timer]) -> None:
        self._settings, self._timers = settings, list(timers)
        self._objects = Objects(settings)
        self._reactions: dict[str, list[Reaction]] = {}
        for reaction in reactions:
            [topic] = [name for name, fact in reaction.stream.facts.items() if fact is reaction.fact]
            self._reactions.setdefault(topic, []).append(reaction)
        self._stopping = asyncio.Event()
        self._position = 0
        self._works = False

    def stop(self) -> None:
        """Ask the reactor to end after what it is doing."""
        self._stopping.set()

    def health(self, look: Query) -> Health:
        """Return what this process says of itself."""

        async def behind() -> str:
            [(_, seconds, _)] = await look(BEHIND, [BOOKMARK])
            if seconds > self._settings.max_lag_seconds:
                raise RuntimeError(f"the reactor lags by {seconds:.0f} s")
            return f"lags {seconds:.1f} s"

        async def parked() -> str:
            [(_, _, causes)] = await look(BEHIND, [BOOKMARK])
            return f"{causes} causes"

        async def lease() -> str:
            return "works" if self._works else "stands by"

        async def measure() -> None:
            found: list[Any] = []
            try:
                found = await look(BEHIND, [BOOKMARK])
            finally:
                for gauge in (LAG, PARKED):
                    gauge.clear()
            WORKS.set(self._works)
            for name, seconds, causes in found:
                LAG.labels(name).set(seconds)
                PARKED.labels(name).set(causes)

        return Health({"log": behind, "parked": parked, "lease": lease}, [measure])

    async def run(self) -> None:
        """React until stopped; begin anew after every lost connection."""
        async with open_log(self._settings) as self._log:
            while not self._stopping.is_set():
                try:
                    await self._work()
                except StoppingError:
                    return
                except (psycopg.Error, BusyError) as error:
                    reason = str(error).partition("\n")[0] or type(error).__name__
                    log.warning("reactor begins anew", extra={"reason": reason})
                    await asyncio.sleep(PAUSE_S)

    async def _work(self) -> None:
        url = self._settings.need("projector_url")
        with connect(url, "fieldlog reactor") as self._connection, connect(url, "fieldlog reactor listen") as listener:
            listener.execute("listen fieldlog_log")
            while not self._take_lease():
                if await self._stopped(PAUSE_S):
                    return
            self._works = True
            try:
                await self._lead(listener)
            finally:
                self._works = False

    async def _lead(self, listener: Connection) -> None:
        """Work from the bookmark on, for as long as the lease is held."""
        row = self._execute("select position from fieldlog.bookmarks where name = %s", [BOOKMARK]).fetchone()
        self._position = row[0] if row is not None else 0
        while not self._stopping.is_set():
            await self._react()
            await self._resume()
            for timer in self._timers:
                await self._fire(timer)
            await asyncio.to_thread(lambda: list(listener.notifies(timeout=WAIT_S, stop_after=1)))

    def _take_lease(self) -> bool:
        row = self._execute("select pg_try_advisory_lock(%s, 0)", [LEASE]).fetchone()
        return row is not None and bool(row[0])

    def _execute(self, statement: Any, parameters: Sequence[Any] = ()) -> psycopg.Cursor[tuple[Any, ...]]:
        with query("react"):
            return self._connection.execute(statement, parameters)

    async def _stopped(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    async def _react(self) -> None:
        """Work through the facts that reactions follow from, until the head of the log."""
        row = self._execute("select fieldlog.head()").fetchone()
        head = row[0] if row is not None else 0
        while self._position < head and not self._stopping.is_set():
            rows = self._execute(AFTER, [self._position, head, list(self._reactions), BATCH]).fetchall()
            for row in rows:
                if self._stopping.is_set():
                    return
                for reaction in self._reactions[row[6]]:
                    await self._insist(reaction, row)
                self._move(row[0])
            if len(rows) < BATCH:
                self._move(head)

    def _move(self, position: int) -> None:
        """Move the bookmark; whoever moved it meanwhile has the lease, so this one begins anew."""
        moved = self._execute(
            """insert into fieldlog.bookmarks as b (name, position) values (%s, %s) on conflict (name)
               do update set position = excluded.position where b.position = %s""",
            [BOOKMARK, position, self._position],
        )
        if not moved.rowcount:
            raise psycopg.OperationalError("the bookmark was moved by another reactor")
        self._position = position

    async def _insist(self, reaction: Reaction, row: tuple[Any, ...]) -> bool:
        """Let a reaction follow from a fact, in a few tries; park the cause if all of them fail. Say whether it did."""
        for attempt in range(1, TRIES + 1):
            try:
                with operation("react", reaction=reaction.name, position=row[0]):
                    await self._follow(reaction, row)
            except (*AWAY, StoppingError):
                raise
            except Exception as error:
                log.exception("reaction failed", extra={"reaction": reaction.name, "position": row[0], "try": attempt})
                reason = f"{type(error).__name__}: {error}"
                await asyncio.sleep(PAUSE_S * attempt)
            else:
                return True
        self._execute(
            """insert into fieldlog.parked_causes as p (reaction, position, tenant_id, error) values (%s, %s, %s, %s)
               on conflict (reaction, position) do update set error = excluded.error, resume = false""",
            [reaction.name, row[0], row[1], reason[:2_000]],
        )
        REACTIONS_TOTAL.labels(reaction.name, "parked").inc()
        return False

    async def _follow(self, reaction: Reaction, row: tuple[Any, ...]) -> None:
        [fact] = await self._log.states.decoded([row[4:8]])
        position, tenant, stream, id, originator, version = row[:6]
        happened = Recorded(fact, tenant, stream, id, version, position, row[8], row[9])
        envelope = read_envelope(bytes(row[11]))
        cause = Cause(
            uuid5(originator, str(version)), tenant, str(row[10]), envelope.correlation_id, envelope.traceparent
        )
        for following in reaction.then(happened, await self._rows(reaction, tenant, position)):
            if isinstance(following, DestroyKeys):
                gone = await self._log.states.rows(
                    "select fieldlog.destroy_daily_keys(%s, %s)", [tenant, following.through]
                )
                log.info("keys destroyed", extra={"tenant": str(tenant), "keys": gone[0][0]})
                continue
            if isinstance(following, ForgetFile):
                forget = self._objects.forget_parts if following.complete else self._objects.forget
                await forget(following.key)
                continue
            name = name_of(reaction.name, following)
            refused = await self._ask(cause, name, following)
            if refused is not None:
                note = NoteReactionRefused(
                    reaction=reaction.name,
                    refusal=refused,
                    cause=position,
                    stream=following.stream.name,
                    id=following.id,
                )
                await self._ask(cause, f"{name}/refused", Ask(STREAMS[stream], id, note))

    async def _rows(self, reaction: Reaction, tenant: UUID, position: int) -> Rows:
        """Return what reads the rows that a reaction needs, once they have come to a position."""
        if reaction.context is None:
            return _no_rows
        await self._view_at(reaction.context, tenant, position)
        return _Rows(self._connection, reaction.context, tenant).matching

    async def _view_at(self, context: str, tenant: UUID, position: int) -> None:
        """Wait until the context's rows are those of a position. Raises LookupError if the tenant's facts are parked."""
        while not self._stopping.is_set():
            row = self._execute(
                """select b.position, (select p.position from fieldlog.parked p
                                        where p.build = b.build and p.tenant_id = %s)
                     from fieldlog.views v join fieldlog.builds b using (build) where v.context = %s""",
                [tenant, context],
            ).fetchone()
            if row is None or row[1] is not None:
                raise LookupError(f"the facts of {tenant} are parked for {context}")
            if row[0] >= position:
                return
            await asyncio.sleep(LAG_PAUSE_S)
        raise StoppingError

    async def _ask(self, cause: Cause, name: str, ask: Ask) -> str | None:
        """Ask for a command; return the code of its refusal, if it is refused."""
        about = {
            "tenant.id": str(cause.tenant_id),
            "command.name": f"{ask.stream.name}.{type(ask.command).__name__}",
            "aggregate.type": ask.stream.name,
        }
        title = f"react {name.partition('/')[0]}"
        timed = cause.traceparent is None
        with tracing.span(title, about) if timed else tracing.batch(title, [cause.traceparent], about):
            return await self._asked(cause, name, ask)

    async def _asked(self, cause: Cause, name: str, ask: Ask) -> str | None:
        now = datetime.now(UTC)
        order = Order(
            tenant_id=cause.tenant_id,
            stream=ask.stream,
            id=ask.id,
            command=ask.command,
            by=SYSTEM,
            at=now,
            now=now,
            command_id=caused_command_id(cause.id, name),
            envelope=Envelope(
                command=f"{ask.stream.name}.{type(ask.command).__name__}",
                actor=SYSTEM.subject,
                roles=(Role.SYSTEM.value,),
                correlation_id=cause.correlation_id,
                causation_id=cause.causation_id,
                traceparent=tracing.traceparent() or cause.traceparent,
            ),
        )
        outcome = "accepted"
        try:
            await self._log.desk.carry_out(order)
        except (Refused, NoSuchRecordError) as refused:
            outcome = type(refused).__name__
        REACTIONS_TOTAL.labels(name.partition("/")[0], outcome).inc()
        return None if outcome == "accepted" else outcome

    async def _resume(self) -> None:
        """Follow again from parked causes that are to be resumed."""
        for row in self._execute(RESUMED, [BATCH]).fetchall():
            for reaction in self._reactions.get(row[6], []):
                if await self._insist(reaction, row):
                    self._execute(
                        "delete from fieldlog.parked_causes where reaction = %s and position = %s",
                        [reaction.name, row[0]],
                    )

    async def _fire(self, timer: Timer) -> None:
        """Ask what due timers ask for; the row moves on once what was asked is in the view."""
        served = self._execute("select build from fieldlog.views where context = %s", [timer.context]).fetchone()
        if served is None:
            return
        due = self._execute(
            sql.SQL("select tenant_id, to_jsonb(t) from {} t where name = %s and due_at <= now()").format(
                sql.Identifier(schema_of(timer.context, served[0]), timer.view)
            ),
            [timer.name],
        )
        for tenant, row in due.fetchall():
            cause = Cause(uuid5(tenant, f"timer/{timer.name}/{row['due_at']}"), tenant, f"timer {timer.name}")
            for ask in timer.then(tenant, row):
                # Named by what is asked: after a change of settings, another thing may be due at the very same moment.
                name = f"{timer.name}/{ask.stream.name}/{ask.id}/{ask.command.model_dump_json()}"
                try:
                    await self._ask(cause, name, ask)
                except AWAY:
                    raise
                except Exception:
                    log.exception("timer failed", extra={"timer": timer.name, "tenant": str(tenant)})


def name_of(reaction: str, ask: Ask) -> str:
    """Return what a command of a reaction is named by: by what is asked, not by its place, since rows that are gone by the
    next try must not shift what follows.
    """
    return f"{reaction}/{ask.stream.name}/{ask.id}/{type(ask.command).__name__}"


def _no_rows(view: str, /, *_: tuple[str, str, Any]) -> Iterable[Mapping[str, Any]]:
    raise LookupError(f"this reaction names no context, so it cannot read {view}")


class _Rows:
    """Rows of the served views of a context, for one tenant."""

    def __init__(self, connection: Connection, context: str, tenant: UUID) -> None:
        self._connection, self._tenant = connection, tenant
        row = connection.execute("select build from fieldlog.views where context = %s", [context]).fetchone()
        assert row is not None
        self._schema = schema_of(context, row[0])

    def matching(self, view: str, /, *conditions: tuple[str, str, Any]) -> Iterator[Mapping[str, Any]]:
        """Yield the rows of a view for which `(field, relation, value)` hold."""
        wanted = [sql.SQL("tenant_id = %s")]
        for name, relation, _ in conditions:
            if relation not in ("=", "<="):
                raise ValueError(f"rows are not found by {relation!r}")
            wanted.append(sql.SQL("{} {} %s").format(sql.Identifier(name), sql.SQL(relation)))  # type: ignore[arg-type]
        statement = sql.SQL("select to_jsonb(t) from {} t where {}").format(
            sql.Identifier(self._schema, view), sql.SQL(" and ").join(wanted)
        )
        for (row,) in self._connection.execute(statement, [self._tenant, *(value for _, _, value in conditions)]):
            yield row
