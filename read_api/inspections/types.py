"""Inspection types: `GET /inspection-types`, `GET /inspection-types/{id}`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from domain.people import PersonRole, VehicleClass
from read_api.listing import Filter, Listing, Page, Paging, Shown
from read_api.paddock import PADDOCK, Paddock

router = APIRouter(tags=["inspection types"])

ITEM = """json_build_object('id', t.id, 'name', t.name, 'status', t.status, 'duration_minutes', t.duration_minutes,
    'lanes', t.lanes, 'buffer_minutes', t.buffer_minutes, 'notice_minutes', t.notice_minutes,
    'hold_minutes', t.hold_minutes, 'classes', t.classes, 'version', t.version)"""


class ClassRules(Shown):
    """What holds for cars of one class: the tests that must be passed before, and who of the team must be there."""

    vehicle_class: VehicleClass
    prerequisites: list[str]
    attendees: list[PersonRole]


class InspectionType(Shown):
    """A type of inspections and how they are held; cars of a class that is not named do not need it."""

    id: str
    name: str
    status: Literal["offered", "retired"]
    duration_minutes: int
    lanes: int
    buffer_minutes: int
    notice_minutes: int
    hold_minutes: int
    classes: list[ClassRules]
    version: int


class Wanted(Paging):
    """Which types."""

    status: Literal["offered", "retired"] | None = None


TYPES = Listing(
    name="inspection-types",
    scope=PADDOCK,
    context="inspections",
    view="inspection_types",
    wanted=Wanted,
    item=ITEM,
    shown=InspectionType,
    order=("t.name", "t.id"),
    filters={"status": Filter("status")},
    max_age=300,
)


@router.get("/inspection-types", response_model=Page[InspectionType])
async def inspection_types(ask: Paddock, wanted: Annotated[Wanted, Query()]) -> Response:
    """Inspection types by name."""
    return await ask.page(TYPES, wanted)


@router.get("/inspection-types/{id}", response_model=InspectionType)
async def inspection_type(ask: Paddock, id: str) -> Response:
    """One inspection type."""
    return await ask.record(TYPES, id)
