"""`fieldlog tail`: what is published, for people: a line for each record, from now on or from a position."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from kafka import KafkaConsumer, TopicPartition

from infra.kafka.clients import assigned, consumer
from infra.kafka.topics import CONTEXT_OF, Topics
from infra.settings import Settings, SettingsError
from projections.catalog import CONTEXTS

POLL_MS = 500
SOON_MS = 50
LONGEST = 40


class Wanted(NamedTuple):
    """Which records: of a topic, of a view, of a stream, or all facts; from a position, or from now on."""

    topic: str | None = None
    view: str | None = None
    stream: str | None = None
    position: int | None = None


class Shown(NamedTuple):
    """A record as it is shown."""

    topic: str
    key: str
    attributes: dict[str, str]
    data: Any

    def as_line(self) -> str:
        """Return position, type, subject and data in one line."""
        attributes = self.attributes
        data = "(gone)" if self.data is None else json.dumps(_shortened(self.data), ensure_ascii=False)
        what = [
            attributes.get("position", "-"),
            attributes.get("type", self.topic),
            attributes.get("subject", self.key),
        ]
        return "  ".join([*what, data])

    def as_json(self) -> str:
        """Return everything as one line of JSON."""
        return json.dumps(self._asdict(), ensure_ascii=False)


def _shortened(data: Any) -> Any:
    """Return data for people: what is encrypted is as long as it is unreadable."""
    if isinstance(data, str) and len(data) > LONGEST:
        return f"{data[:LONGEST]}..."
    return {name: _shortened(one) for name, one in data.items()} if isinstance(data, dict) else data


def follow(settings: Settings, wanted: Wanted) -> Iterator[Shown]:
    """Yield records as they come, for ever. Raises SettingsError if there is no such topic."""
    reading = consumer(settings)
    try:
        topics = _topics(settings, wanted)
        partitions = assigned(reading, topics)
        if not partitions:
            raise SettingsError(f"there is no topic {', '.join(topics)} yet; `fieldlog relay` makes them")
        _begin(reading, partitions, wanted.position)
        while True:
            polled = reading.poll(POLL_MS)
            for message in sorted((one for messages in polled.values() for one in messages), key=_position):
                if _position(message) < (wanted.position or 0):
                    continue
                if wanted.stream is None or _attributes(message).get("subject", "").startswith(f"{wanted.stream}/"):
                    yield _shown(message)
    finally:
        reading.close()


def _topics(settings: Settings, wanted: Wanted) -> list[str]:
    names = Topics(settings.topic_prefix)
    if sum(one is not None for one in (wanted.topic, wanted.view, wanted.stream)) > 1:
        raise SettingsError("only one of --topic, --view and --stream can be read")
    if wanted.topic is not None:
        return [wanted.topic]
    if wanted.view is not None:
        found = [
            names.view(view.name, one.version)
            for one in CONTEXTS.values()
            for view in one.views
            if view.name == wanted.view
        ]
        if not found:
            known = ", ".join(sorted(view.name for one in CONTEXTS.values() for view in one.views))
            raise SettingsError(f"there is no view {wanted.view}; there are: {known}")
        return found
    if wanted.stream is None:
        return names.all_facts()
    if wanted.stream not in CONTEXT_OF:
        raise SettingsError(f"there is no stream {wanted.stream}; there are: {', '.join(CONTEXT_OF)}")
    return [names.facts(CONTEXT_OF[wanted.stream])]


def _begin(reading: KafkaConsumer, partitions: list[TopicPartition], position: int | None) -> None:
    """Go to the end, or in each partition to the first record from a position on: positions rise with offsets."""
    if position is None:
        reading.seek_to_end(*partitions)
        for partition in partitions:
            reading.position(partition)  # now, not at the first poll: what comes meanwhile counts
        return
    begin, end = reading.beginning_offsets(partitions), reading.end_offsets(partitions)
    for partition in partitions:
        low, high = begin[partition], end[partition]
        while low < high:
            middle = (low + high) // 2
            found = _first_from(reading, partition, middle, high)
            low, high = (low, middle) if found is None or _position(found) >= position else (found.offset + 1, high)
        reading.seek(partition, low)


def _first_from(reading: KafkaConsumer, partition: TopicPartition, offset: int, end: int) -> Any:
    """Return the first record at an offset or after it, before another; None if there are only marks of transactions."""
    others = [one for one in reading.assignment() if one != partition]
    reading.pause(*others)
    reading.seek(partition, offset)
    try:
        while reading.position(partition) < end:
            for message in reading.poll(SOON_MS, max_records=1).get(partition, []):
                return message if message.offset < end else None
        return None
    finally:
        reading.resume(*others)


def _attributes(message: Any) -> dict[str, str]:
    return {name.removeprefix("ce_"): value.decode() for name, value in message.headers}


def _position(message: Any) -> int:
    return int(_attributes(message).get("position", 0))


def _shown(message: Any) -> Shown:
    data = None if message.value is None else json.loads(message.value)
    return Shown(message.topic, message.key.decode(), _attributes(message), data)
