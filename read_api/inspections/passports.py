"""Passports: `GET /passports`, `GET /teams/{id}/passport`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Response

from domain.inspections.passports import ApprovalStatus, Result
from domain.people import VehicleClass
from infra.web.problems import NO_SUCH_RECORD, ProblemError
from read_api.listing import Filter, Listing, Page, Paging, Shown
from read_api.paddock import PADDOCK, SEEN, Paddock, seeing

router = APIRouter(tags=["passports"])

ITEM = """json_build_object('team_id', t.team_id, 'team_name', m.name, 'team_code', m.code, 'team_number', m.number,
    'inspection_type_id', t.inspection_type_id, 'inspection_type_name', k.name, 'status', t.status,
    'result', t.result, 'inspection_id', t.inspection_id, 'at', t.at, 'reason', t.reason, 'because', t.because)"""
JOINS = """left join {schema}.teams m on m.tenant_id = t.tenant_id and m.id = t.team_id
    left join {schema}.inspection_types k on k.tenant_id = t.tenant_id and k.id = t.inspection_type_id"""


class Approval(Shown):
    """How a team's car stands in a test, by which inspection, and since when; `because` is the test before it that is not passed
    any more, `reason` why it was revoked.
    """

    team_id: str
    team_name: str | None
    team_code: str | None
    team_number: int | None
    inspection_type_id: str
    inspection_type_name: str | None
    status: ApprovalStatus
    result: Result | None
    inspection_id: str
    at: datetime
    reason: str | None
    because: str | None


class Wanted(Paging):
    """Which approvals."""

    team: str | None = None
    type: str | None = None
    status: ApprovalStatus | None = None


PASSPORTS = Listing(
    name="passports",
    scope=PADDOCK,
    context="inspections",
    view="passports",
    wanted=Wanted,
    item=ITEM,
    shown=Approval,
    joins=JOINS,
    order=("t.team_id", "t.inspection_type_id"),
    filters={"team": Filter("team_id"), "type": Filter("inspection_type_id"), "status": Filter("status")},
    own=Filter("team_id", "in"),
)


@router.get("/passports", response_model=Page[Approval])
async def passports(ask: Paddock, wanted: Annotated[Wanted, Query()]) -> Response:
    """How every car stands in every test that it was judged in; a team sees its own."""
    return await ask.page(PASSPORTS, wanted)


# What is asked of a car of its class, and what it was judged in that is not asked any more.
PASSPORT = f"""select json_build_object('team_id', t.team_id, 'team_name', t.name, 'team_code', t.code,
        'team_number', t.number, 'vehicle_class', t.vehicle_class, 'tests', (
        select coalesce(json_agg(json_build_object('inspection_type_id', k.id, 'inspection_type_name', k.name,
                   'status', coalesce(a.status, 'open'), 'result', a.result, 'inspection_id', a.inspection_id,
                   'at', a.at, 'reason', a.reason, 'because', a.because,
                   'blocked_by', case when a.status is distinct from 'passed' then b.tests else '[]' end,
                   'booking', u.booking) order by k.name, k.id), '[]')
          from {{schema}}.inspection_types k
          cross join lateral jsonb_to_recordset(k.classes) c(vehicle_class text, prerequisites jsonb)
          left join {{schema}}.passports a
            on a.tenant_id = t.tenant_id and a.team_id = t.team_id and a.inspection_type_id = k.id
          cross join lateral (
              select coalesce(json_agg(json_build_object('inspection_type_id', n.id, 'inspection_type_name', n.name,
                         'status', coalesce(d.status, 'open')) order by n.name, n.id), '[]') as tests
                from {{schema}}.inspection_types n
                left join {{schema}}.passports d
                  on d.tenant_id = t.tenant_id and d.team_id = t.team_id and d.inspection_type_id = n.id
               where n.tenant_id = t.tenant_id and c.prerequisites ? n.id
                 and d.status is distinct from 'passed') b
          left join lateral (
              select json_build_object('id', o.id, 'status', o.status, 'day', o.day, 'lane', o.lane,
                         'starts_at', o.starts_at, 'ends_at', o.ends_at) as booking
                from {{schema}}.bookings o
               where o.tenant_id = t.tenant_id and o.team_id = t.team_id and o.inspection_type_id = k.id
                 and (o.status in ('confirmed', 'checked_in', 'ongoing')
                      or o.status = 'requested' and o.held_until > now())
               order by o.starts_at, o.id limit 1) u on true
         where k.tenant_id = t.tenant_id and c.vehicle_class = t.vehicle_class
           and (k.status = 'offered' or a.status is not null)))::text
    from (select m.tenant_id, m.id as team_id, m.name, m.code, m.number, m.vehicle_class from {{schema}}.teams m
           where m.id = %(id)s) t
    where {SEEN}"""


class Before(Shown):
    """A test that has to be passed before, and is not."""

    inspection_type_id: str
    inspection_type_name: str
    status: Literal["open", "failed", "revoked", "reopened"]


class Upcoming(Shown):
    """When the team comes for it next."""

    id: str
    status: Literal["requested", "confirmed", "checked_in", "ongoing"]
    day: date
    lane: int
    starts_at: datetime
    ends_at: datetime


class Test(Shown):
    """How the car stands in a test, what blocks it, and when the team comes for it."""

    inspection_type_id: str
    inspection_type_name: str
    status: Literal["open", "passed", "failed", "revoked", "reopened"]
    result: Result | None
    inspection_id: str | None
    at: datetime | None
    reason: str | None
    because: str | None
    blocked_by: list[Before]
    booking: Upcoming | None


class Passport(Shown):
    """Every test that is asked of a team's car."""

    team_id: str
    team_name: str
    team_code: str
    team_number: int | None
    vehicle_class: VehicleClass
    tests: list[Test]


@router.get("/teams/{id}/passport", response_model=Passport)
async def passport(ask: Paddock, id: str) -> Response:
    """Which tests a team's car has passed, which are open, and what blocks them; a team sees its own."""

    def show(rows: Sequence[tuple[Any, ...]]) -> Any:
        if not rows:
            raise ProblemError(NO_SUCH_RECORD)
        return msgspec.Raw(rows[0][0].encode())

    return await ask.computed("inspections", PASSPORT, {"id": id, **seeing(ask)}, show, max_age=30, shown_by=())
