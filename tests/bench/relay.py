"""Facts per second of the relay, against a plain kafka-python producer of the same bytes to the same topic.

The log is filled once. The relay then publishes all of it to fresh topics, transaction by transaction with its record, reading
and writing the events itself. The limit sends the very same records, prepared beforehand, idempotent, without transactions,
and waits for the acknowledgement of all of them. Both are measured from their first thousands of records on, so neither pays
for its start. One broker, one partition count, one machine.
"""

from __future__ import annotations

import threading
import time
from itertools import count

import uvloop
from kafka import KafkaProducer

from infra.database import connect
from infra.kafka import relay as relaying
from infra.kafka.clients import admin
from infra.kafka.events import Events, Message
from infra.kafka.record import read_record
from infra.kafka.source import Source
from infra.kafka.topics import TopicMaker, Topics
from infra.settings import Settings
from tests.bench.measure import Figure, measure, server
from tests.bench.processes import broker, house
from tests.bench.project import fill

LOOK_S, PATIENCE_S = 0.001, 120.0
PLAIN = "plain producer of the same bytes"
_prefixes = (f"bench-{number}" for number in count())


def main(*, rounds: int, as_json: bool) -> None:
    """Print the table."""
    with server() as postgres, broker() as bootstrap, house(postgres, kafka=bootstrap) as (_, settings):
        uvloop.run(fill(settings))
        with connect(settings.need("relay_url"), "bench relay") as connection, Source(connection) as source:
            facts = source.facts(0, source.head())
        events = Events(settings)
        messages = [events.of_fact(fact) for fact in facts]
        figures = [
            Figure(PLAIN, "records/s", lambda: plain(_fresh(settings), messages)),
            Figure("relay", "facts/s", lambda: relay(_fresh(settings), len(facts)), PLAIN, "0.8 x"),
        ]
        measure(figures, rounds, as_json=as_json, title=f"{len(facts):,} facts to Kafka")


def _fresh(settings: Settings) -> Settings:
    return settings.model_copy(update={"topic_prefix": next(_prefixes)})


def plain(settings: Settings, messages: list[Message]) -> float:
    """Return how many records a second a producer sends that does nothing else."""
    topics = Topics(settings.topic_prefix)
    TopicMaker(admin(settings), topics, settings).ensure(topics.all_facts())
    names = {message.topic: topics.facts(message.topic.rpartition(".")[2]) for message in messages}
    producer = KafkaProducer(
        bootstrap_servers=settings.need("kafka_bootstrap_servers"),
        acks="all",
        batch_size=256 * 1024,
        metrics_enabled=False,
    )
    first = relaying.LARGEST_BATCH
    began = 0.0
    for number, (topic, key, value, headers, timestamp, _) in enumerate(messages):
        if number == first:
            producer.flush()
            began = time.perf_counter()
        producer.send(names[topic], value=value, key=key, headers=headers, timestamp_ms=timestamp)
    producer.flush()
    took = time.perf_counter() - began
    producer.close()
    return (len(messages) - first) / took


def relay(settings: Settings, facts: int) -> float:
    """Return how many facts a second the relay publishes."""
    running = relaying.Relay(settings)
    thread = threading.Thread(target=running.run)
    relaying.POSITION.set(0)
    thread.start()
    first = _passed(1)
    position = relaying.POSITION.collect()[0].samples[0].value
    took = _passed(facts) - first
    running.stop()
    with connect(settings.need("writer_url"), "bench wake") as connection:
        while thread.is_alive():
            connection.execute("select pg_notify('fieldlog_log', '')")
            thread.join(0.1)
    record = read_record(settings)
    assert record is not None
    assert record.log == facts
    return (facts - position) / took


def _passed(position: int) -> float:
    """Return when the relay has come to a position."""
    ends = time.perf_counter() + PATIENCE_S
    while relaying.POSITION.collect()[0].samples[0].value < position:
        if time.perf_counter() > ends:
            raise TimeoutError(f"position {position} was not published")
        time.sleep(LOOK_S)
    return time.perf_counter()
