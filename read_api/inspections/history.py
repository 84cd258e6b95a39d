"""The history of a booking and its inspection: `GET /bookings/{id}/history`, fact by fact, from the log itself."""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from domain.roles import STAFF
from infra.log.identity import stream_key
from infra.web.problems import NO_SUCH_RECORD, ProblemError
from read_api.kernel import AUDIT, REVALIDATED, Asking, only
from read_api.listing import Shown

router = APIRouter(tags=["inspections"])

RECORDS = ("bookings", "inspections")  # an inspection has the id of its booking
# Where a command came from (address, browser, session) is encrypted, under a key that this service does not have.
HISTORY = """select (json_build_object('position', l.notification_id, 'stream', l.stream, 'version', l.originator_version,
        'occurred_at', l.occurred_at, 'recorded_at', l.recorded_at, 'fact', l.topic,
        'data', convert_from(l.state, 'UTF8')::json, 'command', e.said->>'command', 'by', e.said->>'actor',
        'by_name', (select p.name from {schema}.people p where p."user" = e.said->>'actor'
                     order by p.status, p.id limit 1),
        'roles', coalesce(e.said->'roles', '[]'), 'application', e.said->>'application',
        'client', case when e.said->>'client' is not null then 'encrypted' end))::text, l.notification_id
    from fieldlog.log l cross join lateral (select convert_from(l.envelope, 'UTF8')::json as said) e
    where l.tenant_id = %(tenant)s and l.originator_id = any(%(records)s) and l.notification_id > %(after)s
    order by l.notification_id limit %(limit)s"""


class Entry(Shown):
    """Something that happened: what, when, by whose command, from which application. `client` says that it is known from
    where, encrypted.
    """

    position: int
    stream: str
    version: int
    occurred_at: datetime
    recorded_at: datetime
    fact: str
    data: dict[str, Any]
    command: str
    by: str
    by_name: str | None
    roles: list[str]
    application: str | None
    client: str | None


class History(Shown):
    """What happened, in order; ask on with `after` = `next`."""

    items: list[Entry]
    next: int


class HistoryWanted(BaseModel):
    """Which part of it."""

    model_config = ConfigDict(extra="forbid")

    after: int = Field(0, ge=0, le=2**63 - 1, description="Position after which to begin")
    limit: int = Field(200, ge=1, le=1_000)


@router.get("/bookings/{id}/history", response_model=History)
async def history(
    ask: Annotated[Asking, only(AUDIT | STAFF)], id: str, wanted: Annotated[HistoryWanted, Query()]
) -> Response:
    """What happened to a booking and in its inspection, in order, and who did it."""
    records = [stream_key(ask.tenant, stream, id).originator_id for stream in RECORDS]
    parameters = {"tenant": ask.tenant, "records": records, "after": wanted.after, "limit": wanted.limit}
    found = await ask.find("inspections", HISTORY, parameters)
    if not found.rows and not wanted.after:
        raise ProblemError(NO_SUCH_RECORD, headers={"Position": str(found.position)})
    following = found.rows[-1][1] if found.rows else wanted.after
    body = f'{{"items":[{",".join(row[0] for row in found.rows)}],"next":{following}}}'.encode()
    return ask.answer(found.position, body, f'"{following}.{sha256(body).hexdigest()[:16]}"', 0, REVALIDATED)
