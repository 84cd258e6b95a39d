"""Drivers and where they are: `GET /drivers`, `GET /drivers/{id}`, `GET /locations/latest`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from read_api.listing import Filter, Listing, Page, Paging, Shown
from read_api.trips.roles import ROAD, Road

router = APIRouter(tags=["drivers"])

ITEM = """json_build_object('id', t.id, 'name', t.name, 'phone', t.phone, 'user', t."user", 'duty', t.duty,
    'leave_until', t.leave_until, 'truck_id', t.truck_id, 'truck_number', k.number, 'tracking_enabled', t.tracking,
    'trip_id', t.trip_id, 'version', t.version)"""
JOINS = "left join {schema}.trucks k on k.tenant_id = t.tenant_id and k.id = t.truck_id"


class Driver(Shown):
    """A driver; a name that was erased is empty. `trip_id` is the started trip that holds him."""

    id: str
    name: str
    phone: str | None
    user: str | None
    duty: Literal["off", "on", "leave"]
    leave_until: date | None
    truck_id: str | None
    truck_number: str | None
    tracking_enabled: bool
    trip_id: str | None
    version: int


class Wanted(Paging):
    """Which drivers."""

    duty: Literal["off", "on", "leave"] | None = None


DRIVERS = Listing(
    name="drivers",
    scope=ROAD,
    context="trips",
    view="drivers",
    wanted=Wanted,
    item=ITEM,
    shown=Driver,
    joins=JOINS,
    order=("t.name", "t.id"),
    filters={"duty": Filter("duty")},
    own=Filter("id", "in"),
)


@router.get("/drivers", response_model=Page[Driver])
async def drivers(ask: Road, wanted: Annotated[Wanted, Query()]) -> Response:
    """Drivers by name; a driver sees himself."""
    return await ask.page(DRIVERS, wanted)


@router.get("/drivers/{id}", response_model=Driver)
async def driver(ask: Road, id: str) -> Response:
    """One driver; a driver sees himself."""
    statement = f"""select t.version, ({ITEM})::text from {{schema}}.drivers t {JOINS}
        where t.id = %(id)s and (%(all)s or t."user" = %(subject)s)"""
    parameters = {"id": id, "all": ask.sees_all(ROAD), "subject": ask.principal.actor.subject}
    return await ask.one("trips", statement, parameters)


LOCATION = """json_build_object('driver_id', t.driver_id, 'driver_name', d.name, 'trip_id', t.trip_id, 'at', t.at,
    'seconds_since', floor(extract(epoch from now() - t.at))::bigint, 'latitude', t.latitude, 'longitude', t.longitude,
    'accuracy_m', t.accuracy_m, 'speed_kmh', t.speed_kmh, 'heading', t.heading)"""
LOCATION_JOINS = "left join {schema}.drivers d on d.tenant_id = t.tenant_id and d.id = t.driver_id"


class Location(Shown):
    """The newest fix of a driver that counted: WGS84 degrees, metres, km/h, degrees; `seconds_since` by this service's clock."""

    driver_id: str
    driver_name: str | None
    trip_id: str | None
    at: datetime
    seconds_since: int
    latitude: float
    longitude: float
    accuracy_m: float | None
    speed_kmh: float | None
    heading: float | None


class LocationsWanted(Paging):
    """Whose locations."""

    driver: str | None = None


LOCATIONS = Listing(
    name="locations",
    scope=ROAD,
    context="trips",
    view="locations",
    wanted=LocationsWanted,
    item=LOCATION,
    shown=Location,
    joins=LOCATION_JOINS,
    order=("t.driver_id",),
    filters={"driver": Filter("driver_id")},
    own=Filter("driver_id", "in"),
    max_age=5,
)


@router.get("/locations/latest", response_model=Page[Location])
async def latest_locations(ask: Road, wanted: Annotated[LocationsWanted, Query()]) -> Response:
    """Where each tracked driver was last; a driver sees himself."""
    return await ask.page(LOCATIONS, wanted)
