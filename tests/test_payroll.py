"""Payroll: what trips are worth, and what was paid."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from pydantic import ValidationError

from commands.trips.payroll import ClosePayrollPeriod, CorrectPayrollLine
from commands.trips.trips import CompleteTrip, RecordLoad
from domain.claims import CLAIMS, Claimed
from domain.tenants import TENANTS, TenantOpened
from domain.trips.drivers import DRIVERS, DriverRegistered
from domain.trips.payroll import (
    PAY_DAYS,
    PAYROLL_PERIODS,
    NoSuchLine,
    PayDayClosed,
    PayrollLine,
    PayrollLineCorrected,
    PayrollPeriodClosed,
    PeriodAlreadyClosed,
    PeriodNotClosed,
    PeriodsOverlap,
    TripPriced,
    lines_of,
)
from domain.trips.sites import SITES, Rate, SiteRateChanged, SiteRegistered
from domain.trips.trips import TRIPS, LoadRecorded, TripCompleted, TripScheduled, TripStarted
from domain.trips.trucks import TRUCKS, TruckRegistered
from projections.catalog import CONTEXTS
from read_api.trips.payroll import Wanted, document
from tests.given import NOW, Given, folded, given, on, recorded

DAY = date(2026, 11, 20)
DAY_BEFORE = date(2026, 11, 19)
VOLUME = Decimal("20.2658")
RATE = Rate(amount_minor=28_169, currency="EUR", unit="m3")
PRICED = TripPriced(trip="trip", driver_id="driver", to_site_id="site", rate=RATE, volume=VOLUME)
FIVE_TRIPS = [replace(PRICED, trip=f"trip-{number}") for number in range(5)]
LINE = PayrollLine(
    line="driver|site|28169 EUR/m3|20.2658",
    driver_id="driver",
    to_site_id="site",
    rate=RATE,
    volume=VOLUME,
    trips=5,
    amount_minor=2_854_337,
)
CLOSE = ClosePayrollPeriod(from_date=DAY, to_date=DAY)
CLOSED = PayrollPeriodClosed(from_date=DAY, to_date=DAY, lines=(LINE,))
CORRECT = CorrectPayrollLine(line=LINE.line, amount_minor=2_800_000, reason="Half a load")

SITE = SiteRegistered(name="Landfill", latitude=46.0, longitude=14.5, rate=RATE)
TRUCK = TruckRegistered(number="7", plate="LJ 7", net_capacity_m3=VOLUME)
SCHEDULED = TripScheduled(driver_id="driver", truck_id="truck", date=DAY, to_site_id="site")
COMPLETED = TripCompleted(on=DAY, rate=RATE, net_capacity_m3=VOLUME)
LOAD = LoadRecorded(quantity=Decimal("18.5"), unit="m3", receipt_number="R-1")
ECO_HAUL = given(TENANTS, TenantOpened(name="Eco-Haul", time_zone="Europe/Ljubljana", currency="EUR"))
KNOWN = ECO_HAUL.given(DRIVERS, DriverRegistered(name="Ana"))
ON_THE_ROAD = KNOWN.given(TRIPS, SCHEDULED, TripStarted())
EQUIPPED = ON_THE_ROAD.given(TRUCKS, TRUCK).given(SITES, SITE)


def worth(story: Given) -> TripPriced:
    """What the trip is worth when it is completed now."""
    priced = story.when(CompleteTrip()).facts[-1].fact
    assert isinstance(priced, TripPriced)
    return priced


def amounts(*priced: TripPriced) -> list[int]:
    """The amounts of the lines of these trips."""
    return [line.amount_minor for line in lines_of(priced)]


def test_a_trip_is_worth_the_net_capacity_of_its_truck_at_the_rate_of_its_site() -> None:
    assert worth(EQUIPPED) == PRICED


def test_a_trip_is_worth_its_load_if_one_was_recorded() -> None:
    assert worth(EQUIPPED.given(TRIPS, LOAD)) == replace(PRICED, volume=Decimal("18.5"))


def test_a_trip_that_ended_before_the_first_rate_of_its_site_was_set_has_that_rate() -> None:
    later = ON_THE_ROAD.given(TRUCKS, TRUCK).given(
        SITES, replace(SITE, rate=None), SiteRateChanged(rate=RATE, since=NOW + timedelta(hours=1))
    )
    assert worth(later) == PRICED


def test_a_trip_to_no_site_is_unpriced() -> None:
    nowhere = KNOWN.given(TRUCKS, TRUCK).given(TRIPS, replace(SCHEDULED, to_site_id=None), TripStarted())
    assert worth(nowhere) == TripPriced(trip="trip", driver_id="driver", to_site_id=None, unpriced="no_site")


def test_a_trip_to_a_site_without_a_rate_is_unpriced() -> None:
    unpaid = ON_THE_ROAD.given(TRUCKS, TRUCK).given(SITES, replace(SITE, rate=None))
    assert worth(unpaid) == replace(PRICED, rate=None, volume=None, unpriced="no_rate")


def test_a_trip_of_no_known_volume_is_unpriced() -> None:
    unknown = ON_THE_ROAD.given(TRUCKS, replace(TRUCK, net_capacity_m3=None)).given(SITES, SITE)
    assert worth(unknown) == replace(PRICED, volume=None, unpriced="no_volume")


def test_a_load_in_another_unit_than_the_rate_is_unpriced() -> None:
    in_tonnes = EQUIPPED.given(TRIPS, replace(LOAD, unit="t"))
    assert worth(in_tonnes) == replace(PRICED, volume=None, unpriced="other_unit")


def test_a_net_capacity_is_no_weight() -> None:
    by_weight = ON_THE_ROAD.given(TRUCKS, TRUCK).given(SITES, replace(SITE, rate=replace(RATE, unit="t")))
    assert worth(by_weight).unpriced == "other_unit"


def test_five_trips_at_281_69_with_20_2658_are_28_543_37() -> None:
    given(PAY_DAYS, *FIVE_TRIPS).when(CLOSE).then(CLOSED, on(PAY_DAYS, PayDayClosed(period="period")))


def test_a_line_is_rounded_once() -> None:
    half = replace(PRICED, rate=replace(RATE, amount_minor=5), volume=Decimal("0.5"))
    assert amounts(half, half, half, half, half) == [12]
    assert amounts(half) == [2]


def test_half_a_minor_unit_goes_to_the_even_neighbour() -> None:
    half = replace(PRICED, volume=Decimal("0.5"))
    assert [amounts(replace(half, rate=replace(RATE, amount_minor=minor)))[0] for minor in (1, 3, 5, 7)] == [0, 2, 2, 4]


def test_each_driver_site_rate_and_volume_has_a_line_of_its_own() -> None:
    others = [
        replace(PRICED, driver_id="other"),
        replace(PRICED, to_site_id="other"),
        replace(PRICED, rate=replace(RATE, amount_minor=30_000)),
        replace(PRICED, volume=Decimal(18)),
    ]
    assert [line.trips for line in lines_of([PRICED, *others])] == [1] * 5


def test_a_volume_is_the_same_with_more_zeros() -> None:
    (line,) = lines_of([PRICED, replace(PRICED, volume=Decimal("20.26580"))])
    assert (line.line, line.trips) == (LINE.line, 2)


@pytest.mark.parametrize("volume", ["20", "100", "18.5"])
def test_a_volume_is_written_in_plain_digits(volume: str) -> None:
    (line,) = lines_of([replace(PRICED, volume=Decimal(volume))])
    assert (str(line.volume), line.line) == (volume, f"driver|site|28169 EUR/m3|{volume}")


def test_an_unpriced_trip_has_no_line() -> None:
    assert amounts(replace(PRICED, volume=None, unpriced="no_volume")) == []


def test_a_trip_that_was_priced_again_counts_once() -> None:
    again = replace(PRICED, volume=Decimal(10))
    (closed, _) = given(PAY_DAYS, PRICED, again).when(CLOSE).facts
    assert [(line.trips, line.amount_minor) for line in closed.fact.lines] == [(1, 281_690)]


def test_a_period_takes_the_trips_of_all_its_days_and_no_other() -> None:
    (
        given(PAY_DAYS, *FIVE_TRIPS[:2], id="2026-11-19")
        .given(PAY_DAYS, *FIVE_TRIPS[2:], id="2026-11-20")
        .given(PAY_DAYS, PRICED, id="2026-11-21")
        .when(ClosePayrollPeriod(from_date=DAY_BEFORE, to_date=DAY))
        .then(
            replace(CLOSED, from_date=DAY_BEFORE),
            on(PAY_DAYS, PayDayClosed(period="period"), id="2026-11-19"),
            on(PAY_DAYS, PayDayClosed(period="period"), id="2026-11-20"),
        )
    )


def test_a_period_without_trips_is_closed_without_lines() -> None:
    given(PAY_DAYS).when(CLOSE).then(replace(CLOSED, lines=()), on(PAY_DAYS, PayDayClosed(period="period")))


def test_a_period_is_closed_once() -> None:
    given(PAYROLL_PERIODS, CLOSED).when(CLOSE).refused(PeriodAlreadyClosed)


def test_no_day_is_paid_twice() -> None:
    (
        given(PAY_DAYS, PayDayClosed(period="other"), id="2026-11-19")
        .when(ClosePayrollPeriod(from_date=DAY_BEFORE, to_date=DAY))
        .refused(PeriodsOverlap, day="2026-11-19", period="other")
    )


@pytest.mark.parametrize("first", [date(2026, 11, 21), date(2026, 9, 19)])
def test_a_period_has_1_to_62_days(first: date) -> None:
    assert ClosePayrollPeriod(from_date=date(2026, 9, 20), to_date=DAY)
    with pytest.raises(ValidationError):
        ClosePayrollPeriod(from_date=first, to_date=DAY)


def test_a_closed_line_is_corrected() -> None:
    given(PAYROLL_PERIODS, CLOSED).when(CORRECT).then(
        PayrollLineCorrected(line=LINE.line, amount_minor=2_800_000, reason="Half a load")
    )


def test_only_a_closed_period_is_corrected() -> None:
    given(PAYROLL_PERIODS).when(CORRECT).refused(PeriodNotClosed)


def test_only_a_line_that_there_is_is_corrected() -> None:
    given(PAYROLL_PERIODS, replace(CLOSED, lines=())).when(CORRECT).refused(NoSuchLine, line=LINE.line)


def test_a_line_that_a_late_change_made_is_corrected() -> None:
    empty = given(PAYROLL_PERIODS, replace(CLOSED, from_date=DAY_BEFORE, lines=()))
    correction = PayrollLineCorrected(line=LINE.line, amount_minor=2_800_000, reason="Half a load")
    empty.given(PAY_DAYS, *FIVE_TRIPS).when(CORRECT).then(correction)
    empty.given(PAY_DAYS, *FIVE_TRIPS, id="2026-11-21").when(CORRECT).refused(NoSuchLine)


def test_a_corrected_line_is_corrected_again_when_its_trips_are_gone() -> None:
    corrected = PayrollLineCorrected(line=LINE.line, amount_minor=2_854_337, reason="Late")
    gone = given(PAYROLL_PERIODS, replace(CLOSED, lines=()), corrected)
    gone.when(CORRECT).then(replace(corrected, amount_minor=2_800_000, reason="Half a load"))


def test_a_closed_day_still_takes_late_changes() -> None:
    (
        KNOWN.given(TRIPS, SCHEDULED, TripStarted(), COMPLETED)
        .given(PAY_DAYS, PRICED, PayDayClosed(period="period"))
        .when(RecordLoad(quantity="18.5", unit="m3", receipt_number="R-1"))
        .then(
            LOAD,
            on(CLAIMS, Claimed(by="trip"), id="receipt/r-1"),
            on(PAY_DAYS, replace(PRICED, volume=Decimal("18.5"))),
        )
    )


def test_a_trip_is_completed_on_a_closed_day() -> None:
    assert worth(EQUIPPED.given(PAY_DAYS, PayDayClosed(period="period"))) == PRICED


# What the office is shown


def shown(*priced: TripPriced, period: tuple[object, ...] = (), first: date = DAY) -> dict[str, Any]:
    """The answer of `/payroll` for these trips, and a period of which this is known."""
    rows = folded(CONTEXTS["trips"], recorded(PAY_DAYS, *priced), recorded(PAYROLL_PERIODS, *period))
    pay = [
        [
            row.trip_id,
            row.driver_id,
            row.to_site_id,
            row.rate_minor,
            row.rate_currency,
            row.rate_unit,
            str(row.volume) if row.volume is not None else None,
            row.unpriced,
            str(row.day),
        ]
        for row in rows["pay"].values()
    ]
    periods = [
        {**msgspec.to_builtins(row), "from": str(row.from_date), "to": str(row.to_date)}
        for row in rows["periods"].values()
    ]
    return document(Wanted.model_validate({"from": first, "to": DAY}), pay, periods, {"driver": "Ana"}, {})


def differences(*priced: TripPriced, period: tuple[object, ...]) -> list[tuple[str, int, int]]:
    """What differs in the period: the line's volume, what it was paid and what it is worth now."""
    (only,) = shown(*priced, period=period)["periods"]
    return [(one["line"].rpartition("|")[2], one["closed_minor"], one["now_minor"]) for one in only["differences"]]


