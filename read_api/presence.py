"""Presence: `POST /presence` while somebody looks at a record, `GET /presence` to see who does."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from infra.redis.presence import beat
from infra.web.problems import (
    BUSY,
    INVALID_INPUT,
    MALFORMED_BODY,
    NO_SHARED_STATE,
    NO_SUCH_RECORD,
    NOT_ALLOWED,
    NOT_FOUND,
    TOO_LARGE,
    TOO_MANY,
    ProblemError,
    of_kinds,
)
from read_api.boards import PRESENCE, Activity, PresenceWanted, Present, listed, must_be_record, must_see, there
from read_api.kernel import Anybody
from read_api.listing import Shown

router = APIRouter(tags=["presence"])

SHARED_PROBLEMS = (BUSY, NOT_ALLOWED, NO_SUCH_RECORD, INVALID_INPUT, NO_SHARED_STATE)


class PresenceShown(Shown):
    """Who is where now."""

    items: list[Present]


class Beat(BaseModel):
    """Where somebody is, and what he does there; `page` is where in the application."""

    model_config = ConfigDict(extra="forbid")

    stream: str = Field(max_length=64)
    id: str = Field(max_length=128)
    activity: Activity
    page: str | None = Field(None, max_length=200, pattern=r"^[^\x00-\x1f]*$")


@router.post(
    "/presence",
    status_code=204,
    response_class=Response,
    responses=of_kinds(*SHARED_PROBLEMS, MALFORMED_BODY, NOT_FOUND, TOO_LARGE, TOO_MANY),
)
async def be_present(ask: Anybody, request: Request, sent: Beat) -> Response:
    """Say that you are at a record; do so every 60 seconds, and whenever it changes. After 2 minutes you are gone."""
    must_be_record(sent.stream, sent.id)
    await must_see(ask, {"stream": sent.stream, "id": sent.id})
    shared, subject, name = request.app.state.shared, ask.principal.actor.subject, ask.principal.name
    heard = beat(shared, ask.tenant, subject, name, sent.stream, sent.id, sent.activity, sent.page)
    if not await there(shared, heard):
        raise ProblemError(TOO_MANY, "As many people as there may be are present in this organisation.")
    return Response(status_code=204)


@router.get("/presence", response_model=PresenceShown, responses=of_kinds(*SHARED_PROBLEMS))
async def presence(ask: Anybody, request: Request, wanted: Annotated[PresenceWanted, Query()]) -> Response:
    """Who is at which record; who sees only his own records names one of them."""
    conditions = wanted.model_dump(exclude_none=True)
    return ask.plain({"items": await listed(ask, request.app.state.shared, PRESENCE, conditions)})
