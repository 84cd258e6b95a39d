"""Payroll: `GET /payroll`."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from domain.trips.payroll import PayrollLine, TripPriced, line_name, lines_of
from domain.trips.sites import Rate
from infra.web.problems import query_problem
from read_api.listing import Shown
from read_api.trips.roles import Office

router = APIRouter(tags=["payroll"])
MOST_DAYS = 366

PAY = """select
    (select coalesce(json_agg(json_build_array(p.trip_id, p.driver_id, p.to_site_id, p.rate_minor, p.rate_currency,
        p.rate_unit, p.volume::text, p.unpriced, p.day) order by p.day, p.trip_id), '[]')::text
       from {schema}.pay p where p.day between least(%(from)s, w.first) and greatest(%(to)s, w.last)),
    (select coalesce(json_agg(json_build_object('id', q.id, 'from', q.from_date, 'to', q.to_date,
        'closed_at', q.closed_at, 'lines', q.lines, 'corrections', q.corrections) order by q.from_date), '[]')::text
       from {schema}.periods q where q.from_date <= %(to)s and q.to_date >= %(from)s),
    (select coalesce(json_object_agg(d.id, d.name), '{}')::text from {schema}.drivers d),
    (select coalesce(json_object_agg(s.id, s.name), '{}')::text from {schema}.sites s)
  from (select coalesce(min(from_date), %(from)s) as first, coalesce(max(to_date), %(to)s) as last
          from {schema}.periods where from_date <= %(to)s and to_date >= %(from)s) w"""


class RateShown(Shown):
    """What one unit is paid, in minor units."""

    amount_minor: int
    currency: str
    unit: Literal["m3", "t"]


class Line(Shown):
    """All trips of one driver to one site at one rate with one volume: trips x rate x volume, rounded once, half to even."""

    line: str
    driver_id: str
    driver_name: str | None
    to_site_id: str
    to_site_name: str | None
    rate: RateShown
    volume: str
    trips: int
    trip_ids: list[str]
    amount_minor: int


class Unpriced(Shown):
    """A completed trip that is worth nothing yet, and why."""

    trip_id: str
    driver_id: str
    day: date
    reason: Literal["no_site", "no_rate", "no_volume", "other_unit"]


class ClosedLine(Shown):
    """A line as it was paid; `corrected_minor` is what it was corrected to."""

    line: str
    driver_id: str
    to_site_id: str
    rate: RateShown
    volume: str
    trips: int
    amount_minor: int
    corrected_minor: int | None
    reason: str | None


class Difference(Shown):
    """What a late change makes of a line, against `closed_minor`: what it was closed with or last corrected to, else 0."""

    line: str
    closed_minor: int
    now_minor: int
    difference_minor: int


class Correction(Shown):
    """A line was given another amount; it may be one that a late change made."""

    line: str
    amount_minor: int
    reason: str
    at: datetime


class Period(Shown):
    """A closed period: its lines as they were paid, its corrections in their order, and what still differs."""

    model_config = ConfigDict(extra="forbid", validate_by_name=True)

    id: str
    from_date: date = Field(alias="from")
    to_date: date = Field(alias="to")
    closed_at: datetime
    lines: list[ClosedLine]
    corrections: list[Correction]
    differences: list[Difference]


class Payroll(Shown):
    """What trips completed between two local dates are worth now, and the closed periods that touch them."""

    model_config = ConfigDict(extra="forbid", validate_by_name=True)

    from_date: date = Field(alias="from")
    to_date: date = Field(alias="to")
    lines: list[Line]
    unpriced: list[Unpriced]
    amount_minor: int
    periods: list[Period]


class Wanted(BaseModel):
    """Which local dates of completion, at most 366."""

    model_config = ConfigDict(extra="forbid")

    from_date: date = Field(alias="from")
    to_date: date = Field(alias="to")


@router.get("/payroll", response_model=Payroll)
async def payroll(ask: Office, wanted: Annotated[Wanted, Query()]) -> Response:
    """Payroll lines with the trips behind each, what could not be priced, and closed periods with later differences."""
    if not 0 <= (wanted.to_date - wanted.from_date).days < MOST_DAYS:
        raise query_problem("to", f"`to` is on or after `from`, and at most {MOST_DAYS} days are shown at once.")

    def show(rows: Sequence[tuple[Any, ...]]) -> Mapping[str, Any]:
        pay, periods, drivers, sites = (msgspec.json.decode(text) for text in rows[0])
        return document(wanted, pay, periods, drivers, sites)

    parameters = {"from": wanted.from_date, "to": wanted.to_date}
    return await ask.computed("trips", PAY, parameters, show, max_age=30, shown_by=())


def document(
    wanted: Wanted,
    pay: Sequence[Sequence[Any]],
    periods: Iterable[Mapping[str, Any]],
    drivers: Mapping[str, str],
    sites: Mapping[str, str],
) -> dict[str, Any]:
    """Return the answer, from rows (trip, driver, to-site, rate, currency, unit, volume, unpriced, day) in order of days."""
    days = [row[8] for row in pay]
    priced = [_priced(row) for row in pay]

    def between(first: str, last: str) -> slice:
        return slice(bisect_left(days, first), bisect_right(days, last))

    inside = between(wanted.from_date.isoformat(), wanted.to_date.isoformat())
    trips = _trips(priced[inside])
    lines = [_line(line, trips[line.line], drivers, sites) for line in lines_of(priced[inside])]
    return {
        "from": wanted.from_date,
        "to": wanted.to_date,
        "lines": lines,
        "unpriced": [
            {"trip_id": row[0], "driver_id": row[1], "day": row[8], "reason": row[7]} for row in pay[inside] if row[7]
        ],
        "amount_minor": sum(line["amount_minor"] for line in lines),
        "periods": [_period(period, lines_of(priced[between(period["from"], period["to"])])) for period in periods],
    }


def _priced(row: Sequence[Any]) -> TripPriced:
    return TripPriced(
        trip=row[0],
        driver_id=row[1],
        to_site_id=row[2],
        rate=Rate(amount_minor=row[3], currency=row[4], unit=row[5]) if row[3] is not None else None,
        volume=Decimal(row[6]) if row[6] is not None else None,
        unpriced=row[7],
    )


def _trips(priced: Iterable[TripPriced]) -> Mapping[str, list[str]]:
    """Return the trips behind each line, by the line's name."""
    trips = defaultdict[str, list[str]](list)
    for trip in priced:
        if trip.rate is not None and trip.volume is not None and trip.to_site_id is not None:
            trips[line_name(trip.driver_id, trip.to_site_id, trip.rate, trip.volume)].append(trip.trip)
    return trips


