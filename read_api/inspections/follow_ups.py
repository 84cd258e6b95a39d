"""What failed: `GET /follow-ups`, `GET /hot-spots`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict

from read_api.listing import Filter, Listing, Page, Paging, Shown
from read_api.paddock import PADDOCK, Officials, Paddock

router = APIRouter(tags=["follow-ups"])

ITEM = """json_build_object('id', t.id, 'inspection_id', t.inspection_id, 'team_id', t.team_id, 'team_name', m.name,
    'inspection_type_id', t.inspection_type_id, 'inspection_type_name', k.name, 'item', t.item, 'comment', t.comment,
    'status', t.status, 'opened_at', t.opened_at, 'resolved_at', t.resolved_at, 'note', t.note, 'version', t.version)"""
JOINS = """left join {schema}.teams m on m.tenant_id = t.tenant_id and m.id = t.team_id
    left join {schema}.inspection_types k on k.tenant_id = t.tenant_id and k.id = t.inspection_type_id"""


class FollowUp(Shown):
    """What is to be mended, or was, after an item failed."""

    id: str
    inspection_id: str
    team_id: str
    team_name: str | None
    inspection_type_id: str
    inspection_type_name: str | None
    item: str
    comment: str | None
    status: Literal["open", "resolved"]
    opened_at: datetime
    resolved_at: datetime | None
    note: str | None
    version: int


class Wanted(Paging):
    """Which follow-ups."""

    status: Literal["open", "resolved"] | None = None
    team: str | None = None
    inspection: str | None = None


FOLLOW_UPS = Listing(
    name="follow-ups",
    scope=PADDOCK,
    context="inspections",
    view="follow_ups",
    wanted=Wanted,
    item=ITEM,
    shown=FollowUp,
    joins=JOINS,
    order=("t.opened_at", "t.id"),
    descending=True,
    filters={"status": Filter("status"), "team": Filter("team_id"), "inspection": Filter("inspection_id")},
    own=Filter("team_id", "in"),
)


@router.get("/follow-ups", response_model=Page[FollowUp])
async def follow_ups(ask: Paddock, wanted: Annotated[Wanted, Query()]) -> Response:
    """What is to be mended, or was, the latest first; a team sees its own."""
    return await ask.page(FOLLOW_UPS, wanted)


MOST_SPOTS = 100
# Codes that electric and combustion cars share may be described otherwise for each; one of them is shown.
HOT_SPOTS = """with described as (
        select l.id, i->>'code' as code, min(i->>'section') as section, min(i->>'description') as description
          from {schema}.checklists l
          join {schema}.checklist_versions v
            on v.tenant_id = l.tenant_id and v.checklist_id = l.id and v.version = l.versions,
               jsonb_array_elements(v.items) i
         where %(type)s::text is null or l.id = %(type)s group by l.id, i->>'code')
    select t.inspection_type_id, k.name, t.item, d.section, d.description, t.checked, t.failed
      from {schema}.item_stats t
      left join {schema}.inspection_types k on k.tenant_id = t.tenant_id and k.id = t.inspection_type_id
      left join described d on d.id = t.inspection_type_id and d.code = t.item
     where t.failed > 0 and (%(type)s::text is null or t.inspection_type_id = %(type)s)
     order by t.failed desc, t.checked, t.inspection_type_id, t.item limit %(most)s"""
SPOT = ("inspection_type_id", "inspection_type_name", "item", "section", "description", "inspections", "failures")


class HotSpot(Shown):
    """How often an item failed that had not before, and in how many inspections it was looked at. What is not on the current
    checklist has no section and description.
    """

    inspection_type_id: str
    inspection_type_name: str | None
    item: str
    section: str | None
    description: str | None
    inspections: int
    failures: int


class HotSpots(Shown):
    """Items that failed, the most often first."""

    items: list[HotSpot]


class SpotsWanted(BaseModel):
    """Of which inspection type; of all, if none is named."""

    model_config = ConfigDict(extra="forbid")

    type: str | None = None


@router.get("/hot-spots", response_model=HotSpots)
async def hot_spots(ask: Officials, wanted: Annotated[SpotsWanted, Query()]) -> Response:
    """Which items fail most often; at most 100 of them."""

    def show(rows: Sequence[tuple[Any, ...]]) -> Mapping[str, Any]:
        return {"items": [dict(zip(SPOT, row, strict=True)) for row in rows]}

    parameters = {"type": wanted.type, "most": MOST_SPOTS}
    return await ask.computed("inspections", HOT_SPOTS, parameters, show, max_age=60, shown_by=())
