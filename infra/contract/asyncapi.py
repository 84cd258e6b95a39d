"""The AsyncAPI document (3.1.0): every topic of facts and of rows, the relay's own, and the live stream of the read API.

Everything is sent by us; payloads are the schemas that the read API serves. The live stream is described where it is made
(read_api/events.py) and handed in.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from inspect import cleandoc
from typing import Any
from urllib.parse import urljoin, urlsplit

from domain.catalog import STREAMS, STREAMS_BY_CONTEXT
from domain.kernel import COMMON_FACTS
from infra.contract.schemas import Document, fact_path, row_path
from infra.kafka.topics import BOOKMARK, COMPACTED, KEPT, Topics
from infra.settings import Settings
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
INTEGER = {"type": "integer"}
FOLLOWED: Mapping[str, Document] = {
    "build": INTEGER,
    "version": INTEGER,
    "position": INTEGER | {"description": "The rows are published as they were at this position"},
    "complete": {"type": "boolean", "description": "Whether every row was published at least once"},
    "held": {
        "type": "object",
        "description": "Organisations whose facts wait to be folded, and until which position theirs are",
        "additionalProperties": INTEGER,
    },
}
RECORD: Mapping[str, Document] = {
    "log": INTEGER | {"description": "Every fact until this position is published"},
    "views": {
        "type": "object",
        "description": "By context",
        "additionalProperties": {"type": "object", "properties": FOLLOWED, "required": list(FOLLOWED)},
    },
}


@dataclass(frozen=True)
class Live:
    """The live stream as the read API describes it: its channel, its query, and the schemas that its events refer to."""

    address: str
    description: str
    messages: Mapping[str, Document]
    query: Document
    schemas: Mapping[str, Document]


def facts_of_topics(topics: Topics) -> dict[str, list[str]]:
    """Return the stored names that each topic carries."""
    return {
        topics.facts(context): [*(name for stream in streams for name in stream.facts), *COMMON_FACTS]
        for context, streams in STREAMS_BY_CONTEXT.items()
    }


def views_of_topics(topics: Topics) -> dict[str, tuple[Context, View]]:
    """Return the view whose rows each topic carries."""
    return {
        topics.view(view.name, context.version): (context, view)
        for context in CONTEXTS.values()
        for view in context.views
    }


def asyncapi(settings: Settings, live: Live) -> Document:
    """Return the document of this installation."""
    described = _Kafka(settings)
    channels = described.channels() | {"stream": _stream(live)}
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
        "servers": {**described.servers, "reading": _reading(settings.schemas_url)},
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


class _Kafka:
    """The part of the document that is about Kafka: brokers, topics, and the messages on them."""

    def __init__(self, settings: Settings) -> None:
        self._base, self._topics = settings.schemas_url, Topics(settings.topic_prefix)
        self._partitions = settings.kafka_partitions
        self.servers = _brokers(settings)

    def channels(self) -> dict[str, Document]:
        """Return every topic."""
        return {
            **{topic: self._facts(topic, names) for topic, names in facts_of_topics(self._topics).items()},
            **{topic: self._rows(topic, *found) for topic, found in views_of_topics(self._topics).items()},
            self._topics.relay: self._record(),
        }

    def _facts(self, topic: str, names: Sequence[str]) -> Document:
        classes = dict(_classes())
        key = UUID | {
            "description": "The identity of the record: the facts of one record are in one partition, in order"
        }
        messages = {name: self._message(name, classes[name], "FactHeaders", fact_path(name), key) for name in names}
        what = "Facts as they were stored, in the order of the log within each record."
        return self._channel(topic, what, KEPT, messages, self._partitions)

    def _rows(self, topic: str, context: Context, view: View) -> Document:
        kind, path = f"fieldlog.views.{view.name}.v{context.version}", row_path(context, view)
        key = TEXT | {"description": "/".join(f"<{name}>" for name in ("organisation", *view.key))}
        row = self._message(kind, view.row, "RowHeaders", path, key)
        gone = {"description": "There is no such row any more.", "payload": {"type": "null"}}
        what = "The latest row of each key; what a row was before is left out sooner or later."
        return self._channel(topic, what, COMPACTED, {"row": row, "gone": row | gone}, self._partitions)

    def _record(self) -> Document:
        payload = {"type": "object", "properties": RECORD, "required": list(RECORD)}
        messages = {"record": {"name": "record", "payload": payload, "bindings": _keyed({"const": "relay"})}}
        what = "How far everything is published, written in one transaction with what is published."
        return self._channel(self._topics.relay, what, BOOKMARK, messages, partitions=1)

    def _channel(
        self, topic: str, what: str, configuration: Mapping[str, str], messages: Document, partitions: int
    ) -> Document:
        kafka = {"partitions": partitions, "topicConfiguration": _configured(configuration)}
        return {
            "address": topic,
            "description": what,
            "servers": _refs("servers", self.servers),
            "messages": messages,
            "bindings": {"kafka": kafka | {"bindingVersion": KAFKA_BINDING}},
        }

    def _message(self, type_: str, cls: type, headers: str, path: str, key: Document) -> Document:
        url = self._base + path
        own = {"properties": {"ce_type": {"const": type_}, "ce_dataschema": {"const": url}}}
        return {
            "name": type_,
            "description": cleandoc(cls.__doc__ or ""),
            "headers": {"allOf": [{"$ref": f"#/components/schemas/{headers}"}, own]},
            "payload": {"schemaFormat": SCHEMA_FORMAT, "schema": {"$ref": url}},
            "bindings": _keyed(key),
        }


def _stream(live: Live) -> Document:
    return {
        "address": live.address,
        "description": live.description,
        "servers": _refs("servers", ["reading"]),
        "messages": dict(live.messages),
    }


def _brokers(settings: Settings) -> dict[str, Document]:
    options = json.loads(settings.kafka_options.get_secret_value())
    protocol = "kafka-secure" if "SSL" in str(options.get("security_protocol")) else "kafka"
    if settings.kafka_bootstrap_servers is None:
        unknown = {"description": " ".join(NO_BROKERS.split())}
        return {"kafka": {"host": "{brokers}", "protocol": protocol, "variables": {"brokers": unknown}}}
    hosts = settings.kafka_bootstrap_servers.split(",")
    names = ["kafka", *(f"kafka-{number}" for number in range(2, len(hosts) + 1))]
    return {name: {"host": host, "protocol": protocol} for name, host in zip(names, hosts, strict=True)}


def _reading(base: str) -> Document:
    """Return the read API as a server: it is where the schemas are."""
    place = urlsplit(urljoin(base, ".."))
    path = {"pathname": place.path} if place.path != "/" else {}
    security = _refs("components/securitySchemes", ["bearer", "ticket"])
    return {"host": place.netloc, **path, "protocol": place.scheme, "security": security}


def _configured(configuration: Mapping[str, str]) -> Document:
    """Return what a consumer has to know of a topic's configuration, typed as the binding has it."""
    cleanup = {"cleanup.policy": configuration["cleanup.policy"].split(",")}
    numbers = ("retention.ms", "retention.bytes", "max.message.bytes")
    return cleanup | {name: int(configuration[name]) for name in numbers if name in configuration}


def _keyed(key: Document) -> Document:
    return {"kafka": {"key": key, "bindingVersion": KAFKA_BINDING}}


def _headers(always: Mapping[str, Document] | None = None, sometimes: Mapping[str, Document] | None = None) -> Document:
    required = {**SHARED_HEADERS, **(always or {})}
    return {"type": "object", "properties": {**required, **(sometimes or {})}, "required": list(required)}


def _classes() -> Iterator[tuple[str, type]]:
    for stream in STREAMS.values():
        yield from stream.facts.items()
    yield from COMMON_FACTS.items()


def _refs(place: str, names: Mapping[str, Any] | Sequence[str]) -> list[Document]:
    return [{"$ref": f"#/{place}/{name}"} for name in names]
