"""What commands over HTTP are compared with: FastAPI's own echo with models, and an idiomatic route doing the same append."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID, uuid4

from fastapi import Depends, FastAPI, Header
from pydantic import BaseModel, Field

from infra.collector import tune_collector
from infra.log.batcher import Answer, Append, Batcher, Lineage, NewFact, Read
from infra.log.identity import random_command_id, stream_key

TENANT = uuid4()
ENVELOPE = b'{"command":"trucks.deactivate","actor":"bench"}'


class Asked(BaseModel):
    """A body like a command's."""

    reason: str | None = Field(None, max_length=100)


class Said(BaseModel):
    """An answer like a receipt."""

    id: str
    version: int
    position: int
    facts: list[str]


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open the batcher, as the write API does."""
    app.state.batcher = Batcher(os.environ["FIELDLOG_WRITER_URL"])
    app.state.versions = {}
    tune_collector()
    yield
    await app.state.batcher.stop()


app = FastAPI(lifespan=lifespan)


async def tenant(authorization: Annotated[str, Header()]) -> UUID:
    """Stand for the check of a token that is known already."""
    assert authorization
    return TENANT


@app.post("/echo/{id}/say")
async def echo(id: str, asked: Asked, _: Annotated[UUID, Depends(tenant)]) -> Said:
    """Validate and answer, without a database."""
    return Said(id=id, version=1, position=1, facts=[asked.reason or "nothing"])


@app.post("/append/{id}/say")
async def append(id: str, asked: Asked, tenant_id: Annotated[UUID, Depends(tenant)]) -> Said:
    """Validate, append one fact durably through the same batcher, and answer."""
    key = stream_key(tenant_id, "trucks", id)
    version = app.state.versions.get(id, 0)
    state = asked.model_dump_json().encode()
    fact = NewFact(key, "trucks.deactivated.v1", state, ENVELOPE, datetime.now(UTC))
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    app.state.batcher.put(Append(random_command_id(), (Read(key, version, Lineage()),), [fact], answer))
    position = (await answer).position
    app.state.versions[id] = version + 1
    return Said(id=id, version=version + 1, position=position, facts=[fact.topic])
