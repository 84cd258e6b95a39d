"""The fleet at a glance: `GET /fleet/dashboard`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import msgspec
from fastapi import APIRouter, Response

from infra.web.problems import NO_SUCH_RECORD, ProblemError
from read_api.listing import Listing, Paging, Shown
from read_api.trips.roles import ROAD, Office

router = APIRouter(tags=["fleet"])

# Today is the local date by the time zone that is in force on it. Payroll lines are rounded once each, half to even.
ITEM = """json_build_object('today', n.today, 'active_trucks', t.active_trucks, 'drivers_on_duty', t.drivers_on_duty,
    'active_trips', t.active_trips, 'trips_today', coalesce(y.trips, 0),
    'distance_today_km', round(coalesce(y.distance_mm, 0) / 1000000.0, 3),
    'total_distance_km', round(t.distance_mm / 1000000.0, 3),
    'payroll_today', json_build_object('currency', t.currency, 'amount_minor', (
        select coalesce(sum(case when abs(x - trunc(x)) = 0.5 then 2 * round(x / 2) else round(x) end), 0)
          from (select count(*) * p.rate_minor * p.volume as x from {schema}.pay p
                 where p.tenant_id = t.tenant_id and p.day = n.today and p.unpriced is null
                 group by p.driver_id, p.to_site_id, p.rate_minor, p.rate_currency, p.rate_unit, p.volume) line)),
    'drivers', (
        select coalesce(json_agg(json_build_object('driver_id', v.id, 'driver_name', v.name, 'duty', v.duty,
                   'trip_id', v.trip_id, 'trips_completed', coalesce(o.trips, 0),
                   'distance_km', round(coalesce(o.distance_mm, 0) / 1000000.0, 3),
                   'off_trip_km', round(coalesce(o.off_trip_mm, 0) / 1000000.0, 3)) order by v.name, v.id), '[]')
          from {schema}.drivers v
          left join {schema}.driver_days o on o.tenant_id = v.tenant_id and o.driver_id = v.id and o.day = n.today
         where v.tenant_id = t.tenant_id and (v.duty = 'on' or o.day is not null)))"""
JOINS = """cross join lateral (
        select (now() at time zone z.time_zone)::date as today
          from jsonb_to_recordset(t.zones) z(from_date date, time_zone text)
         where z.from_date <= (now() at time zone z.time_zone)::date order by z.from_date desc limit 1) n
    left join {schema}.fleet_days y on y.tenant_id = t.tenant_id and y.day = n.today"""


class DriverToday(Shown):
    """What a driver who is on duty, or was moving, did today."""

    driver_id: str
    driver_name: str
    duty: str
    trip_id: str | None
    trips_completed: int
    distance_km: float
    off_trip_km: float


class Money(Shown):
    """An amount in minor units of a currency (ISO 4217)."""

    amount_minor: int
    currency: str


class Dashboard(Shown):
    """The organisation's counters; today is its local date. Distances are kilometres driven on trips."""

    today: date
    active_trucks: int
    drivers_on_duty: int
    active_trips: int
    trips_today: int
    distance_today_km: float
    total_distance_km: float
    payroll_today: Money
    drivers: list[DriverToday]


DASHBOARD = Listing(
    name="dashboard",
    scope=ROAD,
    context="trips",
    view="fleet",
    wanted=Paging,
    item=ITEM,
    shown=Dashboard,
    joins=JOINS,
    order=("t.name",),
    whole=True,
)


@router.get("/fleet/dashboard", response_model=Dashboard)
async def dashboard(ask: Office) -> Response:
    """The fleet as of now, and today's totals of each driver."""

    def show(rows: Sequence[tuple[Any, ...]]) -> Any:
        if not rows:
            raise ProblemError(NO_SUCH_RECORD, "This organisation is not open yet.")
        return msgspec.Raw(rows[0][0].encode())

    statement = f"select ({ITEM})::text from {{schema}}.fleet t {JOINS}"
    return await ask.computed("trips", statement, {}, show, max_age=30, shown_by=())
