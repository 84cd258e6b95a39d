"""Bookings: `GET /bookings`, `GET /bookings/ongoing`, `GET /bookings/{id}`, `GET /slots`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from domain.bookings.bookings import BookingStatus
from domain.inspections.passports import Result
from domain.people import VehicleClass
from infra.web.problems import NO_SUCH_RECORD, ProblemError
from read_api.bookings.calendar import DAY, TODAY
from read_api.listing import Filter, Listing, Page, Paging, Shown
from read_api.paddock import PADDOCK, SEEN, Paddock, seeing

router = APIRouter(tags=["bookings"])

# A hold is over when its time is, not only when that has been noted.
ITEM = """json_build_object('id', t.id,
    'status', case when t.status = 'requested' and t.held_until <= now() then 'expired' else t.status end,
    'team_id', t.team_id, 'team_name', m.name, 'team_code', m.code, 'team_number', m.number,
    'vehicle_class', t.vehicle_class, 'inspection_type_id', t.inspection_type_id, 'inspection_type_name', k.name,
    'day', t.day, 'lane', t.lane, 'starts_at', t.starts_at, 'ends_at', t.ends_at, 'held_until', t.held_until,
    'priority', t.priority, 'rescrutineering', t.rescrutineering, 'notes', t.notes, 'requested_by', t.requested_by,
    'attendees', t.attendees, 'checked_in_at', t.checked_in_at, 'started_at', t.started_at, 'ended_at', t.ended_at,
    'seconds', t.seconds, 'result', t.result, 'cancel_reason', t.cancel_reason, 'scrutineers', (
        select coalesce(json_agg(json_build_object('person_id', a.person_id, 'name', p.name,
                   'assigned_at', a.assigned_at, 'assigned_by', a.assigned_by) order by a.assigned_at, a.person_id), '[]')
          from {schema}.assignments a
          left join {schema}.people p on p.tenant_id = a.tenant_id and p.id = a.person_id
         where a.tenant_id = t.tenant_id and a.booking_id = t.id), 'version', t.version)"""
JOINS = """left join {schema}.teams m on m.tenant_id = t.tenant_id and m.id = t.team_id
    left join {schema}.inspection_types k on k.tenant_id = t.tenant_id and k.id = t.inspection_type_id"""


class Assigned(Shown):
    """Somebody who is to inspect a booking."""

    person_id: str
    name: str | None
    assigned_at: datetime
    assigned_by: str


class Booking(Shown):
    """A booking; `day` is the local date on which it begins, `seconds` are those of work until its inspection was completed."""

    id: str
    status: BookingStatus
    team_id: str
    team_name: str | None
    team_code: str | None
    team_number: int | None
    vehicle_class: VehicleClass
    inspection_type_id: str
    inspection_type_name: str | None
    day: date
    lane: int
    starts_at: datetime
    ends_at: datetime
    held_until: datetime | None
    priority: int
    rescrutineering: bool
    notes: str | None
    requested_by: str
    attendees: list[str]
    checked_in_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    seconds: int | None
    result: Result | None
    cancel_reason: str | None
    scrutineers: list[Assigned]
    version: int


class Wanted(Paging):
    """Which bookings."""

    day: date | None = Field(None, description="Local date")
    from_date: date | None = Field(None, alias="from", description="First local date")
    to_date: date | None = Field(None, alias="to", description="Last local date")
    team: str | None = None
    status: BookingStatus | None = None
    type: str | None = Field(None, description="Inspection type")
    lane: int | None = None


FILTERS = {
    "day": Filter("day"),
    "from": Filter("day", ">="),
    "to": Filter("day", "<="),
    "team": Filter("team_id"),
    "status": Filter("status"),
    "type": Filter("inspection_type_id"),
    "lane": Filter("lane"),
}
BOOKINGS = Listing(
    name="bookings",
    scope=PADDOCK,
    context="inspections",
    view="bookings",
    wanted=Wanted,
    item=ITEM,
    shown=Booking,
    joins=JOINS,
    order=("t.rank", "t.starts_at", "t.id"),
    filters=FILTERS,
    own=Filter("team_id", "in"),
)


@router.get("/bookings", response_model=Page[Booking])
async def bookings(ask: Paddock, wanted: Annotated[Wanted, Query()]) -> Response:
    """Bookings, the highest priority first, then by time; a team sees its own."""
    return await ask.page(BOOKINGS, wanted)


ONGOING = Listing(
    name="ongoing",
    scope=PADDOCK,
    context="inspections",
    view="bookings",
    wanted=Paging,
    item=ITEM,
    shown=Booking,
    joins=JOINS,
    order=("t.starts_at", "t.id"),
    filters=FILTERS,
    own=Filter("team_id", "in"),
)


@router.get("/bookings/ongoing", response_model=Page[Booking])
async def ongoing(ask: Paddock, wanted: Annotated[Paging, Query()]) -> Response:
    """Today's ongoing bookings by time; a team sees its own."""
    found = await ask.find("inspections", f"select n.today from {TODAY}", {})
    today = found.rows[0][0] if found.rows else None
    return await ask.page(ONGOING, wanted, status="ongoing", day=today)


