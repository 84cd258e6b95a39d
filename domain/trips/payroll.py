"""Payroll: what completed trips are worth, day by day, and the periods that were paid.

A local day collects its priced trips: open --(its period closes)--> closed; a closed day still takes late changes.
A period: (none) --close--> closed --correct--> closed
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import field, replace
from datetime import date, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Literal

from domain.kernel import Refused, Stream, fact, state
from domain.trips.sites import Rate, Unit

Unpriced = Literal["no_site", "no_rate", "no_volume", "other_unit"]


@fact
class TripPriced:
    """A completed trip is worth this on its day; a later one for the same trip replaces it.

    `volume` is in the rate's unit: the recorded load, else the truck's net capacity. `unpriced` says why there is none.
    """

    trip: str
    driver_id: str
    to_site_id: str | None
    rate: Rate | None = None
    volume: Decimal | None = None
    unpriced: Unpriced | None = None


@fact
class PayDayClosed:
    """This day is part of a period that was closed."""

    period: str


@state
class PayDay:
    """The trips completed on one local date, by trip, and the period that closed it."""

    priced: Mapping[str, TripPriced] = field(default_factory=dict)
    period: str | None = None


def evolve_day(day: PayDay, happened: object) -> PayDay:
    """Return the day after what happened."""
    match happened:
        case TripPriced(trip=trip):
            return replace(day, priced={**day.priced, trip: happened})
        case PayDayClosed(period=period):
            return replace(day, period=period)
    return day


PAY_DAYS = Stream(
    "pay-days",
    PayDay(),
    evolve_day,
    {"pay-days.trip-priced.v1": TripPriced, "pay-days.closed.v1": PayDayClosed},
)


@fact
class PayrollLine:
    """All trips of one driver to one site at one rate with one volume; the amount is rounded once, half to even."""

    line: str
    driver_id: str
    to_site_id: str
    rate: Rate
    volume: Decimal
    trips: int
    amount_minor: int


@fact
class PayrollPeriodClosed:
    """The days from one local date through another were paid with these lines."""

    from_date: date
    to_date: date
    lines: tuple[PayrollLine, ...]


@fact
class PayrollLineCorrected:
    """A line of a closed period, or one that a late change made, was given another amount."""

    line: str
    amount_minor: int
    reason: str


@state
class PayrollPeriod:
    """Which days the closed period has, and which lines it pays or has corrected."""

    closed: bool = False
    days: tuple[date, ...] = ()
    lines: frozenset[str] = frozenset()


def evolve_period(period: PayrollPeriod, happened: object) -> PayrollPeriod:
    """Return the period after what happened."""
    match happened:
        case PayrollPeriodClosed(from_date=first, to_date=last, lines=lines):
            names = frozenset(line.line for line in lines)
            return replace(period, closed=True, days=tuple(days_between(first, last)), lines=names)
        case PayrollLineCorrected(line=line):
            return replace(period, lines=period.lines | {line})
    return period


PAYROLL_PERIODS = Stream(
    "payroll-periods",
    PayrollPeriod(),
    evolve_period,
    {
        "payroll-periods.closed.v1": PayrollPeriodClosed,
        "payroll-periods.line-corrected.v1": PayrollLineCorrected,
    },
)


def days_between(first: date, last: date) -> Iterator[date]:
    """Yield the days from one through another."""
    return (first + timedelta(days=n) for n in range((last - first).days + 1))


def priced(
    *,
    trip: str,
    driver_id: str,
    to_site_id: str | None,
    rate: Rate | None,
    load: tuple[Decimal, Unit] | None,
    net_capacity_m3: Decimal | None,
) -> TripPriced:
    """Return what a completed trip is worth: its load, else the truck's net capacity, in the unit of the rate (TRP-2)."""
    volume, unit = load if load is not None else (net_capacity_m3, "m3")
    reason: Unpriced | None = None
    if to_site_id is None:
        reason = "no_site"
    elif rate is None:
        reason = "no_rate"
    elif volume is None:
        reason = "no_volume"
    elif unit != rate.unit:
        reason = "other_unit"
    return TripPriced(
        trip=trip,
        driver_id=driver_id,
        to_site_id=to_site_id,
        rate=rate,
        volume=volume if not reason else None,
        unpriced=reason,
    )


def lines_of(priced: Iterable[TripPriced]) -> list[PayrollLine]:
    """Return the payroll lines of these trips, ordered by their names; unpriced trips have none.

    trips x price/unit x volume, rounded once (TRP-2: 5 x 281.69 x 20.2658 = 28,543.37).
    """
    grouped: dict[tuple[str, str, int, str, Unit, Decimal], int] = {}
    for trip in priced:
        if trip.rate is not None and trip.volume is not None and trip.to_site_id is not None:
            rate = trip.rate
            key = (
                trip.driver_id,
                trip.to_site_id,
                rate.amount_minor,
                rate.currency,
                rate.unit,
                _plain(trip.volume),
            )
            grouped[key] = grouped.get(key, 0) + 1
    lines = []
    for (driver, site, amount, currency, unit, volume), count in grouped.items():
        rate = Rate(amount_minor=amount, currency=currency, unit=unit)
        name = line_name(driver, site, rate, volume)
        total = int((count * amount * volume).to_integral_value(ROUND_HALF_EVEN))
        lines.append(
            PayrollLine(
                line=name, driver_id=driver, to_site_id=site, rate=rate, volume=volume, trips=count, amount_minor=total
            )
        )
    return sorted(lines, key=lambda line: line.line)


def _plain(volume: Decimal) -> Decimal:
    """Return the same number without zeros at its end and without an exponent."""
    return Decimal(f"{volume.normalize():f}")


def line_name(driver_id: str, to_site_id: str, rate: Rate, volume: Decimal) -> str:
    """Return the stable name of a line: driver, to-site, rate and volume."""
    return f"{driver_id}|{to_site_id}|{rate.amount_minor} {rate.currency}/{rate.unit}|{_plain(volume)}"


class PeriodAlreadyClosed(Refused):
    """This period is closed; it takes corrections only."""


class PeriodsOverlap(Refused):
    """A day of this period was already paid in another one."""


class PeriodNotClosed(Refused):
    """Only a closed period takes corrections."""


class NoSuchLine(Refused):
    """The closed period has no such line, and no late change made one."""
