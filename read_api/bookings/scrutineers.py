"""Those who inspect: `GET /scrutineers`, `GET /bookings/{id}/scrutineers`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import Field

from domain.bookings.bookings import BookingStatus
from domain.people import INSPECTORS, PersonRole
from infra.web.problems import NO_SUCH_RECORD, ProblemError
from read_api.bookings.bookings import Assigned
from read_api.bookings.calendar import TODAY
from read_api.listing import Filter, Listing, Page, Paging, Shown
from read_api.paddock import PADDOCK, Officials

router = APIRouter(tags=["scrutineers"])

ITEM = """json_build_object('id', t.id, 'name', t.name, 'roles', t.roles, 'day', w.day, 'availability', v.spans,
    'bookings', coalesce(o.bookings, '[]'), 'assigned_minutes', coalesce(o.minutes, 0),
    'present', coalesce(o.present, 0))"""
JOINS = """cross join {day} w
    left join {schema}.availability v on v.tenant_id = t.tenant_id and v.person_id = t.id and v.day = w.day
    left join lateral (
        select json_agg(json_build_object('id', b.id, 'status', b.status, 'team_id', b.team_id, 'team_name', m.name,
                   'inspection_type_id', b.inspection_type_id, 'inspection_type_name', k.name,
                   'starts_at', b.starts_at, 'ends_at', b.ends_at) order by b.starts_at, b.id) as bookings,
               floor(sum(extract(epoch from b.ends_at - b.starts_at)) / 60)::bigint as minutes,
               count(*) filter (where b.status in ('checked_in', 'ongoing')) as present
          from {schema}.assignments a
          join {schema}.bookings b on b.tenant_id = a.tenant_id and b.id = a.booking_id
          left join {schema}.teams m on m.tenant_id = b.tenant_id and m.id = b.team_id
          left join {schema}.inspection_types k on k.tenant_id = b.tenant_id and k.id = b.inspection_type_id
         where a.tenant_id = t.tenant_id and a.person_id = t.id and b.day = w.day
           and b.status not in ('cancelled', 'no_show', 'expired')) o on true"""


class Span(Shown):
    """A stretch of time, its end not included."""

    starts_at: datetime
    ends_at: datetime


class AssignedBooking(Shown):
    """A booking that somebody is to inspect."""

    id: str
    status: BookingStatus
    team_id: str
    team_name: str | None
    inspection_type_id: str
    inspection_type_name: str | None
    starts_at: datetime
    ends_at: datetime


class ScrutineerDay(Shown):
    """When a scrutineer has time on a local date (None: he has not said), and what he has to do; `present` are the bookings
    whose cars are there and not done.
    """

    id: str
    name: str
    roles: list[PersonRole]
    day: date
    availability: list[Span] | None
    bookings: list[AssignedBooking]
    assigned_minutes: int
    present: int


class Wanted(Paging):
    """On which day."""

    day: date | None = Field(None, description="Local date; today, if none is given")


SCRUTINEERS = Listing(
    name="scrutineers",
    scope=PADDOCK,
    context="inspections",
    view="people",
    wanted=Wanted,
    item=ITEM,
    shown=ScrutineerDay,
    joins=JOINS,
    order=("t.name", "t.id"),
    filters={"roles": Filter("roles", "has any"), "status": Filter("status")},
    whole=True,
)


@router.get("/scrutineers", response_model=Page[ScrutineerDay])
async def scrutineers(ask: Officials, wanted: Annotated[Wanted, Query()]) -> Response:
    """Whoever may be assigned to bookings, by name: availability and workload on a day."""
    today = f"(select n.today as day from {TODAY})"
    day = today if wanted.day is None else f"(select date '{wanted.day.isoformat()}' as day)"
    listing = replace(SCRUTINEERS, joins=JOINS.replace("{day}", day))
    return await ask.page(listing, wanted, roles=sorted(INSPECTORS), status="active")


OF_BOOKING = """select json_build_object('booking_id', b.id, 'assigned', (
        select coalesce(json_agg(json_build_object('person_id', a.person_id, 'name', p.name,
                   'assigned_at', a.assigned_at, 'assigned_by', a.assigned_by) order by a.assigned_at, a.person_id), '[]')
          from {schema}.assignments a
          left join {schema}.people p on p.tenant_id = a.tenant_id and p.id = a.person_id
         where a.tenant_id = b.tenant_id and a.booking_id = b.id), 'available', (
        select coalesce(json_agg(json_build_object('person_id', p.id, 'name', p.name, 'roles', p.roles)
                   order by p.name, p.id), '[]')
          from {schema}.people p
          join {schema}.availability v on v.tenant_id = p.tenant_id and v.person_id = p.id and v.day = b.day
         where p.tenant_id = b.tenant_id and p.status = 'active'
           and p.roles ?| array['scrutineer', 'inspection_responsible']
           and (select range_agg(tstzrange(s.starts_at, s.ends_at))
                  from jsonb_to_recordset(v.spans) s(starts_at timestamptz, ends_at timestamptz))
               @> tstzrange(b.starts_at, b.ends_at)
           and not exists (
               select from {schema}.assignments a
                 join {schema}.bookings o on o.tenant_id = a.tenant_id and o.id = a.booking_id
                where a.tenant_id = p.tenant_id and a.person_id = p.id and (o.id = b.id
                   or (o.starts_at < b.ends_at and b.starts_at < o.ends_at
                       and (o.status in ('confirmed', 'checked_in', 'ongoing')
                            or (o.status = 'requested' and o.held_until > now())))))))::text
    from {schema}.bookings b where b.id = %(id)s"""


class Available(Shown):
    """Somebody who could inspect a booking."""

    person_id: str
    name: str
    roles: list[PersonRole]


class Scrutineers(Shown):
    """Who is to inspect a booking, and who else could: has said to have time, and nothing else to inspect then."""

    booking_id: str
    assigned: list[Assigned]
    available: list[Available]


@router.get("/bookings/{id}/scrutineers", response_model=Scrutineers)
async def of_booking(ask: Officials, id: str) -> Response:
    """Who is to inspect a booking, and who else could."""

    def show(rows: Sequence[tuple[Any, ...]]) -> Any:
        if not rows:
            raise ProblemError(NO_SUCH_RECORD)
        return msgspec.Raw(rows[0][0].encode())

    return await ask.computed("inspections", OF_BOOKING, {"id": id}, show, max_age=30, shown_by=())
