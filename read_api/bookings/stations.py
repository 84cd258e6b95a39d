"""How it goes: `GET /stations`, `GET /stations/{id}`, `GET /kpis`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from infra.web.problems import NO_SUCH_RECORD, ProblemError
from read_api.bookings.calendar import TODAY
from read_api.listing import Listing, Page, Paging, Shown
from read_api.paddock import PADDOCK, Officials, Paddock, seeing

router = APIRouter(tags=["stations"])
FRESH_S = 5

# What an inspection takes is the average of the last 7 days, or what is planned for it if none was timed. The queue is done
# when what is left is, spread over the lanes, and no sooner than the one that has most left.
QUEUE = """jsonb_to_recordset(t.queue) q(booking_id text, team_id text, day date, status text, rank bigint,
    checked_in_at timestamptz, worked_seconds bigint, working_since timestamptz)"""
JOINS = f"""left join {{schema}}.inspection_types k on k.tenant_id = t.tenant_id and k.id = t.inspection_type_id
    left join {TODAY} on true
    left join lateral (
        select coalesce(sum(d.seconds) / nullif(sum(d.timed), 0), k.duration_minutes * 60) as seconds,
               coalesce(sum(d.timed), 0) as timed
          from {{schema}}.station_days d
         where d.tenant_id = t.tenant_id and d.inspection_type_id = t.inspection_type_id
           and d.day between n.today - 6 and n.today) v on true
    left join lateral (
        select count(*) filter (where p.status = 'checked_in') as waiting,
               count(*) filter (where p.status = 'ongoing') as ongoing,
               coalesce(ceil(greatest(sum(p.seconds) / k.lanes, max(p.seconds)) / 60), 0)::bigint as minutes
          from (select q.status, greatest(v.seconds - q.worked_seconds
                           - coalesce(extract(epoch from now() - q.working_since), 0), 0) as seconds
                  from {QUEUE} where q.day = n.today) p) w on true"""
FIELDS = """'inspection_type_id', t.inspection_type_id, 'inspection_type_name', k.name, 'status', k.status,
    'lanes', k.lanes, 'waiting', w.waiting, 'ongoing', w.ongoing,
    'average_minutes', round(v.seconds / 60.0, 1), 'timed', v.timed, 'minutes', w.minutes,
    'text', k.name || ': ' || case w.waiting + w.ongoing when 0 then 'no cars' when 1 then '1 car'
        else w.waiting + w.ongoing || ' cars' end
        || case when w.waiting + w.ongoing > 0 then ', about ' || w.minutes || ' min' else '' end"""


class Station(Shown):
    """An inspection type's queue of today: how many cars wait and how many are inspected, and in how many minutes, about, all
    of them are done; by what `timed` inspections took on average, or by what is planned if there are none.
    """

    inspection_type_id: str
    inspection_type_name: str | None
    status: Literal["offered", "retired"] | None
    lanes: int | None
    waiting: int
    ongoing: int
    average_minutes: float | None
    timed: int
    minutes: int
    text: str | None


STATIONS = Listing(
    name="stations",
    scope=PADDOCK,
    context="inspections",
    view="stations",
    wanted=Paging,
    item=f"json_build_object({FIELDS})",
    shown=Station,
    joins=JOINS,
    order=("t.inspection_type_id",),
    max_age=FRESH_S,
)


@router.get("/stations", response_model=Page[Station])
async def stations(ask: Paddock, wanted: Annotated[Paging, Query()]) -> Response:
    """Every station with its queue of today, in numbers."""
    return await ask.page(STATIONS, wanted)


ONE = f"""select json_build_object({FIELDS}, 'queue', (
        select coalesce(json_agg(json_build_object('place', p.place, 'status', p.status,
                   'booking_id', case when p.is_shown then p.booking_id end,
                   'team_id', case when p.is_shown then p.team_id end,
                   'team_name', case when p.is_shown then p.team_name end,
                   'priority', -p.rank, 'checked_in_at', p.checked_in_at, 'working_since', p.working_since)
                   order by p.place), '[]')
          from (select q.*, m.name as team_name, %(all)s or q.team_id in ({PADDOCK.statement}) as is_shown,
                       row_number() over (order by q.status = 'ongoing' desc, q.rank, q.checked_in_at, q.booking_id) as place
                  from {QUEUE}
                  left join {{schema}}.teams m on m.tenant_id = t.tenant_id and m.id = q.team_id
                 where q.day = n.today) p))::text
    from {{schema}}.stations t {JOINS} where t.inspection_type_id = %(id)s"""


class Place(Shown):
    """A car in a queue; whose it is, is said to officials and to its own team."""

    place: int
    status: Literal["checked_in", "ongoing"]
    booking_id: str | None
    team_id: str | None
    team_name: str | None
    priority: int
    checked_in_at: datetime | None
    working_since: datetime | None


class StationWithQueue(Station):
    """A station and its queue: those that are inspected, then those that wait, the highest priority first, then who came first."""

    queue: list[Place]


@router.get("/stations/{id}", response_model=StationWithQueue)
async def station(ask: Paddock, id: str) -> Response:
    """One station with its queue, car by car; `id` is that of its inspection type."""

    def show(rows: Sequence[tuple[Any, ...]]) -> Any:
        if not rows:
            raise ProblemError(NO_SUCH_RECORD)
        return msgspec.Raw(rows[0][0].encode())

    return await ask.computed("inspections", ONE, {"id": id, **seeing(ask)}, show, max_age=FRESH_S, shown_by=())


STATUSES = ("requested", "confirmed", "checked_in", "ongoing", "completed", "cancelled", "no_show", "expired")
SUMMED = (*STATUSES, "passed", "conditional_pass", "provisional", "failed", "rescrutineerings")
FIGURES = f"""json_build_object('bookings', coalesce(sum({" + ".join(f"d.{one}" for one in STATUSES)}), 0),
    {", ".join(f"'{one}', coalesce(sum(d.{one}), 0)" for one in SUMMED)},
    'completion_rate', round(sum(d.completed) / nullif(sum(d.completed + d.cancelled + d.no_show), 0), 4),
    'average_minutes', round(sum(d.seconds) / 60.0 / nullif(sum(d.timed), 0), 1),
    'feedback', round(sum(d.scores) / nullif(sum(d.scored), 0), 2))"""
KPIS = f"""select json_build_object('from', %(from)s::date, 'to', %(to)s::date, 'all', (
        select {FIGURES} from {{schema}}.station_days d where d.day between %(from)s and %(to)s), 'types', (
        select coalesce(json_agg(json_build_object('inspection_type_id', y.id, 'inspection_type_name', k.name,
                   'figures', y.figures) order by k.name, y.id), '[]')
          from (select d.inspection_type_id as id, {FIGURES} as figures from {{schema}}.station_days d
                 where d.day between %(from)s and %(to)s group by d.inspection_type_id) y
          left join {{schema}}.inspection_types k on k.id = y.id))::text"""


class Figures(Shown):
    """Where bookings stand, and how those that came to a result did. `completion_rate` is the share of those completed among
    those completed, cancelled or not come; `feedback` is the average score, 1 to 5.
    """

    bookings: int
    requested: int
    confirmed: int
    checked_in: int
    ongoing: int
    completed: int
    cancelled: int
    no_show: int
    expired: int
    passed: int
    conditional_pass: int
    provisional: int
    failed: int
    rescrutineerings: int
    completion_rate: float | None
    average_minutes: float | None
    feedback: float | None


class TypeFigures(Shown):
    """The figures of one inspection type."""

    inspection_type_id: str
    inspection_type_name: str | None
    figures: Figures


class Kpis(Shown):
    """The figures of the bookings between two local dates, in all and by inspection type."""

    model_config = ConfigDict(extra="forbid", validate_by_name=True)

    from_date: date = Field(alias="from")
    to_date: date = Field(alias="to")
    all: Figures
    types: list[TypeFigures]


class KpisWanted(BaseModel):
    """Of which local dates."""

    model_config = ConfigDict(extra="forbid")

    from_date: date = Field(alias="from", description="First local date")
    to_date: date = Field(alias="to", description="Last local date")


@router.get("/kpis", response_model=Kpis)
async def kpis(ask: Officials, wanted: Annotated[KpisWanted, Query()]) -> Response:
    """How scrutineering went: completion, durations, no-shows, cancellations and feedback."""
    parameters = {"from": wanted.from_date, "to": wanted.to_date}
    return await ask.computed(
        "inspections", KPIS, parameters, lambda rows: msgspec.Raw(rows[0][0].encode()), max_age=30, shown_by=()
    )
