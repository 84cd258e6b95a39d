"""The AsyncAPI document: valid by the official schema, and true of topics, headers and the live stream."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest

from domain.roles import Role
from infra.contract.asyncapi import asyncapi, facts_of_topics
from infra.contract.schemas import schemas
from infra.kafka.topics import Topics
from infra.settings import Settings
from projections.catalog import CONTEXTS
from read_api.events import ALL, live
from read_api.live import LIVE
from read_api.stream import MOST_VIEWS
from tests.contract.validating import wrong_asyncapi, wrong_in
from tests.house import markdown
from tests.house.source import ROOT
from tests.views.house import House
from tests.views.watch import watching

BASE = "https://example.org/field/schemas/"
TOPICS = Topics()


def described(brokers: str | None = "one:9092, two:9092", **more: str) -> Any:
    """Return the document of an installation with these brokers."""
    known = {} if brokers is None else {"KAFKA_BOOTSTRAP_SERVERS": brokers}
    return asyncapi(Settings.from_environment({"FIELDLOG_SCHEMAS": BASE, **known, **more}), live())


DOCUMENT = described()
CHANNELS = DOCUMENT["channels"]


def references(value: Any) -> Iterator[str]:
    """Yield everything that a document refers to."""
    if isinstance(value, dict):
        yield from (one for name, one in value.items() if name == "$ref")
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from references(one)


@pytest.mark.parametrize("brokers", [None, "one:9092", "one:9092,two:9092"])
def test_the_document_is_valid_by_the_official_schema(brokers: str | None) -> None:
    assert wrong_asyncapi(described(brokers)) == []


def test_the_official_schema_finds_what_is_wrong() -> None:
    places: list[tuple[str, ...]] = [
        ("operations", "stream", "action"),
        ("channels", TOPICS.relay, "bindings", "kafka", "partitions"),
        ("channels", "fieldlog.facts.trips", "messages", "trips.started.v1", "bindings", "kafka", "bindingVersion"),
        ("components", "schemas", "FactHeaders", "required"),
        ("servers", "kafka", "host"),
        ("info", "title"),
    ]
    for *path, name in places:
        broken: Any = deepcopy(DOCUMENT)
        place = broken
        for step in path:
            place = place[step]
        place[name] = -1
        assert wrong_asyncapi(broken), f"{'/'.join(path)}/{name}"


def test_every_reference_leads_to_a_part_of_the_document_or_to_a_schema_that_is_served() -> None:
    served = {BASE + path for path in schemas(BASE)}
    for one in references(DOCUMENT):
        place: Any = DOCUMENT
        for step in one.removeprefix("#/").split("/") if one.startswith("#/") else ():
            place = place[step]
        assert one.startswith("#/") or one in served


def test_every_topic_and_the_live_stream_are_in_it() -> None:
    views = [TOPICS.view(view.name, context.version) for context in CONTEXTS.values() for view in context.views]
    addresses = [channel["address"] for channel in CHANNELS.values()]
    assert sorted(addresses) == sorted([*TOPICS.all_facts(), *views, TOPICS.relay, "/stream"])
    assert {one["channel"]["$ref"].rpartition("/")[2] for one in DOCUMENT["operations"].values()} == CHANNELS.keys()
    assert {one["action"] for one in DOCUMENT["operations"].values()} == {"send"}


def test_every_kind_of_fact_is_a_message_of_its_topic() -> None:
    for topic, names in facts_of_topics(TOPICS).items():
        assert list(CHANNELS[topic]["messages"]) == names
        for name, message in CHANNELS[topic]["messages"].items():
            assert message["payload"]["schema"]["$ref"] == f"{BASE}facts/{name}.json"


def test_topics_of_rows_are_compacted_and_those_of_facts_are_not() -> None:
    for name, channel in CHANNELS.items():
        if name != "stream":
            policy = "delete" if name.startswith("fieldlog.facts.") else "compact"
            assert channel["bindings"]["kafka"]["topicConfiguration"]["cleanup.policy"] == [policy]


def test_topics_are_described_as_the_settings_make_them() -> None:
    ours = described(FIELDLOG_TOPIC_PREFIX="ours", FIELDLOG_KAFKA_PARTITIONS="48")["channels"]
    assert {name.partition(".")[0] for name in ours} == {"ours", "stream"}
    partitions = {name: one["bindings"]["kafka"]["partitions"] for name, one in ours.items() if name != "stream"}
    assert partitions == {name: 1 if name == "ours.relay" else 48 for name in partitions}
    assert ours["ours.facts.trips"]["bindings"]["kafka"]["topicConfiguration"]["retention.ms"] == -1


def test_servers_are_the_brokers_and_where_the_schemas_are() -> None:
    servers = DOCUMENT["servers"]
    assert {name: one["host"] for name, one in servers.items()} == {
        "kafka": "one:9092",
        "kafka-2": "two:9092",
        "reading": "example.org",
    }
    assert (servers["reading"]["protocol"], servers["reading"]["pathname"]) == ("https", "/field/")


@pytest.mark.parametrize(
    ("security", "protocol"), [("SSL", "kafka-secure"), ("SASL_SSL", "kafka-secure"), ("SASL_PLAINTEXT", "kafka")]
)
def test_brokers_are_secure_if_the_relay_speaks_to_them_so(security: str, protocol: str) -> None:
    options = json.dumps({"security_protocol": security})
    assert described(FIELDLOG_KAFKA_OPTIONS=options)["servers"]["kafka"]["protocol"] == protocol
    assert DOCUMENT["servers"]["kafka"]["protocol"] == "kafka"


@pytest.mark.parametrize("brokers", [None, "", " , "])
def test_brokers_that_are_not_known_are_not_made_up(brokers: str | None) -> None:
    kafka = described(brokers)["servers"]["kafka"]
    assert kafka["host"] == "{brokers}"
    assert "KAFKA_BOOTSTRAP_SERVERS" in kafka["variables"]["brokers"]["description"]


def test_the_events_are_those_of_the_code_and_of_the_page_on_live_streams() -> None:
    described = {message["name"] for message in CHANNELS["stream"]["messages"].values()}
    page = (ROOT / "docs" / "live.md").read_text()
    tables = [markdown.tables(markdown.section(page, title))[0] for title in ("Events", "Locks and presence")]
    assert {row[0].strip("`") for table in tables for row in table} == described
    sources = "".join((ROOT / "read_api" / name).read_text() for name in ("stream.py", "watching.py"))
    literal = set(re.findall(r"event: (\w+)\\n", sources)) | set(re.findall(r'_event\("(\w+)"', sources))
    assert literal == described


def test_what_a_live_stream_sends_is_as_the_document_says(house: House) -> None:
    messages = CHANNELS["stream"]["messages"]
    reader = house.person(*frozenset[Role]().union(*(listing.readers for listing in LIVE.values())))
    for n in range(0, len(LIVE), MOST_VIEWS):
        views, seen = list(LIVE)[n : n + MOST_VIEWS], set()
        with watching(reader, view=views, after=0) as watch:
            payload = messages["ready"]["payload"]
            assert wrong_in(DOCUMENT, payload, watch.ready) == []
            for event in watch.events():
                view = event.data["view"]
                name = f"row.{view}" if event.kind == "row" else event.kind
                assert wrong_in(DOCUMENT, messages[name]["payload"], event.data) == [], json.dumps(event.data)
                seen.add(name)
                if seen >= {f"row.{view}" for view in views}:
                    break


def test_what_may_be_asked_of_a_live_stream_is_in_the_document() -> None:
    query = DOCUMENT["operations"]["stream"]["bindings"]["http"]["query"]
    filters = {f"{one.name}.{name}" for one in ALL.values() for name in one.filters}
    assert query["properties"].keys() == {"view", "after", "last_event_id", "ticket"} | filters
