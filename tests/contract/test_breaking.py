"""What was released is kept, or the changelog says who is broken; and the comparison finds every kind of break."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest

from tests.contract.breaking import Break, breaks
from tests.house import golden, markdown
from tests.house.source import ROOT

UNRELEASED = " ".join(markdown.section((ROOT / "CHANGELOG.md").read_text(), "[Unreleased]").split())
BROKEN = """this breaks consumers of the last release. Facts must not; anything else, if it is meant, is said in CHANGELOG.md under
Unreleased, in these very words"""
Document = dict[str, Any]


def test_nothing_breaks_that_was_released_but_what_the_changelog_says() -> None:
    found = breaks(golden.documents_in(golden.RELEASED), golden.documents_in(golden.FOLDER))
    assert [one.sentence for one in found if one.final or one.sentence not in UNRELEASED] == [], BROKEN


def test_the_released_contract_has_every_kind_of_document() -> None:
    released = golden.documents_in(golden.RELEASED)
    assert {"asyncapi.json", "openapi-read.json", "openapi-write.json"} <= released.keys()
    assert {name.split("/")[1] for name in released if name.startswith("schemas/")} == {"facts", "views"}
    assert "describe.json" not in released


def test_what_is_new_breaks_nobody() -> None:
    now = golden.documents_in(golden.FOLDER)
    old = deepcopy(now)
    for name in [one for one in old if "sites" in one]:
        del old[name]
    for paths in (old["openapi-read.json"]["paths"], old["openapi-write.json"]["paths"]):
        for path in [one for one in paths if "sites" in one]:
            del paths[path]
    for name in [one for one in old["asyncapi.json"]["channels"] if "sites" in one]:
        del old["asyncapi.json"]["channels"][name]
    old["schemas/facts/trips.started.v1.json"]["properties"].pop("odometer_km")
    old["openapi-write.json"]["components"]["schemas"]["StartTrip"]["properties"].pop("odometer_km")
    assert len(old) < len(now)
    assert breaks(old, now) == []


# One rule each: what is relied on, what became of it, and what is said.

STATUS = {"type": "string", "enum": ["open", "closed"]}
FACT: Document = {
    "$id": "http://here/facts/trips.started.v1.json",
    "title": "trips.started.v1",
    "type": "object",
    "properties": {
        "odometer_km": {"type": ["integer", "null"], "default": None},
        "status": STATUS,
        "on": {"type": "string", "format": "date"},
        "stops": {"type": "array", "items": {"$ref": "#/$defs/Stop"}, "default": []},
        "next": {"anyOf": [{"$ref": "#/$defs/Stop"}, {"type": "null"}], "default": None},
    },
    "required": ["status", "on"],
    "$defs": {
        "Stop": {
            "type": "object",
            "properties": {
                "seconds": {"type": "integer"},
                "then": {"anyOf": [{"$ref": "#/$defs/Stop"}, {"type": "null"}]},
            },
            "required": ["seconds"],
        }
    },
}
FACTS = "consumers of fieldlog.facts.trips"
ROW: Document = {
    "$id": "http://here/views/trips.v2.json",
    "title": "trips.v2",
    "type": "object",
    "properties": {"id": {"type": "string"}, "status": STATUS},
    "required": ["id", "status"],
    "x-key": ["id"],
}
ROWS = "consumers of fieldlog.views.trips.v2"


def kafka(address: str, cleanup: str, **messages: str) -> Document:
    """A topic with messages whose schemas are at these URLs."""
    return {
        "address": address,
        "messages": {
            name.replace("_", "."): {
                "headers": {
                    "allOf": [{"$ref": "#/components/schemas/Headers"}, {"properties": {"ce_type": {"const": name}}}]
                },
                "payload": {"schemaFormat": "JSON Schema", "schema": {"$ref": url}},
            }
            for name, url in messages.items()
        },
        "bindings": {"kafka": {"topicConfiguration": {"cleanup.policy": [cleanup]}}},
    }


STREAMS: Document = {
    "channels": {
        "fieldlog.facts.trips": kafka("fieldlog.facts.trips", "delete", trips_started_v1=FACT["$id"]),
        "fieldlog.views.trips.v2": kafka("fieldlog.views.trips.v2", "compact", row=ROW["$id"], gone=ROW["$id"]),
        "fieldlog.relay": kafka("fieldlog.relay", "compact"),
        "stream": {
            "address": "/stream",
            "messages": {
                "row.trips": {
                    "payload": {"type": "object", "properties": {"row": {"$ref": "#/components/schemas/Trip"}}}
                },
                "leave": {"payload": {"type": "object", "properties": {"key": {"type": "string"}}}},
            },
        },
    },
    "operations": {
        "stream": {
            "bindings": {
                "http": {"query": {"properties": {"view": {"type": "array", "items": {"enum": ["trips", "sites"]}}}}}
            }
        }
    },
    "components": {
        "schemas": {
            "Headers": {
                "type": "object",
                "properties": {"ce_sequence": {"type": "string"}, "ce_specversion": {"const": "1.0"}},
                "required": ["ce_sequence"],
            },
            "Trip": {"type": "object", "properties": {"id": {"type": "string"}}, "required": ["id"]},
        }
    },
}
API: Document = {
    "paths": {
        "/trips": {
            "get": {
                "parameters": [
                    {"name": "driver", "in": "query", "schema": {"type": "string"}},
                    {"name": "limit", "in": "query", "schema": {"type": "integer", "maximum": 200, "default": 50}},
                    {"name": "status", "in": "query", "schema": {"anyOf": [STATUS, {"type": "null"}]}},
                    {"name": "If-None-Match", "in": "header", "schema": {"type": "string"}},
                ],
                "responses": {
                    "200": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Page"}}}},
                    "404": {},
                },
            }
        },
        "/trips/{id}/start": {
            "post": {
                "x-roles": ["dispatcher", "driver"],
                "x-refusals": ["TripNotScheduled", "TruckOnTheRoad"],
                "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Start"}}}},
                "responses": {"200": {}},
            }
        },
    },
    "components": {
        "schemas": {
            "Page": {
                "type": "object",
                "properties": {"items": {"type": "array", "items": {"$ref": "#/components/schemas/Trip"}}},
            },
            "Trip": {
                "type": "object",
                "properties": {"km": {"type": "number"}, "note": {"type": "string"}},
                "required": ["km"],
            },
            "Start": {
                "type": "object",
                "additionalProperties": False,
                "properties": {
                    "odometer_km": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 999}, {"type": "null"}]},
                    "mode": {"type": "string", "enum": ["far", "near"]},
                    "note": {"type": "string"},
                },
            },
        }
    },
}
KINDS = {
    "schemas/facts/trips.started.v1.json": FACT,
    "schemas/views/trips.v2.json": ROW,
    "asyncapi.json": STREAMS,
    "openapi-read.json": API,
}
OLD: dict[str, Document] = json.loads(json.dumps(KINDS))  # so that no two of its places are one
F, R, S, A = OLD
CHANNELS, QUERY = (S, "channels"), (S, "operations", "stream", "bindings", "http", "query", "properties", "view")
HEADERS = (S, "components", "schemas", "Headers")
TRIPS, START = (A, "paths", "/trips", "get"), (A, "paths", "/trips/{id}/start", "post")
SCHEMAS = (A, "components", "schemas")
GONE = object()

INSTEAD = "; add a new version of the fact instead."
RAISE = "; raise the version of its context instead."
RULES: list[tuple[tuple[Any, ...], Any, str]] = [
    # facts
    ((F,), GONE, f"trips.started.v1 is gone: {FACTS} meet facts of this name for ever, so it has to stay."),
    (
        (F, "properties", "odometer_km"),
        GONE,
        f"trips.started.v1 lost its field odometer_km: {FACTS} that read it break{INSTEAD}",
    ),
    (
        (F, "$defs", "Stop", "properties", "seconds", "type"),
        "string",
        f"trips.started.v1 has text for its field stops[].seconds now, where it had integer: {FACTS} that read it break{INSTEAD}",
    ),
    (
        (F, "properties", "on", "type"),
        ["string", "null"],
        f"trips.started.v1 may have null for its field on now: {FACTS} that do not expect it break{INSTEAD}",
    ),
    (
        (F, "properties", "on", "format"),
        "date-time",
        f"trips.started.v1 has its field on in another form (date-time, before: date): {FACTS} that read it break{INSTEAD}",
    ),
    (
        (F, "properties", "status", "enum"),
        ["open", "closed", "parked"],
        f"trips.started.v1 has new values for its field status: parked: {FACTS} that know the former values only do not know "
        f"them{INSTEAD}",
    ),
    (
        (F, "properties", "status", "enum"),
        GONE,
        f"trips.started.v1 may have any value for its field status now: {FACTS} that know the former values only are lost"
        f"{INSTEAD}",
    ),
    (
        (F, "required"),
        ["on"],
        f"trips.started.v1 may leave out its field status now: {FACTS} that count on it break{INSTEAD}",
    ),
    (
        (F, "properties", "odometer_km", "default"),
        0,
        f"trips.started.v1 has another default for its field odometer_km, 0 instead of None: {FACTS} that rely on the former one "
        f"are misled{INSTEAD}",
    ),
    # rows
    (
        (R, "properties", "status"),
        GONE,
        f"trips.v2 lost its field status: {ROWS} that read it break{RAISE}",
    ),
    ((R, "x-key"), ["id", "day"], f"trips.v2 has another key: {ROWS} find a row under its former key for ever{RAISE}"),
    # topics and the live stream
    ((*CHANNELS, "fieldlog.facts.trips"), GONE, "fieldlog.facts.trips is gone: whoever follows it gets nothing more."),
    ((*CHANNELS, "fieldlog.relay"), GONE, "fieldlog.relay is gone: whoever follows it gets nothing more."),
    (
        (*CHANNELS, "fieldlog.views.trips.v2"),
        GONE,
        "fieldlog.views.trips.v2 is gone: its consumers have nothing to move to.",
    ),
    (
        (*CHANNELS, "fieldlog.facts.trips", "messages", "trips.started.v1"),
        GONE,
        "fieldlog.facts.trips no longer carries trips.started.v1: consumers that wait for it wait in vain.",
    ),
    (
        (*CHANNELS, "fieldlog.facts.trips", "bindings", "kafka", "topicConfiguration", "cleanup.policy"),
        ["compact"],
        "fieldlog.facts.trips is cleaned up by ['compact'] and not by ['delete']: consumers that count on what it keeps break.",
    ),
    (
        (*HEADERS, "required"),
        [],
        "fieldlog.facts.trips may leave out its header ce_sequence now: consumers that count on it break.",
    ),
    (
        (*HEADERS, "properties", "ce_sequence"),
        GONE,
        "fieldlog.facts.trips lost its header ce_sequence: consumers that read it break.",
    ),
    (
        (*CHANNELS, "stream", "messages", "leave"),
        GONE,
        "/stream no longer carries leave: consumers that wait for it wait in vain.",
    ),
    (
        (S, "components", "schemas", "Trip", "properties", "id"),
        GONE,
        "row.trips of /stream lost its field row.id: consumers that read it break.",
    ),
    (
        (*QUERY, "items", "enum"),
        ["trips"],
        "/stream no longer accepts sites for its query parameter view[]: clients that send it are refused.",
    ),
    # what may be asked
    ((A, "paths", "/trips"), GONE, "GET /trips is gone: clients that call it are answered 404 or 405."),
    ((*TRIPS, "parameters", 0), GONE, "GET /trips lost its query parameter driver: clients that send it break."),
    (
        (*TRIPS, "parameters", 0, "required"),
        True,
        "GET /trips now requires the query parameter driver: clients that do not send it are refused.",
    ),
    (
        (*TRIPS, "parameters", 1, "schema", "maximum"),
        100,
        "GET /trips has another maximum for its query parameter limit, 100 instead of 200: clients that send what was allowed "
        "before are refused.",
    ),
    (
        (*TRIPS, "parameters", 1, "schema", "default"),
        20,
        "GET /trips has another default for its query parameter limit, 20 instead of 50: clients that rely on the former one are "
        "misled.",
    ),
    (
        (*TRIPS, "parameters", 2, "schema", "anyOf", 0),
        {"type": "string", "enum": ["open"]},
        "GET /trips no longer accepts closed for its query parameter status: clients that send it are refused.",
    ),
    ((*TRIPS, "parameters", 3), GONE, "GET /trips lost its header If-None-Match: clients that send it break."),
    # what is answered
    (
        (*SCHEMAS, "Trip", "properties", "km"),
        GONE,
        "GET /trips (200) lost its field items[].km: clients that read it break.",
    ),
    (
        (*SCHEMAS, "Trip", "properties", "note", "type"),
        ["string", "null"],
        "GET /trips (200) may have null for its field items[].note now: clients that do not expect it break.",
    ),
    (
        (*TRIPS, "responses", "404"),
        GONE,
        "GET /trips is never answered 404 any more: clients that look for it look in vain.",
    ),
    (
        (*TRIPS, "responses", "200", "content"),
        {"text/csv": {}},
        "GET /trips is no longer answered 200 as application/json: clients that read it break.",
    ),
    # what is sent
    (
        (*SCHEMAS, "Start", "required"),
        ["note"],
        "POST /trips/{id}/start now requires the field note: clients that do not send it are refused.",
    ),
    (
        (*SCHEMAS, "Start", "properties", "note"),
        GONE,
        "POST /trips/{id}/start lost its field note: clients that send it are refused.",
    ),
    (
        (*SCHEMAS, "Start", "properties", "mode", "enum"),
        ["near"],
        "POST /trips/{id}/start no longer accepts far for its field mode: clients that send it are refused.",
    ),
    (
        (*SCHEMAS, "Start", "properties", "note", "enum"),
        ["yes", "no"],
        "POST /trips/{id}/start accepts only yes, no for its field note now: clients that send others are refused.",
    ),
    (
        (*SCHEMAS, "Start", "properties", "note", "type"),
        "integer",
        "POST /trips/{id}/start no longer accepts text for its field note: clients that send it are refused.",
    ),
    (
        (*SCHEMAS, "Start", "properties", "odometer_km", "anyOf", 1),
        GONE,
        "POST /trips/{id}/start no longer accepts null for its field odometer_km: clients that send it are refused.",
    ),
    (
        (*SCHEMAS, "Start", "properties", "odometer_km", "anyOf", 0, "minimum"),
        7,
        "POST /trips/{id}/start has another minimum for its field odometer_km, 7 instead of 0: clients that send what was allowed "
        "before are refused.",
    ),
    (
        (*SCHEMAS, "Start", "properties", "note", "maxLength"),
        10,
        "POST /trips/{id}/start has another maxLength for its field note, 10 where there was none: clients that send what was "
        "allowed before are refused.",
    ),
    (
        (*SCHEMAS, "Start", "properties", "note", "pattern"),
        "^[a-z]$",
        "POST /trips/{id}/start has its field note in another form (^[a-z]$, before: anything): clients that send the former one "
        "are refused.",
    ),
    (
        (*START, "requestBody", "required"),
        True,
        "POST /trips/{id}/start now requires a body: clients that send none are refused.",
    ),
    (
        (*START, "requestBody", "content"),
        {"text/csv": {}},
        "POST /trips/{id}/start no longer takes application/json: clients that send it are refused.",
    ),
    (
        (*START, "responses", "428"),
        {},
        "POST /trips/{id}/start now requires the header If-Match: clients that do not send it are refused.",
    ),
    (
        (*START, "x-roles"),
        ["dispatcher"],
        "POST /trips/{id}/start is no longer for the role driver: clients of this role are refused.",
    ),
    (
        (*START, "x-refusals"),
        ["TripNotScheduled"],
        "POST /trips/{id}/start is never refused with TruckOnTheRoad any more: clients that look for this code look in vain.",
    ),
]


def changed(place: tuple[Any, ...], value: Any) -> dict[str, Document]:
    """Return the documents with another value at one place, or with nothing there."""
    new: Any = deepcopy(OLD)
    *path, name = place
    inside = new
    for step in path:
        inside = inside[step]
    if value is GONE:
        del inside[name]
    else:
        inside[name] = value
    return dict(new)


def test_what_stays_as_it_is_breaks_nobody() -> None:
    assert breaks(OLD, deepcopy(OLD)) == []


@pytest.mark.parametrize(("place", "value", "sentence"), RULES, ids=[sentence[:60] for *_, sentence in RULES])
def test_a_break_says_which_consumer_it_breaks(place: tuple[Any, ...], value: Any, sentence: str) -> None:
    found = [one.sentence for one in breaks(OLD, changed(place, value))]
    assert sentence in found
    assert len(found) <= 4, "one change is told in few sentences"


def test_whatever_breaks_readers_of_facts_is_final() -> None:
    for place, value, sentence in RULES:
        of_facts = sentence.startswith(("trips.started.v1", "fieldlog.facts."))
        assert {one.final for one in breaks(OLD, changed(place, value)) if one.sentence == sentence} == {of_facts}


def test_a_new_version_of_views_says_where_their_consumers_go() -> None:
    new: Any = deepcopy(OLD)
    new["schemas/views/trips.v3.json"] = {**new.pop(R), "properties": {}}
    new[S]["channels"]["fieldlog.views.trips.v3"] = kafka("fieldlog.views.trips.v3", "compact", row=ROW["$id"])
    del new[S]["channels"]["fieldlog.views.trips.v2"]
    new[S]["channels"]["fieldlog.views.sites.v3"] = kafka("fieldlog.views.sites.v3", "compact")
    old: Any = deepcopy(OLD)
    old[S]["channels"]["fieldlog.views.sites.v2"] = kafka("fieldlog.views.sites.v2", "compact")
    said = "The topics fieldlog.views.trips, fieldlog.views.sites end with v2: their consumers must move to v3."
    assert breaks(old, new) == [Break(said)]


LENIENT: list[tuple[tuple[Any, ...], Any]] = [
    ((F, "properties", "came_later"), {"type": "string", "default": ""}),
    ((F, "properties", "status", "enum"), ["open"]),
    ((F, "properties", "odometer_km", "type"), "integer"),
    ((F, "description"), "Told in other words."),
    ((R, "required"), ["id", "status", "came_later"]),
    ((*HEADERS, "properties", "ce_later"), {"const": "yes"}),
    ((*QUERY, "items", "enum"), ["trips", "sites", "trucks"]),
    ((*TRIPS, "parameters", 1, "schema", "maximum"), 500),
    ((*TRIPS, "parameters", 1, "schema", "type"), ["integer", "null"]),
    ((*TRIPS, "responses", "503"), {}),
    ((*SCHEMAS, "Trip", "properties", "km", "type"), "integer"),
    ((*SCHEMAS, "Trip", "properties", "later"), {"type": "string"}),
    ((*SCHEMAS, "Start", "properties", "later"), {"type": "string"}),
    ((*SCHEMAS, "Start", "properties", "mode", "enum"), ["far", "near", "home"]),
    ((*SCHEMAS, "Start", "properties", "note", "type"), ["string", "null"]),
    ((*START, "x-roles"), ["admin", "dispatcher", "driver"]),
    ((*START, "x-refusals"), ["TripNotScheduled", "TruckOnTheRoad", "TripTooLong"]),
]


@pytest.mark.parametrize(("place", "value"), LENIENT, ids=["/".join(map(str, place[1:])) for place, _ in LENIENT])
def test_what_widens_a_question_or_adds_to_an_answer_breaks_nobody(place: tuple[Any, ...], value: Any) -> None:
    assert breaks(OLD, changed(place, value)) == []
