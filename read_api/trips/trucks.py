"""Trucks: `GET /trucks`, `GET /trucks/{id}`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from read_api.listing import Filter, Listing, Page, Paging, Shown
from read_api.trips.roles import ROAD, Road

router = APIRouter(tags=["trucks"])

ITEM = """json_build_object('id', t.id, 'number', t.number, 'plate', t.plate, 'status', t.status,
    'capacity_m3', t.capacity_m3::text, 'net_capacity_m3', t.net_capacity_m3::text,
    'maintenance_reason', t.maintenance_reason, 'trip_id', t.trip_id, 'version', t.version)"""


class Truck(Shown):
    """A truck; capacities are cubic metres, `trip_id` is the started trip that holds it."""

    id: str
    number: str
    plate: str
    status: Literal["active", "inactive", "maintenance"]
    capacity_m3: str | None
    net_capacity_m3: str | None
    maintenance_reason: str | None
    trip_id: str | None
    version: int


class Wanted(Paging):
    """Which trucks."""

    status: Literal["active", "inactive", "maintenance"] | None = None


TRUCKS = Listing(
    name="trucks",
    scope=ROAD,
    context="trips",
    view="trucks",
    wanted=Wanted,
    item=ITEM,
    shown=Truck,
    order=("t.number", "t.id"),
    filters={"status": Filter("status")},
)


@router.get("/trucks", response_model=Page[Truck])
async def trucks(ask: Road, wanted: Annotated[Wanted, Query()]) -> Response:
    """Trucks by number."""
    return await ask.page(TRUCKS, wanted)


@router.get("/trucks/{id}", response_model=Truck)
async def truck(ask: Road, id: str) -> Response:
    """One truck."""
    statement = f"select t.version, ({ITEM})::text from {{schema}}.trucks t where t.id = %(id)s"
    return await ask.one("trips", statement, {"id": id})
