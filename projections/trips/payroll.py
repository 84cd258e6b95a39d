"""Payroll: what each completed trip is worth, and the periods that were closed."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal

from domain.kernel import Recorded
from domain.trips.payroll import (
    PAY_DAYS,
    PAYROLL_PERIODS,
    PayrollLine,
    PayrollLineCorrected,
    PayrollPeriodClosed,
    TripPriced,
    Unpriced,
)
from domain.trips.sites import Unit
from projections.kernel import Key, Look, View, at, row


@row
class PayRow:
    """What a completed trip is worth, on the local date of its completion; `unpriced` says why it is worth nothing yet."""

    trip_id: str
    day: date
    driver_id: str
    to_site_id: str | None
    rate_minor: int | None = None
    rate_currency: str | None = None
    rate_unit: Unit | None = None
    volume: Decimal | None = None
    unpriced: Unpriced | None = None


def _trip(happened: Recorded[TripPriced], look: Look) -> list[Key]:
    return [(happened.fact.trip,)]


def priced(_: PayRow | None, happened: Recorded[TripPriced], look: Look, key: Key) -> PayRow:
    fact = happened.fact
    return PayRow(
        trip_id=fact.trip,
        day=date.fromisoformat(happened.id),
        driver_id=fact.driver_id,
        to_site_id=fact.to_site_id,
        rate_minor=fact.rate.amount_minor if fact.rate else None,
        rate_currency=fact.rate.currency if fact.rate else None,
        rate_unit=fact.rate.unit if fact.rate else None,
        volume=fact.volume,
        unpriced=fact.unpriced,
    )


PAY_VIEW = View(
    name="pay",
    row=PayRow,
    key=("trip_id",),
    indexes=("day",),
    folds={PAY_DAYS: {TripPriced: at(_trip, priced)}},
)


@row
class LineCorrection:
    """A closed line was given another amount."""

    line: str
    amount_minor: int
    reason: str
    at: datetime


@row
class PeriodRow:
    """A closed period with its lines as they were paid, and the corrections since."""

    id: str
    from_date: date
    to_date: date
    closed_at: datetime
    lines: tuple[PayrollLine, ...]
    corrections: tuple[LineCorrection, ...] = ()
    version: int = 0


def closed(_: PeriodRow | None, happened: Recorded[PayrollPeriodClosed], look: Look) -> PeriodRow:
    fact = happened.fact
    return PeriodRow(
        id=happened.id,
        from_date=fact.from_date,
        to_date=fact.to_date,
        closed_at=happened.at,
        lines=fact.lines,
        version=happened.version,
    )


def corrected(period: PeriodRow, happened: Recorded[PayrollLineCorrected], look: Look) -> PeriodRow:
    fact = happened.fact
    correction = LineCorrection(line=fact.line, amount_minor=fact.amount_minor, reason=fact.reason, at=happened.at)
    return replace(period, corrections=(*period.corrections, correction), version=happened.version)


PERIODS_VIEW = View(
    name="periods",
    row=PeriodRow,
    key=("id",),
    indexes=("from_date",),
    folds={PAYROLL_PERIODS: {PayrollPeriodClosed: closed, PayrollLineCorrected: corrected}},
)
