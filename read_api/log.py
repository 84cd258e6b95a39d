"""The log itself, and how far the views have come with it: `GET /log`, `GET /views`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from infra.log.identity import stream_key
from read_api.kernel import Anybody, Auditor
from read_api.listing import Shown

router = APIRouter(tags=["log"])

FACTS = """select (json_build_object('position', l.notification_id, 'tenant_seq', l.tenant_seq, 'stream', l.stream,
        'id', l.id, 'version', l.originator_version, 'type', l.topic, 'data', convert_from(l.state, 'UTF8')::json,
        'occurred_at', l.occurred_at, 'recorded_at', l.recorded_at, 'command_id', l.command_id,
        'command_index', l.command_index, 'envelope', convert_from(l.envelope, 'UTF8')::json,
        'originator_id', l.originator_id, 'leaf', encode(l.leaf, 'hex')))::text, l.notification_id
    from fieldlog.log l
    where l.tenant_id = %(tenant)s and l.notification_id > %(after)s {conditions}
    order by l.notification_id limit %(limit)s"""
CONDITIONS = {"stream": "and l.stream = %(stream)s", "id": "and l.id = %(id)s", "type": "and l.topic = %(type)s"}
ONE_STREAM = "and l.originator_id = %(originator)s"


class Fact(Shown):
    """A fact as it is stored, with its envelope; personal data is encrypted (base64), `leaf` is its hash."""

    position: int
    tenant_seq: int
    stream: str
    id: str
    version: int
    type: str
    data: dict[str, Any]
    occurred_at: datetime
    recorded_at: datetime
    command_id: UUID
    command_index: int
    envelope: dict[str, Any]
    originator_id: UUID
    leaf: str


class Facts(Shown):
    """Facts in the order of the log; ask on with `after` = `next`."""

    items: list[Fact]
    next: int


class FactsWanted(BaseModel):
    """Which facts."""

    model_config = ConfigDict(extra="forbid")

    after: int = Field(0, ge=0, le=2**63 - 1, description="Position after which to begin")
    limit: int = Field(100, ge=1, le=1_000)
    stream: str | None = Field(None, max_length=64)
    id: str | None = Field(None, max_length=128)
    type: str | None = Field(None, max_length=100)


@router.get("/log", response_model=Facts)
async def facts(ask: Auditor, wanted: Annotated[FactsWanted, Query()]) -> Response:
    """Facts with their envelopes, in order."""
    given = wanted.model_dump(exclude_none=True)
    conditions = [CONDITIONS[name] for name in CONDITIONS if name in given]
    if wanted.stream is not None and wanted.id is not None:
        given["originator"] = stream_key(ask.tenant, wanted.stream, wanted.id).originator_id
        conditions.append(ONE_STREAM)
    statement = FACTS.replace("{conditions}", " ".join(conditions))
    rows = await ask.rows(statement, given | {"tenant": ask.tenant})
    following = rows[-1][1] if rows else wanted.after
    body = f'{{"items":[{",".join(row[0] for row in rows)}],"next":{following}}}'
    headers = {"Cache-Control": "no-store", "Position": str(following)}
    return Response(body, media_type="application/json", headers=headers)


VIEWS = """select b.context, b.build, b.version, b.position, v.build = b.build, b.made_at, b.switched_at,
        (select p.position from fieldlog.parked p where p.build = b.build),
        coalesce((select l.tenant_seq from fieldlog.log l where l.tenant_id = %(tenant)s
                   order by l.notification_id desc limit 1), 0)
          - coalesce((select l.tenant_seq from fieldlog.log l where l.tenant_id = %(tenant)s
                         and l.notification_id <= b.position order by l.notification_id desc limit 1), 0),
        (select extract(epoch from now() - l.recorded_at)::float8 from fieldlog.log l
          where l.tenant_id = %(tenant)s and l.notification_id > b.position order by l.notification_id limit 1)
    from fieldlog.builds b join fieldlog.views v using (context) order by b.context, b.build"""


class View(Shown):
    """A build of a context's views; the lag is that of your own organisation's facts."""

    context: str
    build: int
    version: int
    served: bool
    position: int
    made_at: datetime
    switched_at: datetime | None
    parked_at: int | None
    lag_facts: int
    lag_seconds: float


class Views(Shown):
    """Every build of every context."""

    items: list[View]


@router.get("/views", response_model=Views)
async def views(ask: Anybody) -> Response:
    """Which builds of the views there are, how far they are, and how far behind."""
    rows = await ask.rows(VIEWS, {"tenant": ask.tenant})
    return ask.plain({"items": [_view(row) for row in rows]})


def _view(row: Sequence[Any]) -> Mapping[str, Any]:
    context, build, version, position, served, made_at, switched_at, parked, facts_behind, seconds = row
    return {
        "context": context,
        "build": build,
        "version": version,
        "served": served,
        "position": position,
        "made_at": made_at,
        "switched_at": switched_at,
        "parked_at": parked,
        "lag_facts": facts_behind,
        "lag_seconds": round(seconds or 0.0, 3),
    }
