"""The relay's public record of how far it has published, written in the same transaction as what it published."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.errors import KafkaTimeoutError

from infra.kafka.clients import assigned, consumer
from infra.kafka.topics import Topics
from infra.settings import Settings

KEY = b"relay"
PATIENCE = 50
POLL_MS = 200
NEAR = 64


class RelayError(Exception):
    """The topics and the log do not belong together; somebody has to look at it."""


class Followed(msgspec.Struct, frozen=True):
    """How far the rows of a context are published: which build, of which version, until which position.

    `held` are tenants whose facts are parked, and until where theirs are. Until it is `complete`, not every row of the build
    has been published once.
    """

    build: int
    version: int
    position: int
    complete: bool
    held: dict[UUID, int] = msgspec.field(default_factory=dict)


class Record(msgspec.Struct, frozen=True):
    """Every fact until position `log` is published, and the rows of each context as `views` says."""

    log: int = 0
    views: dict[str, Followed] = msgspec.field(default_factory=dict)


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Record).decode


def read_record(settings: Settings) -> Record | None:
    """Return what the relay recorded last; None if it never did, or its topic is not there.

    Raises KafkaError, and RelayError if the topic is not as a relay makes it.
    """
    reading = consumer(settings)
    try:
        partitions = assigned(reading, [Topics(settings.topic_prefix).relay])
        if not partitions:
            return None
        [partition, *more] = partitions
        if more:
            raise RelayError(f"{partition.topic} must have one partition, but has {len(partitions)}: make it anew")
        begin, end = reading.beginning_offsets(partitions)[partition], reading.end_offsets(partitions)[partition]
        back = NEAR
        while True:  # the end of the topic may hold the marks of transactions only
            start = max(begin, end - back)
            found = _last(reading, partition, start, end)
            if found is not None or start == begin:
                return found
            back *= 8
    finally:
        reading.close()


def _last(reading: KafkaConsumer, partition: TopicPartition, start: int, end: int) -> Record | None:
    found = None
    reading.seek(partition, start)
    for _ in range(PATIENCE):
        if reading.position(partition) >= end:
            return found
        for message in reading.poll(POLL_MS).get(partition, []):
            found = _read(message)
    raise KafkaTimeoutError(f"{partition.topic} could not be read to its end")


def _read(message: Any) -> Record:
    try:
        return _decode(message.value or b"")
    except msgspec.DecodeError as error:
        raise RelayError(
            f"{message.topic} holds at offset {message.offset} what no relay of this version wrote: {error}; "
            "write the record before it there again"
        ) from None


def holding(settings: Settings, topics: Iterable[str]) -> list[str]:
    """Return those of these topics that hold records."""
    reading = consumer(settings)
    try:
        partitions = assigned(reading, topics)
        begin, end = reading.beginning_offsets(partitions), reading.end_offsets(partitions)
        return sorted({one.topic for one in partitions if end[one] > begin[one]})
    finally:
        reading.close()


def live_keys(settings: Settings, topics: Iterable[str]) -> dict[str, set[bytes]]:
    """Return the keys of each of these topics whose last record has a value: what a reader of the topic has now."""
    reading = consumer(settings)
    keys: dict[str, set[bytes]] = {topic: set() for topic in topics}
    try:
        partitions = assigned(reading, keys)
        if not partitions:
            return keys
        end = reading.end_offsets(partitions)
        reading.seek_to_beginning(*partitions)
        idle = 0
        while any(reading.position(one) < end[one] for one in partitions):
            polled = reading.poll(POLL_MS)
            idle = 0 if polled else idle + 1
            if idle > PATIENCE:
                raise KafkaTimeoutError("the topics of views could not be read to their end")
            for partition, messages in polled.items():
                for message in messages:
                    (keys[partition.topic].discard if message.value is None else keys[partition.topic].add)(message.key)
        return keys
    finally:
        reading.close()
