"""Trips: `GET /trips`, `GET /trips/{id}`, `GET /compliance`."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from read_api.listing import Filter, Listing, Page, Paging, Shown
from read_api.trips.roles import ROAD, Office, Road

router = APIRouter(tags=["trips"])

Status = Literal["scheduled", "started", "completed", "cancelled"]
ITEM = """json_build_object('id', t.id, 'status', t.status, 'date', t.date,
    'driver_id', t.driver_id, 'driver_name', d.name, 'truck_id', t.truck_id, 'truck_number', k.number,
    'from_site_id', t.from_site_id, 'from_site_name', f.name, 'to_site_id', t.to_site_id, 'to_site_name', s.name,
    'started_at', t.started_at, 'ended_at', t.ended_at, 'completed_on', t.completed_on,
    'odometer_start_km', t.odometer_start_km, 'odometer_end_km', t.odometer_end_km,
    'distance_km', round(t.distance_mm / 1000000.0, 3), 'dwell_seconds', t.dwell_seconds,
    'fixes', t.fixes, 'fixes_rejected', t.fixes_rejected,
    'load', case when t.load_quantity is not null then json_build_object('quantity', t.load_quantity::text,
        'unit', t.load_unit, 'receipt_number', t.receipt_number, 'evidence', t.evidence) end,
    'compliance', t.compliance, 'compliance_note', t.compliance_note, 'cancel_reason', t.cancel_reason,
    'corrections', (select coalesce(json_agg(json_build_object('at', c.at,
            'from_km', round(c.from_mm / 1000000.0, 3), 'to_km', round(c.to_mm / 1000000.0, 3),
            'late_fixes', c.late_fixes, 'text', format('%%s -> %%s km: %%s', round(c.from_mm / 1000000.0, 1),
                round(c.to_mm / 1000000.0, 1), case c.late_fixes when 0 then 'fixes arrived after the end'
                when 1 then '1 fix arrived late' else c.late_fixes || ' fixes arrived late' end))), '[]')
        from jsonb_to_recordset(t.corrections) c(at timestamptz, from_mm bigint, to_mm bigint, late_fixes bigint)),
    'track_erased_until', t.track_erased_until, 'version', t.version)"""
JOINS = """left join {schema}.drivers d on d.tenant_id = t.tenant_id and d.id = t.driver_id
    left join {schema}.trucks k on k.tenant_id = t.tenant_id and k.id = t.truck_id
    left join {schema}.sites f on f.tenant_id = t.tenant_id and f.id = t.from_site_id
    left join {schema}.sites s on s.tenant_id = t.tenant_id and s.id = t.to_site_id"""


class Load(Shown):
    """What was brought, by its receipt."""

    quantity: str
    unit: Literal["m3", "t"]
    receipt_number: str
    evidence: str | None


class Correction(Shown):
    """How fixes that came late changed the distance."""

    at: datetime
    from_km: float
    to_km: float
    late_fixes: int
    text: str


class Trip(Shown):
    """A trip; distances are kilometres to the metre."""

    id: str
    status: Status
    completed_on: date | None
    date: date
    driver_id: str
    driver_name: str | None
    truck_id: str
    truck_number: str | None
    from_site_id: str | None
    from_site_name: str | None
    to_site_id: str | None
    to_site_name: str | None
    started_at: datetime | None
    ended_at: datetime | None
    odometer_start_km: int | None
    odometer_end_km: int | None
    distance_km: float
    dwell_seconds: int
    fixes: int
    fixes_rejected: int
    load: Load | None
    compliance: Literal["compliant", "needs_review", "non_compliant"] | None
    compliance_note: str | None
    cancel_reason: str | None
    corrections: list[Correction]
    track_erased_until: datetime | None
    version: int


class Wanted(Paging):
    """Which trips."""

    status: Status | None = None
    from_date: date | None = Field(None, alias="from", description="First date")
    to_date: date | None = Field(None, alias="to", description="Last date")
    driver: str | None = None
    truck: str | None = None


TRIPS = Listing(
    name="trips",
    scope=ROAD,
    context="trips",
    view="trips",
    wanted=Wanted,
    item=ITEM,
    shown=Trip,
    joins=JOINS,
    order=("t.date", "t.id"),
    descending=True,
    filters={
        "status": Filter("status"),
        "from": Filter("date", ">="),
        "to": Filter("date", "<="),
        "driver": Filter("driver_id"),
        "truck": Filter("truck_id"),
    },
    own=Filter("driver_id", "in"),
)


@router.get("/trips", response_model=Page[Trip])
async def trips(ask: Road, wanted: Annotated[Wanted, Query()]) -> Response:
    """Trips, newest first; a driver sees his own."""
    return await ask.page(TRIPS, wanted)


@router.get("/trips/{id}", response_model=Trip)
async def trip(ask: Road, id: str) -> Response:
    """One trip; a driver sees his own."""
    statement = f"""select t.version, ({ITEM})::text from {{schema}}.trips t {JOINS}
        where t.id = %(id)s and (%(all)s or d."user" = %(subject)s)"""
    parameters = {"id": id, "all": ask.sees_all(ROAD), "subject": ask.principal.actor.subject}
    return await ask.one("trips", statement, parameters)


class Check(Shown):
    """A completed trip and how it was flagged, if it was."""

    trip_id: str
    completed_on: date
    date: date
    driver_id: str
    driver_name: str | None
    truck_id: str
    compliance: Literal["compliant", "needs_review", "non_compliant"] | None
    note: str | None


class ChecksWanted(Paging):
    """Which checks."""

    due: bool | None = Field(None, description="true: not yet flagged; false: flagged")


CHECKS = Listing(
    name="compliance",
    scope=ROAD,
    context="trips",
    view="trips",
    wanted=ChecksWanted,
    item="""json_build_object('trip_id', t.id, 'date', t.date, 'completed_on', t.completed_on, 'driver_id', t.driver_id,
        'driver_name', d.name, 'truck_id', t.truck_id, 'compliance', t.compliance, 'note', t.compliance_note)""",
    shown=Check,
    joins="left join {schema}.drivers d on d.tenant_id = t.tenant_id and d.id = t.driver_id",
    order=("t.date", "t.id"),
    descending=True,
    filters={"status": Filter("status"), "due": Filter("compliance", "is null")},
    whole=True,
)


@router.get("/compliance", response_model=Page[Check])
async def compliance(ask: Office, wanted: Annotated[ChecksWanted, Query()]) -> Response:
    """Completed trips that are due to be checked, or were; newest first."""
    return await ask.page(CHECKS, wanted, status="completed")