@router.get("/bookings/{id}", response_model=Booking)
async def booking(ask: Paddock, id: str) -> Response:
    """One booking; a team sees its own."""
    return await ask.record(BOOKINGS, id)


# A hold that is over takes nothing any more, nor does what is completed, was cancelled or did not come. A booking stands on
# the local date on which it begins, so what reaches into a day is found on the days around it.
SLOTS = f"""select json_build_object('inspection_type_id', k.id, 'inspection_type_name', k.name, 'day', %(day)s::date,
    'offered', k.status = 'offered', 'duration_minutes', k.duration_minutes, 'buffer_minutes', k.buffer_minutes,
    'notice_minutes', k.notice_minutes, 'hold_minutes', k.hold_minutes, 'lanes', (
        select json_agg(json_build_object('lane', l.lane, 'taken', (
                   select coalesce(json_agg(json_build_object('from', t.starts_at, 'until', t.free_at,
                              'held_until', t.held_until, 'booking_id',
                              case when {SEEN} then t.id end)
                              order by t.starts_at, t.id), '[]')
                     from {{schema}}.bookings t
                    where t.tenant_id = k.tenant_id and t.inspection_type_id = k.id and t.lane = l.lane
                      and t.day between %(day)s::date - 2 and %(day)s::date + 1
                      and t.starts_at < n.ends and t.free_at > n.begins
                      and (t.status in ('confirmed', 'checked_in', 'ongoing')
                           or (t.status = 'requested' and t.held_until > now())))) order by l.lane)
          from generate_series(1, k.lanes) l(lane)))::text
    from {{schema}}.inspection_types k left join {DAY} on true where k.id = %(type)s"""


class Taken(Shown):
    """A stretch of time that cannot be had, or not before `held_until`; which booking has it is said to whom it concerns."""

    model_config = ConfigDict(extra="forbid", validate_by_name=True)

    starts_at: datetime = Field(alias="from")
    ends_at: datetime = Field(alias="until")
    held_until: datetime | None
    booking_id: str | None


class Lane(Shown):
    """One lane, and what is taken of it."""

    lane: int
    taken: list[Taken]


class Slots(Shown):
    """What is taken of an inspection type's lanes on a local date, buffers included, and the rules by which it is booked."""

    inspection_type_id: str
    inspection_type_name: str
    day: date
    offered: bool
    duration_minutes: int
    buffer_minutes: int
    notice_minutes: int
    hold_minutes: int
    lanes: list[Lane]


class SlotsWanted(BaseModel):
    """Of which inspection type and local date."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(description="Inspection type")
    day: date = Field(description="Local date")


@router.get("/slots", response_model=Slots)
async def slots(ask: Paddock, wanted: Annotated[SlotsWanted, Query()]) -> Response:
    """What is taken, per lane, and the rules: whatever fits between is free. Teams see of others' only that it is taken."""

    def show(rows: Sequence[tuple[Any, ...]]) -> Any:
        if not rows:
            raise ProblemError(NO_SUCH_RECORD, "There is no such inspection type.")
        return msgspec.Raw(rows[0][0].encode())

    parameters = {"type": wanted.type, "day": wanted.day, **seeing(ask)}
    return await ask.computed("inspections", SLOTS, parameters, show, max_age=5, shown_by=())
