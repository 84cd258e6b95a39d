"""The format of events, for the facts and rows of a whole day: the CloudEvents SDK reads it, AsyncAPI and schemas describe it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_binary, to_binary
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from infra.contract.asyncapi import asyncapi
from infra.contract.schemas import schemas
from infra.kafka.events import ChangedRow, Events
from infra.settings import Settings
from infra.views.reading import StoredFact
from projections.catalog import CONTEXTS
from read_api.events import live
from tests.contract.validating import closed, wrong, wrong_in
from tests.views.house import House, rows_of, served_schema, wait_until_folded

LOG = """select notification_id, tenant_id, stream, id, originator_id, originator_version, topic, state, occurred_at,
    recorded_at, envelope from fieldlog.log order by notification_id"""
CHANGES = "select tenant_id, view, position, key, data::text from {}.changes order by position"


@pytest.fixture(scope="module")
def settings(house: House) -> Settings:
    """Settings of an installation that others know by another address."""
    return house.settings.model_copy(update={"schemas": "https://example.org/schemas/"})


@pytest.fixture(scope="module")
def facts(settings: Settings) -> Sequence[Any]:
    """Every fact of the day as a message."""
    log = rows_of(settings.need("projector_url"), LOG)
    return [Events(settings).of_fact(StoredFact(*fact)) for fact in log]


@pytest.fixture(scope="module")
def rows(settings: Settings) -> Sequence[Any]:
    """Every change of a row as a message."""
    wait_until_folded(settings)
    return [
        Events(settings).of_row(ChangedRow(*change), context.version)
        for context in CONTEXTS.values()
        for change in rows_of(settings.need("projector_url"), CHANGES.format(served_schema(settings, context.name)))
    ]


def event(message: Any) -> CloudEvent:
    """Read a message with the SDK, which checks that attributes are named and filled as they must be."""
    found = from_binary(KafkaMessage(dict(message.headers), message.key, message.value), JSONFormat())
    assert isinstance(found, CloudEvent)
    return found


def wrong_headers(document: Any, message: Any, name: str) -> list[str]:
    described = document["channels"][message.topic]["messages"][name]["headers"]
    return wrong_in(document, described, {name: value.decode() for name, value in message.headers})


def test_the_sdk_reads_every_fact_and_would_write_it_as_we_do(facts: Sequence[Any]) -> None:
    for message in facts:
        found = event(message)
        again = to_binary(found, JSONFormat())
        assert again.headers == dict(message.headers)
        assert str(again.key).encode() == message.key
        assert found.get_data() == json.loads(message.value)


def test_the_sdk_reads_every_row_and_adds_nothing_but_the_time_at_which_it_was_read(rows: Sequence[Any]) -> None:
    for message in (one for one in rows if one.value is not None):
        found = event(message)
        again = to_binary(found, JSONFormat())
        assert {name: value for name, value in again.headers.items() if name != "ce_time"} == dict(message.headers)
        assert str(again.key).encode() == message.key
        assert found.get_data() == json.loads(message.value)


def test_every_event_is_known_by_source_and_id(facts: Sequence[Any], rows: Sequence[Any]) -> None:
    ids = [(event(one).get_source(), event(one).get_id()) for one in (*facts, *(row for row in rows if row.value))]
    assert len(set(ids)) == len(ids) > 100


def test_headers_and_values_are_as_they_are_described(
    facts: Sequence[Any], rows: Sequence[Any], settings: Settings
) -> None:
    document, known = asyncapi(settings, live()), schemas(settings.schemas_url)
    for message in (*facts, *rows):
        headers = {name: value.decode() for name, value in message.headers}
        of_row = headers["ce_type"].startswith("fieldlog.views.")
        name = headers["ce_type"] if not of_row else "row" if message.value is not None else "gone"
        assert wrong_headers(document, message, name) == []
        if message.value is not None:
            schema = known[headers["ce_dataschema"].removeprefix(settings.schemas_url)]
            assert wrong(closed(schema), json.loads(message.value)) == []


def test_headers_that_are_missing_or_of_another_form_are_not_as_they_are_described(
    facts: Sequence[Any], settings: Settings
) -> None:
    document, message = asyncapi(settings, live()), facts[0]
    name = dict(message.headers)["ce_type"].decode()
    for left_out, _ in message.headers:
        others = [(one, value) for one, value in message.headers if one != left_out]
        optional = left_out in ("ce_correlationid", "ce_causationid", "ce_traceparent")
        assert bool(wrong_headers(document, message._replace(headers=others), name)) is not optional
    for one, value in {
        "ce_sequence": b"0",
        "ce_time": b"today",
        "ce_source": b"elsewhere",
        "ce_type": b"other",
    }.items():
        changed = [(header, value if header == one else known) for header, known in message.headers]
        assert wrong_headers(document, message._replace(headers=changed), name)


def test_rows_that_are_gone_are_tombstones_with_the_headers_of_a_row(rows: Sequence[Any]) -> None:
    gone = [one for one in rows if one.value is None]
    assert gone
    assert {event(one).get_data() for one in gone} == {None}
    assert {name for one in gone for name, _ in one.headers} == {name for name, _ in rows[0].headers}
