"""Identity: how tenants, streams, people and commands are told apart for ever.

All are UUIDs of version 5 (RFC 9562): a namespace and a name, hashed. They can never be changed once a fact is stored.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID, uuid5

from uuid_utils import compat

RECORD_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~:-]{0,127}")
RECORD_ID_SHAPE = "An id begins with a letter or digit and has at most 128 of A-Z a-z 0-9 . _ ~ : -"
FIELDLOG = UUID("5f8e6a3c-27f1-5d0e-9b1c-6c1de1d10600")


class StreamKey(NamedTuple):
    """One stream of one tenant; `originator_id` is its identity in the log, `raw` the same in 16 bytes (fast to hash)."""

    originator_id: UUID
    tenant_id: UUID
    stream: str
    id: str
    raw: bytes


@lru_cache(maxsize=100_000)
def stream_key(tenant_id: UUID, stream: str, id: str) -> StreamKey:
    """Return the identity of a stream: uuid5(tenant, "stream/id"); clients choose ids, so tenant and stream belong to it."""
    originator_id = uuid5(tenant_id, f"{stream}/{id}")
    return StreamKey(originator_id, tenant_id, stream, id, originator_id.bytes)


@lru_cache(maxsize=100_000)
def person_id(tenant_id: UUID, person: str) -> UUID:
    """Return who personal data belongs to: uuid5(tenant, "person/" + a driver's or person's id, or a token's subject)."""
    return uuid5(tenant_id, f"person/{person}")


def tenant_id_of(name: str) -> UUID:
    """Return the id under which the embedded set-up opens a tenant of this name."""
    return uuid5(FIELDLOG, f"tenant/{name}")


def keyed_command_id(tenant_id: UUID, principal: str, path: str, key: str) -> UUID:
    """Return the id of a command that carries an Idempotency-Key: the same request has the same id, for ever."""
    return uuid5(tenant_id, f"{path}\n{key}\n{principal}")


def caused_command_id(cause: UUID, reaction: str) -> UUID:
    """Return the id of a command that follows from a cause, so that asking again changes nothing."""
    return uuid5(cause, reaction)


def random_command_id() -> UUID:
    """Return a new command id; version 7, so that the log's index grows at its end."""
    return compat.uuid7()
