"""Facts and rows as messages for Kafka, as docs/stream.md has them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from infra.kafka.topics import CONTEXT_OF, Topics
from infra.log.codec import read_envelope
from infra.settings import Settings


class StoredFact(NamedTuple):
    """A fact as the log has it."""

    position: int
    tenant: UUID
    stream: str
    id: str
    originator_id: UUID
    version: int
    topic: str
    state: bytes
    envelope: bytes
    occurred_at: datetime
    recorded_at: datetime


class ChangedRow(NamedTuple):
    """A row of a view as it has become at a position; `data` is its JSON, None if it is gone."""

    tenant: UUID
    view: str
    position: int
    key: str
    data: str | None


class Message(NamedTuple):
    """A record for Kafka."""

    topic: str
    key: bytes
    value: bytes | None
    headers: list[tuple[str, bytes]]


class Events:
    """Writes facts and rows as messages."""

    def __init__(self, settings: Settings) -> None:
        self._topics, self._schemas = Topics(settings.topic_prefix), settings.schemas_url
        self._fixed = {
            "content-type": "application/json",
            "ce_specversion": "1.0",
            "ce_source": f"urn:fieldlog:{settings.source}",
        }

    def of_fact(self, fact: StoredFact) -> Message:
        """Return the message of a fact."""
        key, envelope = str(fact.originator_id), read_envelope(fact.envelope)
        headers = self._fixed | {
            "ce_id": f"{key}.{fact.version}",
            "ce_type": fact.topic,
            "ce_subject": f"{fact.stream}/{fact.id}",
            "ce_time": _rfc3339(fact.occurred_at),
            "ce_dataschema": f"{self._schemas}facts/{fact.topic}.json",
            "ce_partitionkey": key,
            "ce_sequence": str(fact.version),
            "ce_position": str(fact.position),
            "ce_tenantid": str(fact.tenant),
            "ce_recordedat": _rfc3339(fact.recorded_at),
        }
        more = {
            "ce_correlationid": envelope.correlation_id,
            "ce_causationid": envelope.causation_id,
            "ce_traceparent": envelope.traceparent,
        }
        headers |= {name: value for name, value in more.items() if value is not None}
        return Message(self._topics.facts(CONTEXT_OF[fact.stream]), key.encode(), fact.state, _encoded(headers))

    def of_row(self, row: ChangedRow, version: int) -> Message:
        """Return the message of a row of a view of this version; of one that is gone, a tombstone."""
        kind, key = f"{row.view}.v{version}", f"{row.tenant}/{row.key}"
        headers = self._fixed | {
            "ce_id": f"{kind}/{key}@{row.position}",
            "ce_type": f"fieldlog.views.{kind}",
            "ce_subject": row.key,
            "ce_dataschema": f"{self._schemas}views/{kind}.json",
            "ce_partitionkey": key,
            "ce_position": str(row.position),
            "ce_tenantid": str(row.tenant),
        }
        value = None if row.data is None else row.data.encode()
        return Message(self._topics.view(row.view, version), key.encode(), value, _encoded(headers))


def _encoded(headers: dict[str, str]) -> list[tuple[str, bytes]]:
    return [(name, value.encode()) for name, value in headers.items()]


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
