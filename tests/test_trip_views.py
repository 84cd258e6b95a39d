"""What readers get to know of haulage: rows after short stories."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from domain.kernel import ERASED, Recorded
from domain.tenants import DEFAULT_GPS_DAYS, TENANTS, FixesExpired, RetentionSet, TenantOpened, TimeZoneChanged
from domain.trips.drivers import (
    DRIVERS,
    DriverFreed,
    DriverRegistered,
    DriverTaken,
    DriverWentOffDuty,
    DriverWentOnDuty,
    DriverWentOnLeave,
    TrackingDisabled,
    TrackingEnabled,
    TruckAssigned,
)
from domain.trips.payroll import (
    PAY_DAYS,
    PAYROLL_PERIODS,
    PayDayClosed,
    PayrollLine,
    PayrollLineCorrected,
    PayrollPeriodClosed,
    TripPriced,
)
from domain.trips.sites import SITES, Rate, SiteClosed, SiteRateChanged, SiteRegistered
from domain.trips.track import (
    Fix,
    FixRef,
    Judged,
    LocationsRecorded,
    Moved,
    SiteDwell,
    Stop,
    TrackCondensed,
    Vertex,
)
from domain.trips.trips import (
    DRIVER_DAYS,
    TRIPS,
    LoadRecorded,
    TripCancelled,
    TripCompleted,
    TripFlagged,
    TripScheduled,
    TripStarted,
)
from domain.trips.trucks import (
    TRUCKS,
    TruckActivated,
    TruckDeactivated,
    TruckFreed,
    TruckRegistered,
    TruckReturnedFromMaintenance,
    TruckSentToMaintenance,
    TruckTaken,
)
from projections.catalog import CONTEXTS
from projections.tenants import Zone
from projections.trips.drivers import DriverRow, LocationRow
from projections.trips.fleet import DriverDayRow, FleetDayRow, FleetRow, TimerRow
from projections.trips.payroll import LineCorrection, PayRow, PeriodRow
from projections.trips.sites import SiteRow
from projections.trips.tracks import StopRow, TrackBatchRow, TrackFix, TrackRow
from projections.trips.trips import Correction, TripRow
from projections.trips.trucks import TruckRow
from tests.given import NOW, folded, recorded

MINUTE = timedelta(minutes=1)
DAY = date(2026, 11, 20)
NEXT_DAY = date(2026, 11, 21)
OPEN = TenantOpened(name="Eco-Haul", time_zone="Europe/Ljubljana", currency="EUR")
RATE = Rate(amount_minor=28_169, currency="EUR", unit="m3")
TRUCK = TruckRegistered(number="7", plate="LJ 7", capacity_m3=Decimal(20))
ANA = DriverRegistered(name="Ana", phone="+386 1", user="ana")
SITE = SiteRegistered(name="Landfill", latitude=46.0, longitude=14.5, rate=RATE)
SCHEDULED = TripScheduled(driver_id="driver", truck_id="truck", date=DAY, to_site_id="site")
STARTED = TripStarted(odometer_km=48_210)
LOAD = LoadRecorded(quantity=Decimal("18.5"), unit="m3", receipt_number="R-1", evidence="ticket")
COMPLETED = TripCompleted(on=DAY, odometer_km=48_260)
CANCELLED = TripCancelled(reason="Rain")
PLANNED = recorded(TRIPS, SCHEDULED)
ON_THE_ROAD = recorded(TRIPS, SCHEDULED, STARTED)
KNOWN = recorded(DRIVERS, ANA)
ANA_DRIVES = [*KNOWN, *ON_THE_ROAD]
FIRST, SECOND = FixRef(batch=1, index=0), FixRef(batch=1, index=1)
FIX = Fix(index=0, at=NOW, latitude=46.05, longitude=14.5, accuracy_m=5.0)
NEXT = replace(FIX, index=1, at=NOW + MINUTE, longitude=14.51)
STOP = Stop(first=FIRST, last=SECOND, day=DAY, seconds=300)
LINE = (
    Vertex(at=FIX.at, latitude=46.05, longitude=14.5),
    Vertex(at=NEXT.at, latitude=46.05, longitude=14.51),
)
CONDENSED = TrackCondensed(driver_id="driver", through=DAY, until=NEXT.at, line=LINE, dwell=(), sha256="of the fixes")
PRICED = TripPriced(trip="trip", driver_id="driver", to_site_id="site", rate=RATE, volume=Decimal(20))
PAID = PayrollLine(
    line="a line", driver_id="driver", to_site_id="site", rate=RATE, volume=Decimal(20), trips=5, amount_minor=2_816_900
)
CLOSED = PayrollPeriodClosed(from_date=DAY, to_date=DAY, lines=(PAID,))

Story = list[Recorded[Any]]


def rows(view: str, *stories: Story) -> dict[Any, Any]:
    """The rows of a view after these stories, by key."""
    return folded(CONTEXTS["trips"], *stories)[view]


def row(view: str, *stories: Story) -> Any:
    """The only row of a view after these stories."""
    (only,) = rows(view, *stories).values()
    return only


def trip(*facts: object, at: datetime = NOW) -> Any:
    """The row of a trip on the road after these facts."""
    return row("trips", ON_THE_ROAD, recorded(TRIPS, *facts, at=at))


def batch(*fixes: Fix, number: int = 1, mm: int = 0, **more: Any) -> LocationsRecorded:
    """A batch of fixes that led so many millimetres."""
    moved = (Moved(day=DAY, mm=mm),) if mm else ()
    fact = LocationsRecorded(driver_id="driver", arrived=DAY, batch=number, count=len(fixes), fixes=fixes, moved=moved)
    return replace(fact, **more)


def erased(fact: LocationsRecorded) -> LocationsRecorded:
    """The same batch after its key was destroyed."""
    return replace(fact, fixes=ERASED)


def judged(index: int, verdict: Any, number: int = 1) -> Judged:
    """A verdict that is not simply 'kept'."""
    return Judged(batch=number, index=index, verdict=verdict)


# Trips


def test_a_planned_trip_is_a_row() -> None:
    assert rows("trips", PLANNED) == {
        ("trip",): TripRow(
            id="trip",
            status="scheduled",
            driver_id="driver",
            truck_id="truck",
            date=DAY,
            from_site_id=None,
            to_site_id="site",
            version=1,
        )
    }


def test_a_trip_is_driven_to_its_end() -> None:
    planned = row("trips", PLANNED)
    started = replace(planned, status="started", started_at=NOW, odometer_start_km=48_210, version=2)
    assert trip() == started
    completed = replace(
        started, status="completed", ended_at=NOW + MINUTE, completed_on=DAY, odometer_end_km=48_260, version=3
    )
    assert trip(COMPLETED, at=NOW + MINUTE) == completed


def test_a_trip_shows_its_latest_load() -> None:
    shown = trip(replace(LOAD, receipt_number="R-0"), LOAD)
    assert (shown.load_quantity, shown.load_unit) == (Decimal("18.5"), "m3")
    assert (shown.receipt_number, shown.evidence, shown.version) == ("R-1", "ticket", 4)


def test_a_cancelled_trip_says_why() -> None:
    assert trip(CANCELLED) == replace(trip(), status="cancelled", ended_at=NOW, cancel_reason="Rain", version=3)


def test_a_trip_shows_how_it_was_flagged_last() -> None:
    flags = [TripFlagged(compliance="needs_review", note="?"), TripFlagged(compliance="compliant", note="Fine")]
    shown = trip(COMPLETED, *flags)
    assert (shown.compliance, shown.compliance_note, shown.version) == ("compliant", "Fine", 5)


def test_distance_and_dwell_add_up() -> None:
    shown = trip(batch(FIX, mm=1_500, dwell_seconds=300), batch(NEXT, number=2, mm=-200, dwell_seconds=-100))
    assert (shown.distance_mm, shown.dwell_seconds) == (1_300, 200)


def test_a_trip_counts_fixes_as_they_were_sent_and_rejected_on_arrival() -> None:
    mixed = batch(FIX, NEXT, FIX, judged=(judged(0, "speed"), judged(1, "still"), judged(2, "duplicate")))
    later = batch(FIX, number=2, judged=(judged(1, "speed"), judged(0, "kept")))
    shown = trip(mixed, later)
    assert (shown.fixes, shown.fixes_rejected) == (4, 1)


def test_fixes_in_order_correct_nothing() -> None:
    assert trip(batch(FIX, mm=1_500), batch(NEXT, number=2, mm=-200)).corrections == ()


def test_late_fixes_correct_the_distance_visibly() -> None:
    shown = trip(batch(FIX, mm=41_200_000), batch(NEXT, number=2, mm=1_800_000, late=12), at=NOW + MINUTE)
    assert shown.corrections == (Correction(at=NOW + MINUTE, from_mm=41_200_000, to_mm=43_000_000, late_fixes=12),)


def test_fixes_after_the_end_correct_the_distance_visibly() -> None:
    assert trip(batch(FIX, mm=1_500), COMPLETED, batch(NEXT, number=2, mm=500)).corrections == (
        Correction(at=NOW, from_mm=1_500, to_mm=2_000, late_fixes=1),
    )


def test_late_fixes_that_change_no_distance_correct_nothing() -> None:
    assert trip(batch(FIX, mm=1_500), batch(NEXT, number=2, late=1)).corrections == ()


def test_a_trip_keeps_its_latest_20_corrections() -> None:
    shown = trip(*(batch(FIX, number=n, mm=1, late=1) for n in range(1, 26)))
    assert [correction.to_mm for correction in shown.corrections] == list(range(6, 26))


def test_a_condensed_trip_says_until_when_and_keeps_its_numbers() -> None:
    shown = trip(batch(FIX, NEXT, mm=1_500, dwell_seconds=300), CONDENSED)
    assert (shown.track_erased_until, shown.distance_mm, shown.dwell_seconds) == (NEXT.at, 1_500, 300)


# Trucks


def test_a_truck_joins_in_service() -> None:
    assert rows("trucks", recorded(TRUCKS, TRUCK)) == {
        ("truck",): TruckRow(id="truck", number="7", plate="LJ 7", capacity_m3=Decimal(20), version=1)
    }


def test_a_truck_shows_the_trip_that_holds_it() -> None:
    taken = TruckTaken(trip="trip")
    assert row("trucks", recorded(TRUCKS, TRUCK, taken)).trip_id == "trip"
    assert row("trucks", recorded(TRUCKS, TRUCK, taken, TruckFreed(trip="trip"))).trip_id is None


def test_a_truck_says_why_it_is_in_the_workshop() -> None:
    shown = row("trucks", recorded(TRUCKS, TRUCK, TruckSentToMaintenance(reason="Brakes")))
    assert (shown.status, shown.maintenance_reason) == ("maintenance", "Brakes")


@pytest.mark.parametrize(
    "facts",
    [
        (TruckSentToMaintenance(reason="Brakes"), TruckReturnedFromMaintenance()),
        (TruckDeactivated(), TruckActivated()),
    ],
)
def test_a_truck_comes_back_into_service(facts: tuple[object, ...]) -> None:
    shown = row("trucks", recorded(TRUCKS, TRUCK, *facts))
    assert (shown.status, shown.maintenance_reason, shown.version) == ("active", None, 3)


def test_a_truck_goes_out_of_service() -> None:
    assert row("trucks", recorded(TRUCKS, TRUCK, TruckDeactivated())).status == "inactive"


# Drivers


def test_a_driver_joins_off_duty_and_tracked() -> None:
    assert rows("drivers", KNOWN) == {
        ("driver",): DriverRow(
            id="driver", name="Ana", phone="+386 1", user="ana", duty="off", tracking=True, version=1
        )
    }


def test_a_driver_whose_name_was_erased_has_none() -> None:
    shown = row("drivers", recorded(DRIVERS, replace(ANA, name=ERASED, phone=ERASED)))
    assert (shown.name, shown.phone, shown.user) == ("", None, "ana")


def test_a_driver_goes_on_and_off_duty() -> None:
    facts = [ANA, DriverWentOnDuty(), DriverWentOffDuty()]
    assert [row("drivers", recorded(DRIVERS, *facts[:n])).duty for n in (1, 2, 3)] == ["off", "on", "off"]


def test_a_driver_is_on_leave_until_he_is_back() -> None:
    away = [ANA, DriverWentOnLeave(until=NEXT_DAY)]
    shown = row("drivers", recorded(DRIVERS, *away))
    assert (shown.duty, shown.leave_until) == ("leave", NEXT_DAY)
    assert row("drivers", recorded(DRIVERS, *away, DriverWentOnDuty())).leave_until is None


def test_a_driver_shows_his_usual_truck_and_the_trip_that_holds_him() -> None:
    facts = [ANA, TruckAssigned(truck_id="truck"), DriverTaken(trip="trip")]
    shown = row("drivers", recorded(DRIVERS, *facts))
    assert (shown.truck_id, shown.trip_id) == ("truck", "trip")
    assert row("drivers", recorded(DRIVERS, *facts, DriverFreed(trip="trip"))).trip_id is None


def test_a_driver_shows_whether_he_is_tracked() -> None:
    facts = [ANA, TrackingDisabled(since=NOW), TrackingEnabled(since=NOW + MINUTE)]
    assert [row("drivers", recorded(DRIVERS, *facts[:n])).tracking for n in (1, 2, 3)] == [True, False, True]


def test_tracking_that_was_on_for_a_while_before_it_went_off_is_off() -> None:
    switches = [TrackingDisabled(since=NOW), TrackingDisabled(since=NOW - 2 * MINUTE)]
    late = TrackingEnabled(since=NOW - MINUTE)
    assert row("drivers", recorded(DRIVERS, ANA, *switches, late)).tracking is False


def test_tracking_that_was_off_for_a_while_before_it_went_on_is_on() -> None:
    switches = [TrackingDisabled(since=NOW - 2 * MINUTE), TrackingEnabled(since=NOW)]
    late = TrackingDisabled(since=NOW - 3 * MINUTE)
    assert row("drivers", recorded(DRIVERS, ANA, *switches, late)).tracking is True


# Locations


def seen(*facts: object) -> Story:
    """These facts of a trip."""
    return recorded(TRIPS, *facts)


def test_a_driver_is_where_his_newest_fix_was() -> None:
    assert rows("locations", ANA_DRIVES, seen(batch(NEXT, FIX))) == {
        ("driver",): LocationRow(
            driver_id="driver",
            at=NEXT.at,
            latitude=46.05,
            longitude=14.51,
            accuracy_m=5.0,
            track="trips/trip",
            batch=1,
            index=1,
            trip_id="trip",
        )
    }


def test_a_driver_is_somewhere_outside_of_trips_too() -> None:
    shown = row("locations", ANA_DRIVES, recorded(DRIVER_DAYS, batch(FIX)))
    assert (shown.track, shown.trip_id) == ("driver-days/driver.2026-11-20", None)


def test_a_late_fix_is_not_where_the_driver_is() -> None:
    assert row("locations", ANA_DRIVES, seen(batch(NEXT), batch(FIX, number=2))).at == NEXT.at


def test_a_place_that_does_not_count_any_more_gives_way_to_the_one_before() -> None:
    late = batch(replace(NEXT, at=NEXT.at + MINUTE), number=2)
    teleport = judged(1, "speed")
    assert (
        row("locations", ANA_DRIVES, seen(batch(FIX, NEXT), replace(batch(number=2), judged=(teleport,)))).at == FIX.at
    )
    assert (
        row("locations", ANA_DRIVES, seen(batch(FIX, NEXT), replace(late, judged=(teleport,)))).at == late.fixes[0].at
    )
    assert rows("locations", ANA_DRIVES, seen(batch(NEXT), replace(batch(number=2), judged=(teleport,)))) == {}


def test_a_phone_whose_clock_is_ahead_does_not_hide_where_the_driver_is() -> None:
    ahead = replace(NEXT, at=NOW + 20 * 60 * MINUTE)
    assert row("locations", ANA_DRIVES, seen(batch(FIX, ahead))).at == FIX.at


def test_a_fix_that_does_not_count_is_not_where_the_driver_is() -> None:
    assert row("locations", ANA_DRIVES, seen(batch(FIX, NEXT, judged=(judged(1, "speed"),)))).at == FIX.at


def test_a_standing_driver_is_where_he_stands() -> None:
    assert row("locations", ANA_DRIVES, seen(batch(FIX, NEXT, judged=(judged(1, "still"),)))).at == NEXT.at


def test_tracking_off_hides_the_latest_place() -> None:
    assert rows("locations", ANA_DRIVES, seen(batch(FIX)), recorded(DRIVERS, TrackingDisabled(since=NOW))) == {}


def test_what_comes_late_stays_hidden_while_tracking_is_off() -> None:
    assert rows("locations", ANA_DRIVES, recorded(DRIVERS, TrackingDisabled(since=NEXT.at)), seen(batch(FIX))) == {}


def test_tracking_on_shows_the_next_place() -> None:
    switches = recorded(DRIVERS, TrackingDisabled(since=NOW), TrackingEnabled(since=NEXT.at))
    assert rows("locations", ANA_DRIVES, seen(batch(FIX)), switches) == {}
    assert row("locations", ANA_DRIVES, seen(batch(FIX)), switches, seen(batch(NEXT, number=2))).at == NEXT.at


def test_a_latest_place_is_forgotten_with_its_track() -> None:
    assert rows("locations", ANA_DRIVES, seen(batch(FIX), CONDENSED)) == {}


def test_a_latest_place_is_not_forgotten_with_another_track() -> None:
    shown = row(
        "locations", ANA_DRIVES, recorded(DRIVER_DAYS, batch(FIX)), seen(batch(NEXT)), recorded(DRIVER_DAYS, CONDENSED)
    )
    assert shown.at == NEXT.at


def test_erased_fixes_are_nowhere() -> None:
    assert rows("locations", ANA_DRIVES, seen(erased(batch(FIX)))) == {}


# Tracks


def test_a_track_knows_its_days_batches_and_stops() -> None:
    later = batch(NEXT, number=2, arrived=NEXT_DAY, stops=(STOP,))
    assert rows("tracks", ON_THE_ROAD, seen(batch(FIX), later)) == {
        ("trips/trip",): TrackRow(
            track="trips/trip",
            stream="trips",
            id="trip",
            driver_id="driver",
            days=(DAY, NEXT_DAY),
            oldest_day=DAY,
            batches=2,
            stops=(FIRST,),
        )
    }


def test_a_stop_that_is_none_any_more_leaves_its_track() -> None:
    assert (
        row(
            "tracks", ON_THE_ROAD, seen(batch(FIX, NEXT, stops=(STOP,)), batch(FIX, number=2, unstopped=(FIRST,)))
        ).stops
        == ()
    )


def test_a_stop_that_grows_is_one_stop() -> None:
    longer = replace(STOP, seconds=600)
    assert row(
        "tracks", ON_THE_ROAD, seen(batch(FIX, NEXT, stops=(STOP,)), batch(FIX, number=2, stops=(longer,)))
    ).stops == (FIRST,)


def test_a_condensed_track_is_its_line() -> None:
    shown = row("tracks", ON_THE_ROAD, seen(batch(FIX, NEXT, stops=(STOP,)), CONDENSED))
    assert (shown.line, shown.sha256, shown.condensed_until) == (LINE, "of the fixes", NEXT.at)
    assert (shown.days, shown.oldest_day, shown.stops) == ((), None, ())


def test_a_line_goes_on_where_the_one_before_it_ended() -> None:
    on = Vertex(at=NOW + 9 * MINUTE, latitude=46.1, longitude=14.6)
    later = replace(CONDENSED, line=(LINE[-1], on), until=on.at)
    shown = row("tracks", ON_THE_ROAD, seen(batch(FIX, NEXT), CONDENSED, batch(FIX, number=2), later))
    assert shown.line == (*LINE, on)


def test_fixes_after_a_condensed_track_are_kept_from_their_day_on() -> None:
    shown = row("tracks", ON_THE_ROAD, seen(batch(FIX, NEXT), CONDENSED, batch(FIX, number=2, arrived=NEXT_DAY)))
    assert (shown.days, shown.oldest_day, shown.line) == ((NEXT_DAY,), NEXT_DAY, LINE)


def test_an_erased_line_is_empty() -> None:
    assert row("tracks", ON_THE_ROAD, seen(erased(batch(FIX)), replace(CONDENSED, line=ERASED))).line == ()


# Track batches


def test_a_batch_shows_its_fixes_with_their_verdicts() -> None:
    assert rows("track_batches", ON_THE_ROAD, seen(batch(FIX, NEXT, judged=(judged(1, "speed"),)))) == {
        ("trips/trip", 1): TrackBatchRow(
            track="trips/trip",
            batch=1,
            fixes=(
                TrackFix(index=0, at=FIX.at, latitude=46.05, longitude=14.5, accuracy_m=5.0, verdict="kept"),
                TrackFix(index=1, at=NEXT.at, latitude=46.05, longitude=14.51, accuracy_m=5.0, verdict="speed"),
            ),
        )
    }


def test_a_later_batch_changes_earlier_verdicts() -> None:
    later = batch(FIX, number=2, judged=(judged(1, "speed"), judged(0, "still", number=2)))
    found = rows("track_batches", ON_THE_ROAD, seen(batch(FIX, NEXT), later))
    assert [fix.verdict for fix in found["trips/trip", 1].fixes] == ["kept", "speed"]
    assert [fix.verdict for fix in found["trips/trip", 2].fixes] == ["still"]


def test_condensing_deletes_every_batch_of_the_track_and_no_other() -> None:
    others = recorded(DRIVER_DAYS, batch(FIX))
    found = rows("track_batches", others, ON_THE_ROAD, seen(batch(FIX), batch(NEXT, number=2), CONDENSED))
    assert list(found) == [("driver-days/driver.2026-11-20", 1)]


def test_an_erased_batch_is_none_and_its_later_verdicts_change_nothing() -> None:
    later = batch(NEXT, number=2, judged=(judged(0, "speed"),))
    assert list(rows("track_batches", ON_THE_ROAD, seen(erased(batch(FIX)), later))) == [("trips/trip", 2)]


# Stops


def test_a_stop_is_where_its_first_fix_was() -> None:
    assert rows("stops", ON_THE_ROAD, seen(batch(FIX, NEXT, stops=(STOP,)))) == {
        ("trips/trip", 1, 0): StopRow(
            track="trips/trip",
            batch=1,
            index=0,
            driver_id="driver",
            trip_id="trip",
            day=DAY,
            seconds=300,
            latitude=46.05,
            longitude=14.5,
        )
    }


def test_a_stop_may_begin_in_an_earlier_batch() -> None:
    shown = row("stops", ON_THE_ROAD, seen(batch(FIX), batch(NEXT, number=2, stops=(STOP,))))
    assert (shown.batch, shown.latitude, shown.longitude) == (1, 46.05, 14.5)


def test_a_stop_grows_at_its_place() -> None:
    longer = replace(STOP, seconds=600)
    shown = row("stops", ON_THE_ROAD, seen(batch(FIX, NEXT, stops=(STOP,)), batch(FIX, number=2, stops=(longer,))))
    assert (shown.seconds, shown.latitude) == (600, 46.05)


def test_a_stop_that_is_none_any_more_is_deleted() -> None:
    assert (
        rows("stops", ON_THE_ROAD, seen(batch(FIX, NEXT, stops=(STOP,)), batch(FIX, number=2, unstopped=(FIRST,))))
        == {}
    )


def test_a_stop_outside_of_trips_has_no_trip() -> None:
    assert row("stops", recorded(DRIVER_DAYS, batch(FIX, NEXT, stops=(STOP,)))).trip_id is None


def test_a_stop_whose_fixes_were_erased_has_no_place() -> None:
    shown = row("stops", ON_THE_ROAD, seen(erased(batch(FIX, NEXT, stops=(STOP,)))))
    assert (shown.seconds, shown.latitude, shown.longitude) == (300, None, None)


AT_THE_SITE = SiteDwell(site_id="site", day=DAY, seconds=300)
ELSEWHERE = SiteDwell(site_id=None, day=NEXT_DAY, seconds=200)


def test_condensing_deletes_the_stops_and_leaves_the_dwell_of_each_site() -> None:
    dwelt = replace(CONDENSED, dwell=(AT_THE_SITE, ELSEWHERE))
    found = rows("stops", ON_THE_ROAD, seen(batch(FIX, NEXT, stops=(STOP,)), dwelt))
    assert [(one.site_id, one.day, one.seconds, one.latitude) for one in found.values()] == [
        ("site", DAY, 300, None),
        (None, NEXT_DAY, 200, None),
    ]


def test_condensing_again_carries_the_dwell_of_before() -> None:
    more = replace(CONDENSED, dwell=(replace(AT_THE_SITE, seconds=900), ELSEWHERE))
    found = rows(
        "stops", ON_THE_ROAD, seen(batch(FIX), replace(CONDENSED, dwell=(AT_THE_SITE,)), batch(NEXT, number=2), more)
    )
    assert [one.seconds for one in found.values()] == [900, 200]


def test_a_stop_that_begins_where_the_condensed_track_ended_leaves_the_dwell_of_before() -> None:
    at_the_end = replace(STOP, first=FixRef(batch=0, index=0), last=FixRef(batch=2, index=0), seconds=400)
    dwelt = replace(CONDENSED, dwell=(AT_THE_SITE,))
    found = rows("stops", ON_THE_ROAD, seen(batch(FIX), dwelt, batch(NEXT, number=2, stops=(at_the_end,))))
    assert sum(one.seconds for one in found.values()) == 300 + 400


# The fleet


def fleet(*stories: Story) -> Any:
    """The counters of an open organisation."""
    return row("fleet", recorded(TENANTS, OPEN), *stories)


def test_an_organisation_opens_with_its_calendar_and_currency() -> None:
    zone = Zone(from_date=date.min, time_zone="Europe/Ljubljana")
    assert fleet() == FleetRow(name="fleet", currency="EUR", zones=(zone,))


def test_another_time_zone_holds_from_its_date_on() -> None:
    moved = TimeZoneChanged(time_zone="Pacific/Auckland", from_date=DAY)
    later = Zone(from_date=DAY, time_zone="Pacific/Auckland")
    assert fleet(recorded(TENANTS, moved)).zones == (*fleet().zones, later)
    assert fleet(recorded(TENANTS, moved, moved)).zones == (*fleet().zones, later)


@pytest.mark.parametrize(
    ("count", "facts"),
    [
        (1, [TRUCK]),
        (0, [TRUCK, TruckDeactivated()]),
        (1, [TRUCK, TruckDeactivated(), TruckActivated()]),
        (0, [TRUCK, TruckSentToMaintenance(reason="Brakes")]),
        (0, [TRUCK, TruckDeactivated(), TruckSentToMaintenance(reason="Brakes")]),
        (1, [TRUCK, TruckSentToMaintenance(reason="Brakes"), TruckReturnedFromMaintenance()]),
    ],
)
def test_trucks_in_service_are_counted_up_and_down(count: int, facts: list[object]) -> None:
    assert fleet(recorded(TRUCKS, *facts)).active_trucks == count


@pytest.mark.parametrize(
    ("count", "facts"),
    [
        (0, [ANA]),
        (1, [ANA, DriverWentOnDuty()]),
        (0, [ANA, DriverWentOnDuty(), DriverWentOffDuty()]),
        (0, [ANA, DriverWentOnDuty(), DriverWentOnLeave()]),
        (0, [ANA, DriverWentOnLeave(), DriverWentOnLeave()]),
        (1, [ANA, DriverWentOnLeave(), DriverWentOnDuty()]),
    ],
)
def test_drivers_on_duty_are_counted_up_and_down(count: int, facts: list[object]) -> None:
    assert fleet(recorded(DRIVERS, *facts)).drivers_on_duty == count


@pytest.mark.parametrize(
    ("active", "planned", "facts"),
    [
        (0, 1, [SCHEDULED]),
        (1, 1, [SCHEDULED, STARTED]),
        (0, 1, [SCHEDULED, STARTED, COMPLETED]),
        (0, 0, [SCHEDULED, CANCELLED]),
        (0, 0, [SCHEDULED, STARTED, CANCELLED]),
    ],
)
def test_trips_are_counted_up_and_down(active: int, planned: int, facts: list[object]) -> None:
    counted = fleet(recorded(TRIPS, *facts))
    assert (counted.active_trips, counted.trips) == (active, planned)


def test_several_records_are_counted_together() -> None:
    more = [recorded(TRUCKS, TRUCK, id=f"truck {number}") for number in range(3)]
    assert fleet(*more, recorded(TRUCKS, TruckDeactivated(), id="truck 1")).active_trucks == 2


def test_the_distance_of_the_fleet_goes_up_and_down() -> None:
    assert fleet(ON_THE_ROAD, seen(batch(FIX, mm=1_500), batch(NEXT, number=2, mm=-200))).distance_mm == 1_300


def test_who_watches_the_fleet_hears_of_prices_and_of_drives_outside_of_trips() -> None:
    assert fleet(recorded(PAY_DAYS, PRICED, PRICED)).priced == 2
    assert fleet(recorded(DRIVER_DAYS, batch(FIX, mm=1_500))).off_trip_mm == 1_500


def test_the_distance_of_the_fleet_is_that_of_trips() -> None:
    assert fleet(recorded(DRIVER_DAYS, batch(FIX, mm=1_500))).distance_mm == 0


def test_what_was_counted_before_the_organisation_opened_stays_counted() -> None:
    counted = row("fleet", recorded(TRUCKS, TRUCK), recorded(TENANTS, OPEN))
    assert (counted.active_trucks, counted.currency) == (1, "EUR")


# Days


def test_a_day_counts_the_trips_planned_for_it() -> None:
    other = recorded(TRIPS, replace(SCHEDULED, date=NEXT_DAY), id="other")
    assert rows("fleet_days", PLANNED, other) == {
        (DAY,): FleetDayRow(day=DAY, trips=1),
        (NEXT_DAY,): FleetDayRow(day=NEXT_DAY, trips=1),
    }


@pytest.mark.parametrize("story", [PLANNED, ON_THE_ROAD])
def test_a_cancelled_trip_leaves_its_day(story: Story) -> None:
    assert row("fleet_days", story, recorded(TRIPS, CANCELLED, at=NOW + timedelta(days=3))) == FleetDayRow(day=DAY)


def test_a_distance_belongs_to_the_day_on_which_it_was_driven() -> None:
    both = batch(FIX, NEXT, moved=(Moved(day=DAY, mm=1_000), Moved(day=NEXT_DAY, mm=500)))
    later = batch(FIX, number=2, mm=-300)
    assert rows("fleet_days", PLANNED, seen(both, later)) == {
        (DAY,): FleetDayRow(day=DAY, trips=1, distance_mm=700),
        (NEXT_DAY,): FleetDayRow(day=NEXT_DAY, distance_mm=500),
    }


def test_a_driver_has_his_own_days() -> None:
    both = batch(FIX, NEXT, moved=(Moved(day=DAY, mm=1_000), Moved(day=NEXT_DAY, mm=500)))
    assert rows("driver_days", ON_THE_ROAD, seen(both), recorded(DRIVER_DAYS, batch(FIX, mm=200))) == {
        ("driver", DAY): DriverDayRow(driver_id="driver", day=DAY, distance_mm=1_000, off_trip_mm=200),
        ("driver", NEXT_DAY): DriverDayRow(driver_id="driver", day=NEXT_DAY, distance_mm=500),
    }


def test_a_driver_has_his_trip_on_the_day_it_was_completed() -> None:
    done = recorded(TRIPS, replace(COMPLETED, on=NEXT_DAY))
    assert rows("driver_days", ON_THE_ROAD, done) == {
        ("driver", NEXT_DAY): DriverDayRow(driver_id="driver", day=NEXT_DAY, trips=1)
    }


def test_erased_fixes_keep_their_numbers() -> None:
    gone = erased(batch(FIX, mm=1_500, dwell_seconds=300))
    assert trip(gone).distance_mm == 1_500
    assert row("driver_days", ON_THE_ROAD, seen(gone)).distance_mm == 1_500


# Sites


def test_a_site_shows_its_rate() -> None:
    assert rows("sites", recorded(SITES, SITE)) == {
        ("site",): SiteRow(
            id="site",
            name="Landfill",
            address=None,
            latitude=46.0,
            longitude=14.5,
            rate_minor=28_169,
            rate_currency="EUR",
            rate_unit="m3",
            version=1,
        )
    }


def test_a_site_shows_the_rate_that_was_set_last() -> None:
    changed = SiteRateChanged(rate=Rate(amount_minor=900, currency="EUR", unit="t"), since=NOW)
    shown = row("sites", recorded(SITES, replace(SITE, rate=None), changed))
    assert (shown.rate_minor, shown.rate_unit, shown.version) == (900, "t", 2)


def test_a_closed_site_is_closed() -> None:
    assert row("sites", recorded(SITES, SITE, SiteClosed())).status == "closed"


# Payroll


def test_a_completed_trip_shows_what_it_is_worth() -> None:
    assert rows("pay", recorded(PAY_DAYS, PRICED)) == {
        ("trip",): PayRow(
            trip_id="trip",
            day=DAY,
            driver_id="driver",
            to_site_id="site",
            rate_minor=28_169,
            rate_currency="EUR",
            rate_unit="m3",
            volume=Decimal(20),
        )
    }


def test_a_trip_that_is_priced_again_shows_its_latest_worth() -> None:
    again = replace(PRICED, volume=None, unpriced="other_unit")
    shown = row("pay", recorded(PAY_DAYS, PRICED, PayDayClosed(period="period"), again))
    assert (shown.volume, shown.unpriced) == (None, "other_unit")


def test_an_unpriced_trip_says_why() -> None:
    shown = row("pay", recorded(PAY_DAYS, replace(PRICED, rate=None, volume=None, unpriced="no_rate")))
    assert (shown.rate_minor, shown.rate_currency, shown.unpriced) == (None, None, "no_rate")


def test_a_closed_period_keeps_the_lines_that_were_paid() -> None:
    assert rows("periods", recorded(PAYROLL_PERIODS, CLOSED)) == {
        ("period",): PeriodRow(id="period", from_date=DAY, to_date=DAY, closed_at=NOW, lines=(PAID,), version=1)
    }


def test_a_corrected_line_stands_beside_what_was_paid() -> None:
    correction = PayrollLineCorrected(line="a line", amount_minor=5, reason="Half a load")
    shown = row("periods", recorded(PAYROLL_PERIODS, CLOSED), recorded(PAYROLL_PERIODS, correction, at=NOW + MINUTE))
    assert (shown.lines, shown.closed_at, shown.version) == ((PAID,), NOW, 2)
    assert shown.corrections == (LineCorrection(line="a line", amount_minor=5, reason="Half a load", at=NOW + MINUTE),)


def test_a_late_change_leaves_the_closed_period_as_it_was_paid() -> None:
    late = recorded(PAY_DAYS, replace(PRICED, volume=Decimal(10)))
    assert row("periods", recorded(PAYROLL_PERIODS, CLOSED), late).lines == (PAID,)
    assert row("pay", recorded(PAY_DAYS, PRICED), recorded(PAYROLL_PERIODS, CLOSED), late).volume == Decimal(10)


# Timers


def test_fixes_are_due_30_whole_days_after_the_day_they_arrived() -> None:
    assert rows("timers", ON_THE_ROAD, seen(batch(FIX))) == {
        ("expire-fixes",): TimerRow(
            name="expire-fixes", due_at=datetime(2026, 12, 21, tzinfo=UTC), days=(DAY,), gps_days=DEFAULT_GPS_DAYS
        )
    }


def test_the_oldest_day_is_due_first() -> None:
    shown = row(
        "timers",
        ON_THE_ROAD,
        seen(batch(FIX, arrived=NEXT_DAY)),
        recorded(DRIVER_DAYS, batch(FIX), batch(NEXT, number=2)),
    )
    assert (shown.days, shown.due_at) == ((DAY, NEXT_DAY), datetime(2026, 12, 21, tzinfo=UTC))


@pytest.mark.parametrize("first", ["fixes", "retention"])
def test_another_retention_moves_what_is_due(first: str) -> None:
    stories = [[*ON_THE_ROAD, *seen(batch(FIX))], recorded(TENANTS, RetentionSet(gps_days=1))]
    shown = row("timers", *(stories if first == "fixes" else stories[::-1]))
    assert shown.due_at == datetime(2026, 11, 22, tzinfo=UTC)


def test_after_a_day_expired_the_next_one_is_due() -> None:
    expired = recorded(TENANTS, FixesExpired(through=DAY))
    shown = row("timers", ON_THE_ROAD, seen(batch(FIX), batch(NEXT, number=2, arrived=NEXT_DAY)), expired)
    assert (shown.days, shown.due_at) == ((NEXT_DAY,), datetime(2026, 12, 22, tzinfo=UTC))


def test_nothing_is_due_once_everything_expired() -> None:
    shown = row("timers", ON_THE_ROAD, seen(batch(FIX)), recorded(TENANTS, FixesExpired(through=NEXT_DAY)))
    assert (shown.days, shown.due_at) == ((), None)
