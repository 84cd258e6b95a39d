"""Desks over the counting domain, or another one, and orders for them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from commands.kernel import Command
from domain.kernel import Stream
from domain.roles import Actor, Role
from infra.database import pool_async
from infra.log.batcher import Batcher
from infra.log.codec import Client, Codec, Envelope
from infra.log.desk import Desk
from infra.log.identity import keyed_command_id, random_command_id
from infra.log.order import Order
from infra.log.states import States
from infra.log.vault import Vault
from tests.log.counting import COUNTERS

TENANT = UUID("0192f000-0000-7000-8000-000000000001")
MASTER_KEY = bytes(range(32))
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


@asynccontextmanager
async def open_desk(
    url: str, most_bytes: int = 1_000_000, streams: Sequence[Stream[Any]] = (COUNTERS,)
) -> AsyncIterator[Desk]:
    """A desk over counters, or over these streams, as one write process has it."""
    batcher = Batcher(url)
    async with pool_async(url, "test", 4) as pool:
        codec = Codec(streams, Vault(MASTER_KEY))
        yield Desk(States({stream.name: stream for stream in streams}, pool, codec, most_bytes), batcher, codec)
        await batcher.stop()


def order(
    id: str,
    command: Command,
    key: str | None = None,
    if_match: int | None = None,
    stream: Stream[Any] = COUNTERS,
    by: str = "ana",
) -> Order:
    """An order for a counter, or for a record of another stream; with a key it can be repeated."""
    return Order(
        tenant_id=TENANT,
        stream=stream,
        id=id,
        command=command,
        by=Actor(by, frozenset({Role.DISPATCHER})),
        at=NOW,
        now=NOW,
        command_id=keyed_command_id(TENANT, by, f"/{stream.name}/{id}", key) if key else random_command_id(),
        envelope=Envelope(command="counters.count", actor=by, fingerprint=command.model_dump_json() if key else None),
        client=Client(ip="192.0.2.7"),
        if_match=if_match,
    )