def _line(
    line: PayrollLine, trips: Sequence[str], drivers: Mapping[str, str], sites: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "line": line.line,
        "driver_id": line.driver_id,
        "driver_name": drivers.get(line.driver_id),
        "to_site_id": line.to_site_id,
        "to_site_name": sites.get(line.to_site_id),
        "rate": {"amount_minor": line.rate.amount_minor, "currency": line.rate.currency, "unit": line.rate.unit},
        "volume": str(line.volume),
        "trips": line.trips,
        "trip_ids": trips,
        "amount_minor": line.amount_minor,
    }


def _period(period: Mapping[str, Any], lines: Iterable[PayrollLine]) -> dict[str, Any]:
    now = {line.line: line.amount_minor for line in lines}
    corrections = {one["line"]: one for one in period["corrections"]}
    paid = {one["line"]: one["amount_minor"] for one in (*period["lines"], *period["corrections"])}
    closed_lines = []
    for line in period["lines"]:
        correction = corrections.get(line["line"], {})
        closed_lines.append(
            {**line, "corrected_minor": correction.get("amount_minor"), "reason": correction.get("reason")}
        )
    return {
        "id": period["id"],
        "from": period["from"],
        "to": period["to"],
        "closed_at": period["closed_at"],
        "lines": closed_lines,
        "corrections": period["corrections"],
        "differences": [
            {
                "line": line,
                "closed_minor": paid.get(line, 0),
                "now_minor": now.get(line, 0),
                "difference_minor": now.get(line, 0) - paid.get(line, 0),
            }
            for line in sorted({*now, *paid})
            if now.get(line, 0) != paid.get(line, 0)
        ],
    }
