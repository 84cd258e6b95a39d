"""The AsyncAPI document (3.1.0): every topic of facts and of rows, the relay's own, and the live stream of the read API.

Everything is sent by us; payloads are the schemas that the read API serves. The live stream is described where it is made
(read_api/events.py) and handed in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any
from urllib.parse import urljoin, urlsplit

from domain.catalog import STREAMS, STREAMS_BY_CONTEXT
from domain.kernel import COMMON_FACTS
from infra.contract.schemas import Document, fact_path, row_path
from infra.kafka.topics import FACTS_TOPICS, RELAY_TOPIC, view_topic
from projections.catalog import CONTEXTS
from projections.kernel import Context, View

VERSION = "3.1.0"
DESCRIPTION = """What can be followed without asking again: facts and rows on Kafka, as CloudEvents 1.0 in binary mode, and rows
on a live stream over HTTP. docs/stream.md tells how to read the topics, docs/live.md the live stream."""
NO_BROKERS = """This process was given no brokers (`KAFKA_BOOTSTRAP_SERVERS`); ask whoever runs it."""
SCHEMA_FORMAT = "application/schema+json;version=draft/2020-12"
KAFKA_BINDING = "0.5.0"
TEXT = {"type": "string"}
NUMBER = {"type": "string", "pattern": "^[1-9][0-9]*$"}
UUID = {"type": "string", "format": "uuid"}
MOMENT = {"type": "string", "format": "date-time"}
SHARED_HEADERS: Mapping[str, Document] = {
    "ce_specversion": {"const": "1.0"},
    "ce_id": TEXT | {"description": "The same for the same event, however often it is sent"},
    "ce_source": {"type": "string", "pattern": "^urn:fieldlog:", "description": "Which log it comes from"},
    "ce_type": TEXT,
    "ce_subject": TEXT,
    "ce_dataschema": {"type": "string", "format": "uri", "description": "The JSON Schema of the value"},
    "ce_partitionkey": TEXT | {"description": "The record's key"},
    "content-type": {"const": "application/json"},
    "ce_tenantid": UUID | {"description": "The organisation"},
    "ce_position": NUMBER | {"description": "The position in the log, which is one order over all topics"},
}
FACT_HEADERS: Mapping[str, Document] = {
    "ce_time": MOMENT | {"description": "When it happened"},
    "ce_recordedat": MOMENT | {"description": "When it was recorded; never before its predecessor"},
    "ce_sequence": NUMBER | {"description": "The version of the record: 1, 2, 3 ... for each key without a gap"},
}
OPTIONAL_HEADERS: Mapping[str, Document] = {
    "ce_correlationid": TEXT,
    "ce_causationid": TEXT,
    "ce_traceparent": {"type": "string", "pattern": "^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$"},
}
RELAYED = {
    "type": "object",
    "properties": {
        "log": {"type": "integer", "description": "The position of the last fact that was published"},
        "views": {"type": "object", "description": "How far the rows of each view were published"},
    },
    "required": ["log", "views"],
}


@dataclass(frozen=True)
class Live:
    """The live stream as the read API describes it: its channel, its query, and the schemas that its events refer to."""

    address: str
    description: str
    messages: Mapping[str, Document]
    query: Document
    schemas: Mapping[str, Document]


def facts_of_topics() -> dict[str, list[str]]:
    """Return the stored names that each topic carries."""
    return {
        FACTS_TOPICS[streams[0].name]: [*(topic for stream in streams for topic in stream.facts), *COMMON_FACTS]
        for streams in STREAMS_BY_CONTEXT.values()
    }


def views_of_topics() -> dict[str, tuple[Context, View]]:
    """Return the view whose rows each topic carries."""
    return {view_topic(context, view): (context, view) for context in CONTEXTS.values() for view in context.views}


def asyncapi(base: str, brokers: str | None, live: Live) -> Document:
    """Return the document, given the base URL of schemas and the brokers if they are known."""
    kafka = _brokers(brokers)
    on_kafka = _refs("servers", kafka)
    channels = {
        **{topic: _facts(topic, names, base, on_kafka) for topic, names in facts_of_topics().items()},
        **{topic: _rows(topic, *found, base, on_kafka) for topic, found in views_of_topics().items()},
        RELAY_TOPIC: _relay(on_kafka),
        "stream": {
            "address": live.address,
            "description": live.description,
            "servers": _refs("servers", ["reading"]),
            "messages": dict(live.messages),
        },
    }
    operations = {name: {"action": "send", "channel": {"$ref": f"#/channels/{name}"}} for name in channels}
    operations["stream"]["bindings"] = {"http": {"method": "GET", "query": live.query, "bindingVersion": "0.3.0"}}
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Fieldlog: streams",
            "version": "1",
            "description": " ".join(DESCRIPTION.split()),
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {**kafka, "reading": _reading(base)},
        "channels": channels,
        "operations": operations,
        "components": {
            "schemas": {
                "FactHeaders": _headers(FACT_HEADERS, OPTIONAL_HEADERS),
                "RowHeaders": _headers(),
                **live.schemas,
            },
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
                "ticket": {"type": "httpApiKey", "name": "ticket", "in": "query"},
            },
        },
    }


def _brokers(brokers: str | None) -> dict[str, Document]:
    if not brokers:
        unknown = {"description": " ".join(NO_BROKERS.split())}
        return {"kafka": {"host": "{brokers}", "protocol": "kafka", "variables": {"brokers": unknown}}}
    hosts = [host.strip() for host in brokers.split(",") if host.strip()]
    names = ["kafka", *(f"kafka-{number}" for number in range(2, len(hosts) + 1))]
    return {name: {"host": host, "protocol": "kafka"} for name, host in zip(names, hosts, strict=True)}


def _reading(base: str) -> Document:
    """Return the read API as a server: it is where the schemas are."""
    place = urlsplit(urljoin(base, ".."))
    path = {"pathname": place.path} if place.path != "/" else {}
    security = _refs("components/securitySchemes", ["bearer", "ticket"])
    return {"host": place.netloc, **path, "protocol": place.scheme, "security": security}


def _facts(topic: str, names: Sequence[str], base: str, servers: list[Document]) -> Document:
    classes = dict(_classes())
    key = UUID | {"description": "The identity of the record: the facts of one record are in one partition, in order"}
    messages = {
        name: _message(name, cleandoc(classes[name].__doc__ or ""), "FactHeaders", base + fact_path(name), key)
        for name in names
    }
    description = "Facts as they were stored, in the order of the log within each record."
    return _channel(topic, description, "delete", servers, messages)


def _rows(topic: str, context: Context, view: View, base: str, servers: list[Document]) -> Document:
    shown = "/".join(f"<{name}>" for name in view.key)
    key = TEXT | {"description": f"<organisation>/{shown}"}
    url = base + row_path(context, view)
    messages = {
        "row": _message(topic, cleandoc(view.row.__doc__ or ""), "RowHeaders", url, key),
        "gone": _message(topic, "There is no such row any more.", "RowHeaders", url, key)
        | {"payload": {"type": "null"}},
    }
    description = "The latest row of each key; what a row was before is left out sooner or later."
    return _channel(topic, description, "compact", servers, messages)


def _relay(servers: list[Document]) -> Document:
    what = "How far the relay has come, written in one transaction with what it publishes. Not for consumers."
    key = {"const": "relay"}
    messages = {"stopped": {"name": "stopped", "payload": RELAYED, "bindings": {"kafka": _keyed(key)}}}
    return _channel(RELAY_TOPIC, what, "compact", servers, messages, partitions=1)


def _channel(
    topic: str, description: str, cleanup: str, servers: list[Document], messages: Document, **bound: int
) -> Document:
    kafka = {"topicConfiguration": {"cleanup.policy": [cleanup]}, **bound, "bindingVersion": KAFKA_BINDING}
    return {
        "address": topic,
        "description": description,
        "servers": servers,
        "messages": messages,
        "bindings": {"kafka": kafka},
    }


def _message(type_: str, description: str, headers: str, schema: str, key: Document) -> Document:
    own = {"properties": {"ce_type": {"const": type_}, "ce_dataschema": {"const": schema}}}
    return {
        "name": type_,
        "description": description,
        "headers": {"allOf": [{"$ref": f"#/components/schemas/{headers}"}, own]},
        "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": {"$ref": schema}},
        "bindings": {"kafka": _keyed(key)},
    }


def _keyed(key: Document) -> Document:
    return {"key": key, "bindingVersion": KAFKA_BINDING}


def _headers(always: Mapping[str, Document] | None = None, sometimes: Mapping[str, Document] | None = None) -> Document:
    required = {**SHARED_HEADERS, **(always or {})}
    return {"type": "object", "properties": {**required, **(sometimes or {})}, "required": list(required)}


def _classes() -> Iterator[tuple[str, type]]:
    for stream in STREAMS.values():
        yield from stream.facts.items()
    yield from COMMON_FACTS.items()


def _refs(place: str, names: Mapping[str, Any] | Sequence[str]) -> list[Document]:
    return [{"$ref": f"#/{place}/{name}"} for name in names]
