"""A desk with everything it needs, opened from the settings and closed in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from psycopg_pool import AsyncConnectionPool

from domain.catalog import STREAMS
from infra.database import AsyncConnection, pool_async
from infra.listener import Listener
from infra.log.batcher import Batcher
from infra.log.codec import Codec
from infra.log.desk import Desk
from infra.log.states import States
from infra.log.vault import Vault
from infra.settings import Settings

READERS = 4
MIB = 1_048_576


@dataclass(frozen=True)
class LogService:
    """The append path of one process."""

    desk: Desk
    states: States
    batcher: Batcher
    pool: AsyncConnectionPool[AsyncConnection]


@asynccontextmanager
async def open_log(settings: Settings) -> AsyncIterator[LogService]:
    """Open the append path; at the end every queued append is answered before it closes."""
    url = settings.need("writer_url")
    vault = Vault(settings.need("master_key"))
    batcher = Batcher(url, settings.max_queued)
    async with pool_async(url, "fieldlog write", READERS) as pool:
        codec = Codec(STREAMS.values(), vault)
        states = States(STREAMS, pool, codec, settings.state_cache_mb * MIB)
        desk = Desk(states, batcher, codec)

        def keys_destroyed(_: str = "") -> None:
            vault.clear()
            states.forget_all()

        async with Listener(url, {"fieldlog_keys": keys_destroyed}, keys_destroyed):
            yield LogService(desk, states, batcher, pool)
            await batcher.stop()
