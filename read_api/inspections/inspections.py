"""Inspections: `GET /inspections`, `GET /inspections/{id}`, `GET /inspections/{id}/sections`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Query, Response

from domain.inspections.inspections import InspectionStatus
from domain.inspections.passports import Result
from domain.people import VehicleClass
from read_api.listing import Filter, Listing, Page, Paging, Shown
from read_api.paddock import PADDOCK, Paddock

router = APIRouter(tags=["inspections"])

PROGRESS = """'items', t.items, 'required', t.required, 'passed', t.passed, 'failed', t.failed,
    'not_applicable', t.not_applicable, 'open', t.open, 'open_required', t.open_required, 'conflicts', t.conflicts"""
ITEM = f"""json_build_object('id', t.id, 'status', t.status,
    'team_id', t.team_id, 'team_name', m.name, 'team_code', m.code, 'team_number', m.number,
    'vehicle_class', t.vehicle_class, 'inspection_type_id', t.inspection_type_id, 'inspection_type_name', k.name,
    'rescrutineering', t.rescrutineering, 'checklist_version', t.checklist_version,
    'prepared_at', t.prepared_at, 'started_at', t.started_at, 'ended_at', t.ended_at, 'seconds', t.seconds,
    'suspended_reason', t.suspended_reason, 'reopened_reason', t.reopened_reason, 'result', t.result, 'notes', t.notes,
    'conditions', t.conditions, 'reasons', t.reasons, 'next_steps', t.next_steps,
    'progress', json_build_object({PROGRESS}, 'ad_hoc', t.ad_hoc, 'held', t.held),
    'feedback', case when t.feedback is not null then json_build_object('score', t.feedback,
        'comment', t.feedback_comment) end,
    'version', t.version)"""
JOINS = """left join {schema}.teams m on m.tenant_id = t.tenant_id and m.id = t.team_id
    left join {schema}.inspection_types k on k.tenant_id = t.tenant_id and k.id = t.inspection_type_id"""


class Counts(Shown):
    """How many items there are, by what is said of them, and how many of their conflicts are open."""

    items: int
    required: int
    passed: int
    failed: int
    not_applicable: int
    open: int
    open_required: int
    conflicts: int


class Progress(Counts):
    """How far a whole inspection is; `ad_hoc` items are among the others, `held` checks wait for earlier ones."""

    ad_hoc: int
    held: int


class Feedback(Shown):
    """How the team says it was inspected: 1 (badly) to 5 (well)."""

    score: int
    comment: str | None


class Inspection(Shown):
    """An inspection (its id is that of its booking); `seconds` are those of work until it was completed."""

    id: str
    status: InspectionStatus
    team_id: str
    team_name: str | None
    team_code: str | None
    team_number: int | None
    vehicle_class: VehicleClass
    inspection_type_id: str
    inspection_type_name: str | None
    rescrutineering: bool
    checklist_version: int | None
    prepared_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    seconds: int | None
    suspended_reason: str | None
    reopened_reason: str | None
    result: Result | None
    notes: str | None
    conditions: list[str]
    reasons: list[str]
    next_steps: list[str]
    progress: Progress
    feedback: Feedback | None
    version: int


class Wanted(Paging):
    """Which inspections."""

    status: InspectionStatus | None = None
    team: str | None = None
    type: str | None = None


INSPECTIONS = Listing(
    name="inspections",
    scope=PADDOCK,
    context="inspections",
    view="inspections",
    wanted=Wanted,
    item=ITEM,
    shown=Inspection,
    joins=JOINS,
    order=("t.prepared_at", "t.id"),
    descending=True,
    filters={"status": Filter("status"), "team": Filter("team_id"), "type": Filter("inspection_type_id")},
    own=Filter("team_id", "in"),
)


@router.get("/inspections", response_model=Page[Inspection])
async def inspections(ask: Paddock, wanted: Annotated[Wanted, Query()]) -> Response:
    """Inspections, the latest first; a team sees its own."""
    return await ask.page(INSPECTIONS, wanted)


@router.get("/inspections/{id}", response_model=Inspection)
async def inspection(ask: Paddock, id: str) -> Response:
    """One inspection; a team sees its own."""
    return await ask.record(INSPECTIONS, id)


class Section(Counts):
    """How far a section of an inspection's checklist is."""

    inspection_id: str
    section: str


class SectionsWanted(Paging):
    """Of which inspection."""

    inspection: str | None = None


SECTIONS = Listing(
    name="sections",
    scope=PADDOCK,
    context="inspections",
    view="sections",
    wanted=SectionsWanted,
    item=f"json_build_object('inspection_id', t.inspection_id, 'section', t.section, {PROGRESS})",
    shown=Section,
    order=("t.inspection_id", "t.place", "t.section"),
    filters={"inspection": Filter("inspection_id")},
    own=Filter("team_id", "in"),
)


@router.get("/inspections/{id}/sections", response_model=Page[Section])
async def sections(ask: Paddock, id: str, wanted: Annotated[Paging, Query()]) -> Response:
    """The checklist status of an inspection, section by section; a team sees its own."""
    return await ask.page(SECTIONS, wanted, inspection=id)