def test_a_line_names_the_trips_behind_it() -> None:
    answer = shown(
        *FIVE_TRIPS, replace(PRICED, volume=Decimal(18)), replace(PRICED, trip="?", volume=None, unpriced="no_volume")
    )
    assert [(line["volume"], line["trip_ids"], line["driver_name"]) for line in answer["lines"]] == [
        ("18", ["trip"], "Ana"),
        ("20.2658", ["trip-0", "trip-1", "trip-2", "trip-3", "trip-4"], "Ana"),
    ]
    assert answer["amount_minor"] == 2_854_337 + 507_042


def test_a_late_load_is_a_difference_until_it_is_settled() -> None:
    late = replace(PRICED, trip="trip-0", volume=Decimal("18.5"))
    assert differences(*FIVE_TRIPS, period=(CLOSED,)) == []
    assert differences(*FIVE_TRIPS, late, period=(CLOSED,)) == [
        ("18.5", 0, 521_126),
        ("20.2658", 2_854_337, 2_283_469),
    ]
    less = PayrollLineCorrected(line=LINE.line, amount_minor=2_283_469, reason="Late load")
    new = PayrollLineCorrected(line="driver|site|28169 EUR/m3|18.5", amount_minor=521_126, reason="Late load")
    assert differences(*FIVE_TRIPS, late, period=(CLOSED, less)) == [("18.5", 0, 521_126)]
    assert differences(*FIVE_TRIPS, late, period=(CLOSED, less, new)) == []
    (settled,) = shown(*FIVE_TRIPS, late, period=(CLOSED, less, new))["periods"]
    assert [line["corrected_minor"] for line in settled["lines"]] == [2_283_469]
    assert [one["line"] for one in settled["corrections"]] == [less.line, new.line]


