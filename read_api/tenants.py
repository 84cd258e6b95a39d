"""Organisations: `GET /tenants/{id}`."""

from __future__ import annotations

from datetime import date

from fastapi import APIRouter, Response

from read_api.kernel import Anybody
from read_api.listing import Shown

router = APIRouter(tags=["tenants"])

ITEM = """json_build_object('id', t.id, 'name', t.name, 'currency', t.currency, 'gps_days', t.gps_days,
    'time_zones', t.zones, 'version', t.version)"""


class Zone(Shown):
    """From this local date on, days follow this time zone (0001-01-01: from the beginning)."""

    from_date: date
    time_zone: str


class Tenant(Shown):
    """An organisation; raw GPS fixes are kept for `gps_days` whole days after the UTC day on which they arrived."""

    id: str
    name: str
    currency: str
    gps_days: int
    time_zones: list[Zone]
    version: int


@router.get("/tenants/{id}", response_model=Tenant)
async def tenant(ask: Anybody, id: str) -> Response:
    """Your organisation."""
    statement = f"select t.version, ({ITEM})::text from {{schema}}.tenants t where t.id = %(id)s"
    return await ask.one("tenants", statement, {"id": id}, max_age=300)
