"""Sites: `GET /sites`, `GET /sites/{id}`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from read_api.listing import Filter, Listing, Page, Paging, Shown
from read_api.trips.roles import ROAD, Road

router = APIRouter(tags=["sites"])

ITEM = """json_build_object('id', t.id, 'name', t.name, 'address', t.address, 'latitude', t.latitude,
    'longitude', t.longitude, 'status', t.status, 'version', t.version, 'rate', case when t.rate_minor is not null then
    json_build_object('amount_minor', t.rate_minor, 'currency', t.rate_currency, 'unit', t.rate_unit) end)"""


class Rate(Shown):
    """What one unit brought here is paid, in minor units."""

    amount_minor: int
    currency: str
    unit: Literal["m3", "t"]


class Site(Shown):
    """A place where trucks load or unload, with the rate that was set last."""

    id: str
    name: str
    address: str | None
    latitude: float
    longitude: float
    status: Literal["open", "closed"]
    version: int
    rate: Rate | None


class Wanted(Paging):
    """Which sites."""

    status: Literal["open", "closed"] | None = None


SITES = Listing(
    name="sites",
    scope=ROAD,
    context="trips",
    view="sites",
    wanted=Wanted,
    item=ITEM,
    shown=Site,
    order=("t.name", "t.id"),
    filters={"status": Filter("status")},
    max_age=60,
)


@router.get("/sites", response_model=Page[Site])
async def sites(ask: Road, wanted: Annotated[Wanted, Query()]) -> Response:
    """Sites by name."""
    return await ask.page(SITES, wanted)


@router.get("/sites/{id}", response_model=Site)
async def site(ask: Road, id: str) -> Response:
    """One site."""
    statement = f"select t.version, ({ITEM})::text from {{schema}}.sites t where t.id = %(id)s"
    return await ask.one("trips", statement, {"id": id}, max_age=60)
