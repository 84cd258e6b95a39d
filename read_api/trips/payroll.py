"""Payroll: `GET /payroll`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from domain.trips.payroll import PayrollLine, TripPriced, line_name, lines_of
from domain.trips.sites import Rate
from read_api.kernel import Office
from read_api.listing import Shown

router = APIRouter(tags=["payroll"])

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
    """What a late change makes of a line, against what was paid."""

    line: str
    closed_minor: int
    now_minor: int
    difference_minor: int


class Period(Shown):
    """A closed period: its lines as they were paid, and what came to differ since."""

    model_config = ConfigDict(extra="forbid", validate_by_name=True)

    id: str
    from_date: date = Field(alias="from")
    to_date: date = Field(alias="to")
    closed_at: datetime
    lines: list[ClosedLine]
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
    """Which local dates of completion."""

    model_config = ConfigDict(extra="forbid")

    from_date: date = Field(alias="from")
    to_date: date = Field(alias="to")


@router.get("/payroll", response_model=Payroll)
async def payroll(ask: Office, wanted: Annotated[Wanted, Query()]) -> Response:
    """Payroll lines with the trips behind each, what could not be priced, and closed periods with later differences."""

    def show(rows: Sequence[tuple[Any, ...]]) -> Mapping[str, Any]:
        pay, periods, drivers, sites = (msgspec.json.decode(text) for text in rows[0])
        inside = [row for row in pay if wanted.from_date.isoformat() <= row[8] <= wanted.to_date.isoformat()]
        lines = [_line(line, inside, drivers, sites) for line in lines_of_rows(inside)]
        return {
            "from": wanted.from_date,
            "to": wanted.to_date,
            "lines": lines,
            "unpriced": [
                {"trip_id": row[0], "driver_id": row[1], "day": row[8], "reason": row[7]} for row in inside if row[7]
            ],
            "amount_minor": sum(line["amount_minor"] for line in lines),
            "periods": [_period(period, pay) for period in periods],
        }

    parameters = {"from": wanted.from_date, "to": wanted.to_date}
    return await ask.computed("trips", PAY, parameters, show, max_age=30)


def priced_rows(rows: Iterable[Sequence[Any]]) -> list[TripPriced]:
    """Return priced trips from rows (trip, driver, to-site, rate, currency, unit, volume, unpriced)."""
    return [
        TripPriced(
            trip=row[0],
            driver_id=row[1],
            to_site_id=row[2],
            rate=Rate(amount_minor=row[3], currency=row[4], unit=row[5]) if row[3] is not None else None,
            volume=Decimal(row[6]) if row[6] is not None else None,
            unpriced=row[7],
        )
        for row in rows
    ]


def lines_of_rows(rows: Iterable[Sequence[Any]]) -> list[PayrollLine]:
    """Return the payroll lines of such rows."""
    return lines_of(priced_rows(rows))


def _line(
    line: PayrollLine, rows: Iterable[Sequence[Any]], drivers: Mapping[str, str], sites: Mapping[str, str]
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
        "trip_ids": [trip.trip for trip in priced_rows(rows) if _name(trip) == line.line],
        "amount_minor": line.amount_minor,
    }


def _name(trip: TripPriced) -> str | None:
    if trip.rate is None or trip.volume is None or trip.to_site_id is None:
        return None
    return line_name(trip.driver_id, trip.to_site_id, trip.rate, trip.volume)


def _period(period: Mapping[str, Any], pay: Iterable[Sequence[Any]]) -> dict[str, Any]:
    now = {line.line: line.amount_minor for line in lines_of_rows(_within(pay, period["from"], period["to"]))}
    closed = {line["line"]: line["amount_minor"] for line in period["lines"]}
    corrections = {one["line"]: one for one in period["corrections"]}
    differences = [
        {
            "line": line,
            "closed_minor": closed.get(line, 0),
            "now_minor": now.get(line, 0),
            "difference_minor": now.get(line, 0) - closed.get(line, 0),
        }
        for line in sorted({*now, *closed})
        if now.get(line, 0) != closed.get(line, 0)
    ]
    lines = []
    for line in period["lines"]:
        correction = corrections.get(line["line"], {})
        lines.append({**line, "corrected_minor": correction.get("amount_minor"), "reason": correction.get("reason")})
    return {
        "id": period["id"],
        "from": period["from"],
        "to": period["to"],
        "closed_at": period["closed_at"],
        "lines": lines,
        "differences": differences,
    }


def _within(pay: Iterable[Sequence[Any]], first: str, last: str) -> list[Sequence[Any]]:
    return [row for row in pay if first <= row[8] <= last]