def test_a_settled_line_differs_again_when_its_trips_change_again() -> None:
    new = PayrollLineCorrected(line="driver|site|28169 EUR/m3|18.5", amount_minor=521_126, reason="Late load")
    assert differences(*FIVE_TRIPS, period=(CLOSED, new)) == [("18.5", 521_126, 0)]


def test_a_load_prices_a_trip_that_ended_while_its_site_had_no_rate() -> None:
    unpaid = replace(PRICED, rate=None, volume=None, unpriced="no_rate")
    worth = replace(PRICED, volume=Decimal("18.5"))
    record = RecordLoad(quantity="18.5", unit="m3", receipt_number="R-1")
    later = SiteRateChanged(rate=RATE, since=NOW)
    ended = (
        KNOWN.given(TRIPS, SCHEDULED, TripStarted(), replace(COMPLETED, rate=None), LOAD)
        .given(CLAIMS, Claimed(by="trip"), id="receipt/r-1")
        .given(SITES, replace(SITE, rate=None))
    )
    ended.given(PAY_DAYS, unpaid).when(record).then()
    ended.given(PAY_DAYS, unpaid).given(SITES, later).when(record).then(on(PAY_DAYS, worth))
    ended.given(PAY_DAYS, unpaid, worth).given(SITES, later).when(record).then()
