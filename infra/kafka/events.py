"""Facts and rows as CloudEvents 1.0 in binary mode (the Kafka protocol binding): attributes are headers, data is the value.

The mapping is our own: the `cloudevents` SDK takes three times as long; a test reads what is written here with it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

import msgspec

from infra.kafka.topics import CONTEXT_OF, Topics
from infra.settings import Settings
from infra.views.reading import StoredFact

Headers = list[tuple[str, bytes]]


class _Why(msgspec.Struct, frozen=True):
    """What of an envelope is published."""

    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None


_why = msgspec.json.Decoder(_Why).decode


class ChangedRow(NamedTuple):
    """A row of a view as it has become at a position; `data` is its JSON, None if it is gone."""

    tenant: UUID
    view: str
    position: int
    key: str
    data: str | None


class Message(NamedTuple):
    """A record for Kafka; a null value deletes the key from a compacted topic."""

    topic: str
    key: bytes
    value: bytes | None
    headers: Headers
    timestamp_ms: int | None = None
    traceparent: str | None = None


class UnknownStreamError(Exception):
    """The log holds facts of a stream that this version does not know; a newer relay has to publish them."""


class Events:
    """Writes facts and rows as messages; what all of them share is written once."""

    def __init__(self, settings: Settings) -> None:
        self._topics = Topics(settings.topic_prefix)
        self._schemas = settings.schemas_url
        self._fixed: Headers = [
            ("content-type", b"application/json"),
            ("ce_specversion", b"1.0"),
            ("ce_source", f"urn:fieldlog:{settings.source}".encode()),
        ]
        self._of_stream = {stream: self._topics.facts(context) for stream, context in CONTEXT_OF.items()}
        self._of_type: dict[str, Headers] = {}

    def of_fact(self, fact: StoredFact) -> Message:
        """Return the message of a fact. Raises UnknownStreamError."""
        topic = self._of_stream.get(fact.stream)
        if topic is None:
            raise UnknownStreamError(
                f"position {fact.position} is of the stream {fact.stream!r}, which this version does not know: "
                "run the relay of the version that wrote it"
            )
        key = str(fact.originator_id).encode()
        envelope = _why(fact.envelope)
        headers = [
            *self._typed(fact.topic),
            ("ce_id", b"%b.%d" % (key, fact.version)),
            ("ce_subject", f"{fact.stream}/{fact.id}".encode()),
            ("ce_time", _rfc3339(fact.occurred_at)),
            ("ce_partitionkey", key),
            ("ce_sequence", b"%d" % fact.version),
            ("ce_position", b"%d" % fact.position),
            ("ce_tenantid", _text(fact.tenant)),
            ("ce_recordedat", _rfc3339(fact.recorded_at)),
        ]
        for name, value in (
            ("ce_correlationid", envelope.correlation_id),
            ("ce_causationid", envelope.causation_id),
            ("ce_traceparent", envelope.traceparent),
        ):
            if value is not None:
                headers.append((name, value.encode()))
        return Message(topic, key, fact.state, headers, int(fact.recorded_at.timestamp() * 1000), envelope.traceparent)

    def _typed(self, type: str) -> Headers:
        """Return the headers that all facts of a type have; each type's are written once."""
        if type not in self._of_type:
            schema = f"{self._schemas}facts/{type}.json".encode()
            self._of_type[type] = [*self._fixed, ("ce_type", type.encode()), ("ce_dataschema", schema)]
        return self._of_type[type]

    def of_row(self, row: ChangedRow, version: int) -> Message:
        """Return the message of a row of a view of this version; of one that is gone, a tombstone."""
        kind = f"{row.view}.v{version}"
        key = f"{row.tenant}/{row.key}".encode()
        headers = [
            *self._fixed,
            ("ce_id", b"%b/%b@%d" % (kind.encode(), key, row.position)),
            ("ce_type", f"fieldlog.views.{kind}".encode()),
            ("ce_subject", row.key.encode()),
            ("ce_dataschema", f"{self._schemas}views/{kind}.json".encode()),
            ("ce_partitionkey", key),
            ("ce_position", b"%d" % row.position),
            ("ce_tenantid", str(row.tenant).encode()),
        ]
        value = None if row.data is None else row.data.encode()
        return Message(self._topics.view(row.view, version), key, value, headers)


@lru_cache(maxsize=64)  # the facts of a batch were recorded at the same few moments
def _rfc3339(moment: datetime) -> bytes:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z").encode()


@lru_cache(maxsize=4096)
def _text(tenant: UUID) -> bytes:
    return str(tenant).encode()
