"""The relay: publishes facts and changed rows to Kafka, each once and in order, while it holds its lease.

What it publishes and how far it has come are one Kafka transaction. Whoever takes over fences the one before, whose open
transaction is undone, and goes on from the record. So a process that dies anywhere leaves nothing out and nothing twice.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterator
from concurrent.futures import Future, wait
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import psycopg
from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Gauge

from domain.catalog import STREAMS_BY_CONTEXT
from infra import tracing
from infra.database import Connection, connect
from infra.kafka.clients import admin, producer
from infra.kafka.events import ChangedRow, Events, Message, UnknownStreamError
from infra.kafka.record import KEY, Followed, Record, RelayError, encode, holding, live_keys, read_record
from infra.kafka.source import FIRST, Served, Source, is_gone
from infra.kafka.topics import TopicMaker, Topics
from infra.measured import operation, query
from infra.settings import Settings, SettingsError
from infra.web.framework import Health
from infra.web.serving import Query
from projections.catalog import CONTEXTS

log = logging.getLogger(__name__)

LEASE = 730523
FACTS_BATCH, LARGEST_BATCH, BATCH_BYTES = 1_000, 5_000, 8 * 2**20
ROWS_BATCH, WINDOW, MOST_MESSAGES = 2_000, 2_000, 10_000
WAIT_S, PAUSE_S, QUIET_S = 1.0, 0.5, 1.0
# Under load, a transaction for every few facts would cost more than it hastens.
PACE_S = 0.01
COMMIT_S, LAST_COMMIT_S, LOOK_S = 120.0, 3.0, 0.1
PUBLISHED = Counter("relay_published_total", "Records published to Kafka", ["kind"])
POSITION = Gauge("relay_position", "Every fact until here is published")
WORKS = Gauge("relay_works", "1: this process publishes; 0: it stands by")
OLDEST = Gauge("outbox_oldest_seconds", "Age of the oldest fact that is not published")


@dataclass
class _Fill:
    """The rows of a build on their way to its topics; `stale` are keys that a former build of the version left there."""

    stale: dict[str, set[bytes]]
    last: tuple[UUID, str, int, str] = FIRST


@dataclass
class _Round:
    """What one transaction publishes, so many facts first and then rows, and the record after it."""

    messages: list[Message]
    facts: int
    log: int
    views: dict[str, Followed]
    more: bool
    filled: bool = False

    @property
    def record(self) -> Record:
        """How far it is published with this round."""
        return Record(self.log, self.views)


class Relay:
    """Runs until it is stopped; begins anew after every failure of PostgreSQL or Kafka."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._topics, self._events = Topics(settings.topic_prefix), Events(settings)
        self._stopping = threading.Event()
        self._record, self._recorded_at = Record(), 0.0
        self._limit = FACTS_BATCH
        self._known = False
        self._since: datetime | None = None  # the lease is held and the record not known
        self._fills: dict[str, _Fill] = {}
        self._committing: tuple[Future[None], _Round] | None = None
        self._oldest: datetime | None = None
        self._works, self._reason = False, "not yet begun"
        OLDEST.set_function(self._lag_s)

    def _lag_s(self) -> float:
        return time.time() - self._oldest.timestamp() if self._oldest else 0.0

    def health(self, _: Query) -> Health:
        """Return what this process says of itself; one that stands by is as ready as the one that publishes."""

        async def outbox() -> str:
            lag = self._lag_s()
            if lag > self._settings.max_lag_seconds:
                raise RuntimeError(f"the relay lags by {lag:.0f} s: {self._reason}")
            return f"lags {lag:.1f} s"

        async def lease() -> str:
            return "works" if self._works else "stands by"

        async def measure() -> None:
            WORKS.set(self._works)

        return Health({"outbox": outbox, "lease": lease}, [measure])

    def stop(self) -> None:
        """Ask the relay to end after its transaction."""
        self._stopping.set()

    def run(self) -> None:
        """Publish until stopped. Raises RelayError if topics and log do not belong together."""
        while not self._stopping.is_set():
            try:
                self._work()
            except (RelayError, SettingsError):
                raise
            except Exception as error:
                reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
                known = isinstance(error, KafkaError | UnknownStreamError | psycopg.OperationalError) or is_gone(error)
                log.warning("relay begins anew", extra={"reason": reason}, exc_info=not known)
                self._reason = reason
                self._stopping.wait(PAUSE_S)
            finally:
                self._works = False

    def _work(self) -> None:
        url = self._settings.need("relay_url")
        with connect(url, "fieldlog relay") as connection, connect(url, "fieldlog relay listen") as listener:
            for channel in ("fieldlog_log", "fieldlog_positions", "fieldlog_views"):
                listener.execute(f"listen {channel}".encode())
            if not self._take_lease(connection):
                return
            self._works, self._source = True, Source(connection)
            with self._source as source:  # so that what waits is known also while Kafka is away
                self._since = self._since or datetime.now(UTC)
                self._oldest = source.recorded_after(self._record.log) if self._known else self._since
            with closing(admin(self._settings)) as making, _producer(self._settings, self._topics.relay) as publishing:
                self._maker = TopicMaker(making, self._topics, self._settings)
                made = self._maker.ensure(self._all_topics())
                self._publishing, self._committing = publishing, None
                self._fills.clear()
                self._limit = FACTS_BATCH
                self._record, self._known = self._without_deleted(self._where_it_stopped(), made), True
                self._follow(listener)
                self._settle()

    def _take_lease(self, connection: Connection) -> bool:
        """Wait until no other relay publishes; a session lock, so it ends with the connection that reads."""
        while not self._stopping.is_set():
            row = connection.execute("select pg_try_advisory_lock(%s, 0)", [LEASE]).fetchone()
            if row is not None and row[0]:
                return True
            self._stopping.wait(PAUSE_S)
        return False

    def _all_topics(self) -> list[str]:
        views = [self._topics.view(view.name, one.version) for one in CONTEXTS.values() for view in one.views]
        return [self._topics.relay, *self._topics.all_facts(), *views]

    def _where_it_stopped(self) -> Record:
        """Return what is published, once nobody else publishes any more. Raises RelayError."""
        self._publishing.init_transactions()
        record = read_record(self._settings)
        if record is None:
            held = holding(self._settings, self._all_topics()[1:])  # the record's own may hold a first one, undone
            if held:
                raise RelayError(
                    f"{', '.join(held)} hold records, but {self._topics.relay} does not say until which position: "
                    "delete these topics to have all of it published anew, or restore that record"
                )
            record = Record()
            self._publish(_Round([], 0, 0, {}, more=True))
            self._settle()
        with self._source as source:
            head = source.head()
        if record.log > head:
            raise RelayError(
                f"{self._topics.relay} says that position {record.log} is published, but the log ends at {head}: "
                "these topics are of another log; set FIELDLOG_TOPIC_PREFIX, or restore the log"
            )
        return record

    def _without_deleted(self, record: Record, made: Collection[str]) -> Record:
        """Return the record without views whose topics had to be made, whose rows are published anew, and without contexts
        that are no more. Raises RelayError if facts are missing.
        """
        with self._source as source:
            for context, streams in STREAMS_BY_CONTEXT.items():
                topic = self._topics.facts(context)
                if topic in made and source.has_facts([stream.name for stream in streams], record.log):
                    raise RelayError(
                        f"{topic} was not there, though facts until position {record.log} are published: it was deleted. "
                        f"Delete all topics, {self._topics.relay} too, to have all of it published anew"
                    )
        kept = {
            context: followed
            for context, followed in record.views.items()
            if context in CONTEXTS
            and not any(self._topics.view(one.name, followed.version) in made for one in CONTEXTS[context].views)
        }
        return Record(record.log, kept)

    def _follow(self, listener: Connection) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            with query("relay"), self._source as source:
                following = self._next(source)
            due = following.record != self._record and (following.more or began - self._recorded_at > QUIET_S)
            if following.messages or following.filled or due:
                self._publish(following)
            if following.more:
                continue
            self._settle()
            if following.messages:
                self._stopping.wait(max(0.0, began + PACE_S - time.monotonic()))
            list(listener.notifies(timeout=WAIT_S, stop_after=1))

    def _next(self, source: Source) -> _Round:
        """Read what is to be published next: facts after the last ones, and what changed in the views meanwhile."""
        facts = source.facts(self._record.log, self._limit)
        self._oldest = facts[0].recorded_at if facts else None
        messages = [self._events.of_fact(one) for one in facts]
        following = _Round(messages, len(facts), self._record.log, {}, len(facts) == self._limit)
        if facts:
            following.log = facts[-1].position
        if following.more:  # small facts travel in large transactions, large ones in small
            mean = sum(len(one.state) for one in facts) // len(facts)
            self._limit = max(1, min(LARGEST_BATCH, BATCH_BYTES // (mean + 1)))
        for context, served in source.served().items():
            followed = self._record.views.get(context)
            if (
                followed is None
                or followed.build != served.build
                or (not followed.complete and context not in self._fills)
            ):
                followed = self._begin_filling(source, context, served)
            step = self._changed if followed.complete else self._filled
            following.views[context] = step(source, context, served, followed, following)
        return following

    def _begin_filling(self, source: Source, context: str, served: Served) -> Followed:
        """Begin to publish every row of a build that readers see from now on, as of where it stands."""
        self._settle()
        topics = [self._topics.view(view, served.version) for view in source.views(context, served.build)]
        self._maker.ensure(topics)
        self._fills[context] = _Fill(live_keys(self._settings, topics))
        return Followed(served.build, served.version, served.position, False, dict(served.held))

    def _filled(self, source: Source, context: str, served: Served, followed: Followed, following: _Round) -> Followed:
        """Take more rows of a build; after the last one, delete what its topics hold besides."""
        fill = self._fills[context]
        rows = source.rows_at(context, served.build, followed.position, fill.last, ROWS_BATCH)
        following.more = True
        for row in rows:
            message = self._events.of_row(row, followed.version)
            fill.stale[message.topic].discard(message.key)
            following.messages.append(message)
        if rows:
            fill.last = rows[-1][:4]
        if len(rows) == ROWS_BATCH:
            return followed
        for view in source.views(context, served.build):
            stale = fill.stale[self._topics.view(view, followed.version)]
            while stale:
                if len(following.messages) >= MOST_MESSAGES:
                    return followed  # more of them in the next transaction; no more rows are found then
                tenant, _, row_key = stale.pop().decode().partition("/")
                gone = ChangedRow(UUID(tenant), view, followed.position, row_key, None)
                following.messages.append(self._events.of_row(gone, followed.version))
        del self._fills[context]
        following.filled = True
        return msgspec.structs.replace(followed, complete=True)

    def _changed(self, source: Source, context: str, served: Served, followed: Followed, following: _Round) -> Followed:
        """Take what changed since the last round, as far as a window of positions goes."""
        upto = min(served.position, followed.position + WINDOW)
        held = {tenant: position for tenant, position in served.held.items() if position <= upto}
        if upto == followed.position and held == followed.held:
            return followed
        rows = source.changes(context, served.build, followed.position, upto, followed.held)
        following.messages += [self._events.of_row(row, followed.version) for row in rows]
        following.more |= upto < served.position
        return Followed(served.build, served.version, upto, True, held)

    def _publish(self, following: _Round) -> None:
        """Send a round and have it committed; the next one is read meanwhile."""
        self._settle()
        about = {"messaging.system": "kafka", "messaging.operation.type": "send", "event.position": following.log}
        traces = (message.traceparent for message in following.messages)
        with tracing.batch("relay publish", traces, about, SpanKind.PRODUCER):
            self._send(following)
        self._committing = _committing(self._publishing), following
        self._record, self._recorded_at = following.record, time.monotonic()

    def _send(self, following: _Round) -> None:
        self._maker.ensure({message.topic for message in following.messages})
        self._publishing.begin_transaction()
        for topic, key, value, headers, timestamp, _ in following.messages:
            self._publishing.send(topic, value=value, key=key, headers=headers, timestamp_ms=timestamp)
        self._publishing.send(self._topics.relay, value=encode(following.record), key=KEY)

    def _settle(self) -> None:
        """Wait until what was sent is committed. Raises KafkaError; then nobody knows, and the record will tell."""
        if self._committing is None:
            return
        (committed, round_), self._committing = self._committing, None
        began = time.monotonic()
        with operation("relay commit", position=round_.log):
            while not wait([committed], LOOK_S).done:
                waited = time.monotonic() - began
                if waited > (LAST_COMMIT_S if self._stopping.is_set() else COMMIT_S):
                    raise KafkaTimeoutError(f"no answer to a commit in {waited:.0f} s")
            committed.result()
        POSITION.set(round_.log)
        PUBLISHED.labels("fact").inc(round_.facts)
        PUBLISHED.labels("row").inc(len(round_.messages) - round_.facts)


@contextmanager
def _producer(settings: Settings, transactional_id: str) -> Iterator[KafkaProducer]:
    publishing = producer(settings, transactional_id)
    try:
        yield publishing
    finally:
        try:
            publishing.close(timeout=1.0)
        except KafkaError:
            # It is left open where it cannot flush, and would complain of that once more when it is collected.
            publishing._sender.force_close()
            publishing._closed = True


def _committing(publishing: KafkaProducer) -> Future[None]:
    """Commit in a thread: kafka-python would wait for a broker that is away for as long as it takes."""
    committed: Future[None] = Future()

    def commit() -> None:
        try:
            committed.set_result(publishing.commit_transaction())
        except Exception as error:
            committed.set_exception(error)

    threading.Thread(target=commit, name="fieldlog relay commits", daemon=True).start()
    return committed
