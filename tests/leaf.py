"""The leaf of a stored fact, written a second time from docs/log.md, so that the database's own is checked against it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Stored(NamedTuple):
    """A row of the log without its position and leaf."""

    tenant_id: UUID
    tenant_seq: int
    originator_id: UUID
    originator_version: int
    recorded_at: datetime
    occurred_at: datetime
    command_id: UUID
    command_index: int
    topic: str
    stream: str
    id: str
    state: bytes
    envelope: bytes


def leaf(row: Stored) -> bytes:
    """Return sha256(0x00, version 1, then each field behind its length in 4 bytes)."""
    fields = [
        row.tenant_id.bytes,
        row.tenant_seq.to_bytes(8, "big"),
        row.originator_id.bytes,
        row.originator_version.to_bytes(8, "big"),
        _micros(row.recorded_at),
        _micros(row.occurred_at),
        row.command_id.bytes,
        row.command_index.to_bytes(4, "big"),
        row.topic.encode(),
        row.stream.encode(),
        row.id.encode(),
        row.state,
        row.envelope,
    ]
    return sha256(b"\x00\x01" + b"".join(len(one).to_bytes(4, "big") + one for one in fields)).digest()


def _micros(at: datetime) -> bytes:
    return ((at - EPOCH) // timedelta(microseconds=1)).to_bytes(8, "big", signed=True)
