"""Checks: `GET /checks`, `GET /inspections/{id}/checks`, `GET /conflicts`, `GET /held-checks`."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from domain.inspections.checks import CheckStatus, Clash, Merge, Resolution
from read_api.inspections.checklists import ItemShown
from read_api.listing import Filter, Listing, Page, Paging, Shown
from read_api.paddock import PADDOCK, Paddock, named

router = APIRouter(tags=["checks"])

ITEM = f"""json_build_object('inspection_id', t.inspection_id, 'item', t.item, 'team_id', t.team_id,
    'section', t.section, 'required', t.required, 'on_sheet', t.on_sheet, 'ad_hoc', t.ad_hoc,
    'revision', t.revision, 'status', t.status, 'comment', t.comment, 'by', t.by, 'by_name', {named("t.by")},
    'at', t.at, 'merge', t.merge, 'locked', t.locked, 'locked_by', t.locked_by, 'conflicts', t.conflicts,
    'follow_up_id', t.inspection_id || '.' || t.defect, 'position', t.position)"""


class Check(Shown):
    """What is said of an item. `revision` is what a check is based on; `conflicts` are its open ones; `merge` says how the last
    check was merged with others; `on_sheet` is false if the inspection's checklist has it no more; `position` is where this
    row changed last.
    """

    inspection_id: str
    item: str
    team_id: str
    section: str
    required: bool
    on_sheet: bool
    ad_hoc: ItemShown | None
    revision: int
    status: CheckStatus
    comment: str | None
    by: str | None
    by_name: str | None
    at: datetime | None
    merge: Merge | None
    locked: bool
    locked_by: str | None
    conflicts: int
    follow_up_id: str | None
    position: int


class LiveWanted(Paging):
    """Which checks, as they can be watched."""

    inspection: str | None = None
    status: CheckStatus | None = None


CHECKS = Listing(
    name="checks",
    scope=PADDOCK,
    context="inspections",
    view="checks",
    wanted=LiveWanted,
    item=ITEM,
    shown=Check,
    order=("t.inspection_id", "t.item"),
    filters={"inspection": Filter("inspection_id"), "status": Filter("status")},
    own=Filter("team_id", "in"),
)


class OfInspection(Paging):
    """Which checks of an inspection."""

    status: CheckStatus | None = None
    changed_after: int | None = Field(
        None, ge=0, le=2**63 - 1, description="Only what changed after this position, as an earlier answer has it"
    )


class Wanted(OfInspection):
    """Which checks."""

    inspection: str | None = None


CHANGED = replace(CHECKS, wanted=Wanted, filters={**CHECKS.filters, "changed_after": Filter("position", ">")})


@router.get("/checks", response_model=Page[Check])
async def checks(ask: Paddock, wanted: Annotated[Wanted, Query()]) -> Response:
    """What is said of items, over all inspections; a team sees its own."""
    return await ask.page(CHANGED, wanted)


@router.get("/inspections/{id}/checks", response_model=Page[Check])
async def checks_of_inspection(ask: Paddock, id: str, wanted: Annotated[OfInspection, Query()]) -> Response:
    """What is said of the items of an inspection; what nobody said anything of is not among them. A team sees its own."""
    return await ask.page(CHANGED, wanted, inspection=id)


CONFLICT = f"""json_build_object('inspection_id', t.inspection_id, 'number', t.number, 'status', t.status,
    'team_id', t.team_id, 'team_name', m.name, 'inspection_type_id', t.inspection_type_id,
    'inspection_type_name', k.name, 'item', t.item, 'section', s.section, 'clash', t.clash, 'base_value', t.base,
    'current_value', t.current, 'current_revision', t.current_revision, 'last_modified_by', t.current_by,
    'last_modified_by_name', {named("t.current_by")}, 'last_modified_at', t.current_at,
    'incoming_value', t.incoming, 'incoming_by', t.incoming_by, 'incoming_by_name', {named("t.incoming_by")},
    'incoming_at', t.incoming_at, 'found_at', t.found_at, 'resolution', t.resolution, 'resolved_value', t.resolved,
    'resolved_by', t.resolved_by, 'resolved_by_name', {named("t.resolved_by")}, 'resolved_at', t.resolved_at)"""
CONFLICT_JOINS = """left join {schema}.teams m on m.tenant_id = t.tenant_id and m.id = t.team_id
    left join {schema}.inspection_types k on k.tenant_id = t.tenant_id and k.id = t.inspection_type_id
    left join {schema}.checks s on s.tenant_id = t.tenant_id and s.inspection_id = t.inspection_id and s.item = t.item"""


class Value(Shown):
    """What somebody says of an item."""

    status: CheckStatus
    comment: str | None


class Conflict(Shown):
    """Two values of an item that exclude each other in the fields of `clash`: what holds for now and who said that, and what
    came in, from somebody who had seen `base_value`; once it is resolved, what was decided. Nobody may have said anything
    before of an item that was locked.
    """

    inspection_id: str
    number: int
    status: Literal["open", "resolved"]
    team_id: str
    team_name: str | None
    inspection_type_id: str
    inspection_type_name: str | None
    item: str
    section: str | None
    clash: list[Clash]
    base_value: Value
    current_value: Value
    current_revision: int
    last_modified_by: str | None
    last_modified_by_name: str | None
    last_modified_at: datetime | None
    incoming_value: Value
    incoming_by: str
    incoming_by_name: str | None
    incoming_at: datetime
    found_at: datetime
    resolution: Resolution | None
    resolved_value: Value | None
    resolved_by: str | None
    resolved_by_name: str | None
    resolved_at: datetime | None


class ConflictsWanted(Paging):
    """Which conflicts."""

    status: Literal["open", "resolved"] | None = None
    team: str | None = None
    inspection: str | None = None


CONFLICTS = Listing(
    name="conflicts",
    scope=PADDOCK,
    context="inspections",
    view="conflicts",
    wanted=ConflictsWanted,
    item=CONFLICT,
    shown=Conflict,
    joins=CONFLICT_JOINS,
    order=("t.found_at", "t.inspection_id", "t.number"),
    descending=True,
    filters={"status": Filter("status"), "team": Filter("team_id"), "inspection": Filter("inspection_id")},
    own=Filter("team_id", "in"),
)


@router.get("/conflicts", response_model=Page[Conflict])
async def conflicts(ask: Paddock, wanted: Annotated[ConflictsWanted, Query()]) -> Response:
    """The conflict inbox: where people contradict each other, over all inspections, the latest first; a team sees its own."""
    return await ask.page(CONFLICTS, wanted)


HELD = f"""json_build_object('inspection_id', t.inspection_id, 'branch', t.branch, 'step', t.step,
    'team_id', t.team_id, 'item', t.item, 'status', t.status, 'comment', t.comment, 'based_on', t.based_on,
    'by', t.by, 'by_name', {named("t.by")}, 'at', t.at, 'held_at', t.held_at)"""


class HeldCheck(Shown):
    """A check that was made offline, as a step of its device's branch, and waits since `held_at` for those before it."""

    inspection_id: str
    branch: str
    step: int
    team_id: str
    item: str
    status: CheckStatus
    comment: str | None
    based_on: int
    by: str
    by_name: str | None
    at: datetime
    held_at: datetime


class HeldWanted(Paging):
    """Of which inspection."""

    inspection: str | None = None


HELD_CHECKS = Listing(
    name="held-checks",
    scope=PADDOCK,
    context="inspections",
    view="held_checks",
    wanted=HeldWanted,
    item=HELD,
    shown=HeldCheck,
    order=("t.held_at", "t.inspection_id", "t.branch", "t.step"),
    filters={"inspection": Filter("inspection_id")},
    own=Filter("team_id", "in"),
)


@router.get("/held-checks", response_model=Page[HeldCheck])
async def held_checks(ask: Paddock, wanted: Annotated[HeldWanted, Query()]) -> Response:
    """Checks that wait for earlier ones of their device, the longest waiting first; a team sees its own."""
    return await ask.page(HELD_CHECKS, wanted)
