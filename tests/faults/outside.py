"""What consumers outside must find once all is well again: each takes the settings of a run, as `Scenario(also=...)` wants it.

With brokers: `Scenario(seed, seconds, also=[partial(facts_on_kafka_are_the_log, bootstrap), ...])`; the broker and the relay
join the targets in breaking.py and the processes in cluster.py.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import redis
from kafka import KafkaConsumer, TopicPartition

from infra.kafka.topics import FACTS_TOPICS, view_topic
from infra.settings import Settings
from projections.catalog import CONTEXTS
from tests.views.house import rows_of, served_schema

LONGEST_POLL_MS = 500
LOG = """select notification_id, originator_id::text, originator_version, topic, convert_from(state, 'UTF8')
           from fieldlog.log order by notification_id"""
ROWS = (
    "select tenant_id::text || '/' || key, data from {}.changes where view = %s and until is null and data is not null"
)


class Record(NamedTuple):
    """A record as a consumer gets it: its key, headers, and value (None for one that is no more)."""

    key: str
    headers: dict[str, str]
    value: Any


def committed(bootstrap: str, topics: Iterable[str]) -> Iterator[Record]:
    """Yield every committed record of these topics, each partition in its order, to where they end now."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    try:
        partitions = [TopicPartition(name, n) for name in topics for n in consumer.partitions_for_topic(name) or ()]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        while any(consumer.position(one) < ends[one] for one in partitions):
            for records in consumer.poll(timeout_ms=LONGEST_POLL_MS).values():
                for one in records:
                    headers = {name: value.decode() for name, value in one.headers}
                    value = None if one.value is None else json.loads(one.value)
                    yield Record(one.key.decode(), headers, value)
    finally:
        consumer.close()


def facts_on_kafka_are_the_log(bootstrap: str, settings: Settings) -> None:
    """Check that every position is there once, as the log has it, and that each record's facts are in order without a gap."""
    stored = {row[0]: row for row in rows_of(settings.need("projector_url"), LOG)}
    seen: set[int] = set()
    sequences: dict[str, list[int]] = defaultdict(list)
    for record in committed(bootstrap, set(FACTS_TOPICS.values())):
        position = int(record.headers["ce_position"])
        assert position not in seen, f"position {position} came twice"
        seen.add(position)
        _, originator, version, topic, state = stored[position]
        said = (record.key, record.headers["ce_sequence"], record.headers["ce_type"], record.headers["ce_id"])
        assert said == (originator, str(version), topic, f"{originator}.{version}"), position
        assert record.value == json.loads(state), position
        sequences[record.key].append(int(record.headers["ce_sequence"]))
    assert seen == stored.keys(), f"{len(stored.keys() - seen)} positions are missing"
    for key, numbers in sequences.items():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), f"{key} is out of order"


def rows_on_kafka_are_the_tables(bootstrap: str, settings: Settings) -> None:
    """Check that the latest value of each key of a view's topic is the row, and that what is no more has none."""
    for context in CONTEXTS.values():
        schema = served_schema(settings, context.name)
        for view in context.views:
            latest: dict[str, Any] = {}
            for record in committed(bootstrap, [view_topic(context, view)]):
                latest[record.key] = record.value
            found = {key: value for key, value in latest.items() if value is not None}
            assert found == dict(rows_of(settings.need("projector_url"), ROWS.format(schema), [view.name])), view.name


def nothing_in_redis_is_for_ever(url: str, _: Settings) -> None:
    """Check that whatever is in Redis goes away by itself: no truth is kept there."""
    with redis.Redis.from_url(url) as client:
        assert [key for key in client.scan_iter() if client.ttl(key) == -1] == []
