"""What a consumer of the topics has: read with a plain kafka-python consumer, as an analyst would."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition

from infra.kafka.record import Record, read_record
from infra.kafka.relay import Relay
from infra.kafka.topics import Topics
from infra.settings import Settings
from infra.views.tables import Table, key_text, schema_of
from projections.catalog import CONTEXTS
from tests.views.house import head, rows_of, wake

PATIENCE_S = 40.0
LOOK_S = 0.2


class Read(NamedTuple):
    """A record as a consumer gets it; attributes without their `ce_`."""

    topic: str
    key: str
    value: Any
    attributes: dict[str, str]


@contextmanager
def relaying(settings: Settings) -> Iterator[Relay]:
    """Run a relay in a thread."""
    relay = Relay(settings)
    thread = threading.Thread(target=relay.run, name="relay")
    thread.start()
    try:
        yield relay
    finally:
        relay.stop()
        while thread.is_alive():
            wake(settings)
            thread.join(LOOK_S)


def wait_until_published(settings: Settings) -> Record:
    """Wait until all facts, and all rows of the served views, are published."""
    ends = time.monotonic() + PATIENCE_S
    wanted = head(settings)
    while time.monotonic() < ends:
        record = read_record(settings)
        if record is not None and record.log >= wanted and _views_done(settings, record, wanted):
            return record
    raise TimeoutError(f"position {wanted} was not published in {PATIENCE_S:.0f} s, but {record}")


def _views_done(settings: Settings, record: Record, wanted: int) -> bool:
    served = rows_of(settings.need("projector_url"), "select context, build from fieldlog.views")
    followed = record.views
    return all(
        context in followed
        and (followed[context].build, followed[context].complete) == (build, True)
        and followed[context].position >= wanted
        for context, build in served
    )


def read(settings: Settings, topics: Iterable[str]) -> list[Read]:
    """Return every committed record of these topics, in the order of each partition."""
    consumer = KafkaConsumer(
        bootstrap_servers=settings.need("kafka_bootstrap_servers"),
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
    )
    there = consumer.topics()
    partitions = [TopicPartition(t, n) for t in topics if t in there for n in consumer.partitions_for_topic(t)]
    consumer.assign(partitions)
    end, found = consumer.end_offsets(partitions), []
    while any(consumer.position(one) < end[one] for one in partitions):
        for messages in consumer.poll(LOOK_S * 1000).values():
            found += [_read(message) for message in messages]
    consumer.close()
    return found


def _read(message: Any) -> Read:
    attributes = {name.removeprefix("ce_"): value.decode() for name, value in message.headers}
    value = None if message.value is None else json.loads(message.value)
    return Read(message.topic, message.key.decode(), value, attributes)


def facts(settings: Settings) -> list[Read]:
    """Return every published fact."""
    return read(settings, Topics(settings.topic_prefix).all_facts())


def rows(settings: Settings, *views: tuple[str, int]) -> dict[str, dict[str, Any]]:
    """Return the rows of views as a consumer of their topics has them: the last of each key."""
    names = {Topics(settings.topic_prefix).view(view, version): view for view, version in views}
    latest: dict[str, dict[str, Any]] = {view: {} for view, _ in views}
    for one in read(settings, names):
        latest[names[one.topic]][one.key] = one.value
    return {view: {key: row for key, row in found.items() if row is not None} for view, found in latest.items()}


def table(settings: Settings, context: str, view: str) -> dict[str, Any]:
    """Return the rows of a view as its table has them, by the keys of their records."""
    [of_view] = [one for one in CONTEXTS[context].views if one.name == view]
    [(build,)] = rows_of(
        settings.need("projector_url"), "select build from fieldlog.views where context = %s", [context]
    )
    kept = Table(of_view)
    found = {}
    for tenant, stored in rows_of(
        settings.need("projector_url"),
        f"select tenant_id, (to_jsonb(t) - 'tenant_id' - 'position')::text from {schema_of(context, build)}.{view} t",
    ):
        row = kept.read(stored)
        found[f"{tenant}/{key_text(tuple(getattr(row, name) for name in of_view.key))}"] = row
    return found


def assert_every_fact_once_and_in_order(settings: Settings) -> None:
    """Every position of the log is published exactly once, and each key's sequence is 1, 2, 3 ..."""
    published = facts(settings)
    assert sorted(int(one.attributes["position"]) for one in published) == list(range(1, head(settings) + 1))
    by_key: dict[str, list[int]] = defaultdict(list)
    for one in published:
        by_key[one.key].append(int(one.attributes["sequence"]))
    assert all(sequence == list(range(1, len(sequence) + 1)) for sequence in by_key.values())


def assert_topics_equal_tables(settings: Settings) -> None:
    """What a consumer of each view's topic has is what its table holds."""
    published = rows(
        settings, *((view.name, context.version) for context in CONTEXTS.values() for view in context.views)
    )
    for context in CONTEXTS.values():
        for view in context.views:
            kept = Table(view)
            consumed = {key: kept.read(json.dumps(row)) for key, row in published[view.name].items()}
            assert consumed == table(settings, context.name, view.name), f"the topic of {view.name} differs"
