"""What is on a real broker after a whole day is as AsyncAPI and the schemas describe it, topics and their configuration too."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary
from cloudevents.core.formats.json import JSONFormat
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource

from domain.roles import Role
from infra.contract.asyncapi import asyncapi, views_of_topics
from infra.contract.schemas import schemas
from infra.kafka.clients import admin
from infra.kafka.topics import Topics
from infra.settings import Settings
from read_api.events import live
from tests.contract.validating import closed, wrong, wrong_in
from tests.kafka.published import relaying, wait_until_published
from tests.views.haulage import Day
from tests.views.house import House
from tests.views.scrutineering import scrutineering


def records(settings: Settings, topic: str) -> list[Any]:
    """Return every committed record of a topic, as a consumer gets it."""
    consumer = KafkaConsumer(
        bootstrap_servers=settings.need("kafka_bootstrap_servers"),
        isolation_level="read_committed",
        enable_auto_commit=False,
    )
    with closing(consumer):
        partitions = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        consumer.seek_to_beginning()
        end, found = consumer.end_offsets(partitions), []
        while any(consumer.position(one) < end[one] for one in partitions):
            for some in consumer.poll(200).values():
                found += some
    return found


def test_everything_on_the_topics_is_as_it_is_described(house: House, settings: Settings) -> None:
    document, known = asyncapi(settings, live()), schemas(settings.schemas_url)
    seen = set()
    with relaying(settings):
        with scrutineering(house, house.person(Role.ADMIN)) as paddock:
            paddock.whole()
        Day(house.office()).whole()
        wait_until_published(settings)
        for channel in (one for one in document["channels"].values() if one["address"] != "/stream"):
            for record in records(settings, channel["address"]):
                value = None if record.value is None else json.loads(record.value)
                headers = {name: header.decode() for name, header in record.headers}
                if not headers:
                    assert wrong_in(document, channel["messages"]["record"]["payload"], value) == []
                    continue
                of_row = "row" if value is not None else "gone"
                name = headers["ce_type"] if headers["ce_type"] in channel["messages"] else of_row
                assert wrong_in(document, channel["messages"][name]["headers"], headers) == []
                event = from_binary(KafkaMessage(dict(record.headers), record.key, record.value), JSONFormat())
                assert event.get_data() == value
                if value is not None:
                    schema = known[headers["ce_dataschema"].removeprefix(settings.schemas_url)]
                    assert wrong(closed(schema), value) == []
                seen.add(channel["address"])
    assert seen == {name for name in document["channels"] if name != "stream" and not name.endswith(".relay")}


@pytest.mark.usefixtures("house")
def test_topics_are_made_as_they_are_described(settings: Settings) -> None:
    channels = {name: one for name, one in asyncapi(settings, live())["channels"].items() if name != "stream"}
    with relaying(settings):
        wait_until_published(settings)
    with closing(admin(settings)) as asking:
        for name, channel in channels.items():
            described = channel["bindings"]["kafka"]
            [topic] = asking.describe_topics([name])
            assert len(topic["partitions"]) == described["partitions"]
            [found] = asking.describe_configs([ConfigResource("TOPIC", name)]).values()
            made = {key: one["value"] for key, one in found[name].items()}
            for key, value in described["topicConfiguration"].items():
                assert made.get(key, "delete") == (",".join(value) if isinstance(value, list) else str(value))


@pytest.mark.usefixtures("house")
def test_what_a_row_was_before_it_was_forgotten_is_compacted_after_a_day(settings: Settings) -> None:
    with relaying(settings):
        wait_until_published(settings)
    topics = [ConfigResource("TOPIC", name) for name in views_of_topics(Topics(settings.topic_prefix))]
    with closing(admin(settings)) as asking:
        [found] = asking.describe_configs(topics).values()
    assert len(found) == len(topics)
    assert {one["max.compaction.lag.ms"]["value"] for one in found.values()} == {str(24 * 3600 * 1000)}
