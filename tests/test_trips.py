"""Trips: from the plan to the end of the road."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from hashlib import sha256

import pytest
from pydantic import ValidationError

from commands.kernel import Command
from commands.trips.locations import Acknowledged, FixSent, RejectedFix
from commands.trips.trips import (
    CancelTrip,
    CompleteTrip,
    CondenseTrack,
    FlagTrip,
    RecordLoad,
    RecordTripLocations,
    ScheduleTrip,
    SiteDwellSent,
    StartTrip,
)
from domain.claims import CLAIMS, Claimed, Released
from domain.kernel import ERASED, NotYours
from domain.roles import Role
from domain.tenants import TENANTS, TenantNotOpen, TenantOpened
from domain.trips.drivers import (
    DRIVERS,
    DriverFreed,
    DriverNotOnDuty,
    DriverOnTheRoad,
    DriverRegistered,
    DriverTaken,
    DriverUnknown,
    DriverWentOffDuty,
    DriverWentOnDuty,
)
from domain.trips.payroll import PAY_DAYS, TripPriced
from domain.trips.sites import SITES, Rate, SiteClosed, SiteIsClosed, SiteRateChanged, SiteRegistered, SiteUnknown
from domain.trips.track import Fix, Judged, LocationsRecorded, SiteDwell, TrackCondensed, TrackErased, Vertex
from domain.trips.trips import (
    DRIVER_DAYS,
    TRIPS,
    EndsBeforeItsStart,
    LoadRecorded,
    OdometerWentBack,
    ReceiptNumberTaken,
    TripAlreadyScheduled,
    TripCancelled,
    TripCompleted,
    TripFlagged,
    TripNotCompleted,
    TripNotScheduled,
    TripNotStarted,
    TripOver,
    TripScheduled,
    TripStarted,
)
from domain.trips.trucks import (
    TRUCKS,
    TruckDeactivated,
    TruckFreed,
    TruckNotActive,
    TruckOnTheRoad,
    TruckRegistered,
    TruckTaken,
    TruckUnknown,
)
from tests.given import NOW, Given, given, on

DAY = date(2026, 11, 20)
OPEN = TenantOpened(name="Eco-Haul", time_zone="Europe/Ljubljana", currency="EUR")
FREE = TruckRegistered(number="7", plate="LJ 7", net_capacity_m3=Decimal("20.2658"))
REGISTERED = DriverRegistered(name="Ana", user="ana")
ON_DUTY = DriverWentOnDuty()
RATE = Rate(amount_minor=28_169, currency="EUR", unit="m3")
DEARER = replace(RATE, amount_minor=30_000)
SITE = SiteRegistered(name="Landfill", latitude=46.0, longitude=14.5, rate=RATE)
SCHEDULED = TripScheduled(driver_id="driver", truck_id="truck", date=DAY, to_site_id="site")
STARTED = TripStarted(odometer_km=48_210)
COMPLETED = TripCompleted(on=DAY, rate=RATE, net_capacity_m3=FREE.net_capacity_m3)
CANCELLED = TripCancelled(reason="Rain")
PRICED = TripPriced(trip="trip", driver_id="driver", to_site_id="site", rate=RATE, volume=FREE.net_capacity_m3)
LOAD = LoadRecorded(quantity=Decimal("18.5"), unit="m3", receipt_number="R-1")
SCHEDULE = ScheduleTrip(driver_id="driver", truck_id="truck", date=DAY, to_site_id="site")
CANCEL = CancelTrip(reason="Rain")
FLAG = FlagTrip(compliance="needs_review", note="No ticket")
FIX = Fix(index=0, at=NOW, latitude=46.05, longitude=14.5)
ARRIVED = LocationsRecorded(driver_id="driver", arrived=DAY, batch=1, count=1, fixes=(FIX,))
CONDENSE = CondenseTrack(through=DAY, driver_id="driver", dwell=())
CONDENSED = TrackCondensed(
    driver_id="driver",
    through=DAY,
    until=NOW,
    line=(Vertex(at=NOW, latitude=46.05, longitude=14.5),),
    dwell=(),
    sha256=sha256(b"2026-11-20T12:00:00+00:00,46.05,14.5,\n").hexdigest(),
)
TAKEN = (on(TRUCKS, TruckTaken(trip="trip")), on(DRIVERS, DriverTaken(trip="trip")))
GIVEN_BACK = (on(TRUCKS, TruckFreed(trip="trip")), on(DRIVERS, DriverFreed(trip="trip")))
NEARLY_MIDNIGHT = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)

KNOWN = given(TRUCKS, FREE).given(DRIVERS, REGISTERED, ON_DUTY).given(SITES, SITE).given(TENANTS, OPEN)
PLANNED = KNOWN.given(TRIPS, SCHEDULED)
DRIVING = KNOWN.given(TRUCKS, TruckTaken(trip="trip")).given(DRIVERS, DriverTaken(trip="trip"))
ON_THE_ROAD = DRIVING.given(TRIPS, SCHEDULED, STARTED)
ARRIVED_THERE = PLANNED.given(TRIPS, STARTED, COMPLETED)
GIVEN_UP = PLANNED.given(TRIPS, STARTED, CANCELLED)


def sent(*fixes: Fix) -> RecordTripLocations:
    """These fixes as a phone sends them."""
    return RecordTripLocations(fixes=tuple(_sent(fix) for fix in fixes))


def _sent(fix: Fix) -> FixSent:
    return FixSent(at=fix.at, latitude=fix.latitude, longitude=fix.longitude, accuracy_m=fix.accuracy_m)


def load(receipt_number: str = "R-1", quantity: str = "18.5") -> RecordLoad:
    """A load as it is sent."""
    return RecordLoad(quantity=quantity, unit="m3", receipt_number=receipt_number)


def completed_at(at: datetime, story: Given) -> object:
    """The first fact of a completion at this moment."""
    return story.moment(at).when(CompleteTrip()).facts[0].fact


def receipt(number: str, fact: Claimed | Released) -> object:
    """A fact of the claim of a receipt number."""
    return on(CLAIMS, fact, id=f"receipt/{number}")


OF_A_DRIVER = pytest.mark.parametrize(
    "command", [StartTrip(), sent(FIX), load(), CompleteTrip()], ids=lambda command: type(command).__name__
)


def test_a_trip_is_planned_with_a_driver_a_truck_and_a_site() -> None:
    KNOWN.when(SCHEDULE).then(SCHEDULED)


def test_a_trip_is_planned_once() -> None:
    PLANNED.when(SCHEDULE).refused(TripAlreadyScheduled)


def test_a_trip_needs_a_driver_whom_we_know() -> None:
    given(TRUCKS, FREE).given(SITES, SITE).when(SCHEDULE).refused(DriverUnknown, driver_id="driver")


def test_a_trip_needs_a_truck_that_we_know() -> None:
    given(DRIVERS, REGISTERED).given(SITES, SITE).when(SCHEDULE).refused(TruckUnknown, truck_id="truck")


def test_a_trip_goes_to_a_site_that_we_know() -> None:
    given(DRIVERS, REGISTERED).given(TRUCKS, FREE).when(SCHEDULE).refused(SiteUnknown, site_id="site")


def test_no_trip_goes_to_a_closed_site() -> None:
    KNOWN.given(SITES, SiteClosed()).when(SCHEDULE).refused(SiteIsClosed, site_id="site")


def test_no_trip_comes_from_a_closed_site() -> None:
    (
        KNOWN.given(SITES, SITE, SiteClosed(), id="quarry")
        .when(SCHEDULE.model_copy(update={"from_site_id": "quarry"}))
        .refused(SiteIsClosed, site_id="quarry")
    )


def test_a_scheduled_trip_starts() -> None:
    PLANNED.when(StartTrip(odometer_km=48_210)).then(TripStarted(odometer_km=48_210, at=NOW), *TAKEN)


def test_a_started_trip_does_not_start_again() -> None:
    ON_THE_ROAD.when(StartTrip()).refused(TripNotScheduled, status="started")


def test_a_cancelled_trip_does_not_start() -> None:
    PLANNED.given(TRIPS, CANCELLED).when(StartTrip()).refused(TripNotScheduled, status="cancelled")


def test_a_driver_who_is_off_duty_starts_no_trip() -> None:
    PLANNED.given(DRIVERS, DriverWentOffDuty()).when(StartTrip()).refused(DriverNotOnDuty, driver_id="driver")


def test_a_driver_is_on_one_trip_at_a_time() -> None:
    PLANNED.given(DRIVERS, DriverTaken(trip="other")).when(StartTrip()).refused(DriverOnTheRoad, trip="other")


def test_a_truck_out_of_service_starts_no_trip() -> None:
    PLANNED.given(TRUCKS, TruckDeactivated()).when(StartTrip()).refused(
        TruckNotActive, truck_id="truck", status="inactive"
    )


def test_a_truck_is_on_one_trip_at_a_time() -> None:
    PLANNED.given(TRUCKS, TruckTaken(trip="other")).when(StartTrip()).refused(TruckOnTheRoad, trip="other")


def test_a_truck_and_a_driver_that_were_given_back_start_again() -> None:
    (
        PLANNED.given(TRUCKS, TruckTaken(trip="other"), TruckFreed(trip="other"))
        .given(DRIVERS, DriverTaken(trip="other"), DriverFreed(trip="other"))
        .when(StartTrip())
        .then(TripStarted(at=NOW), *TAKEN)
    )


@OF_A_DRIVER
def test_a_driver_does_nothing_on_the_trip_of_another(command: Command) -> None:
    ON_THE_ROAD.by("ben", Role.DRIVER).when(command).refused(NotYours)


@OF_A_DRIVER
def test_a_driver_without_a_user_leaves_his_trips_to_the_office(command: Command) -> None:
    (
        given(TRIPS, SCHEDULED)
        .given(DRIVERS, DriverRegistered(name="Ana"))
        .by("ana", Role.DRIVER)
        .when(command)
        .refused(NotYours)
    )


def test_a_driver_starts_his_own_trip() -> None:
    PLANNED.by("ana", Role.DRIVER).when(StartTrip()).then(TripStarted(at=NOW), *TAKEN)


def test_a_driver_sends_where_he_is_on_his_own_trip() -> None:
    ON_THE_ROAD.by("ana", Role.DRIVER).when(sent(FIX)).then(ARRIVED)


def test_a_driver_records_the_load_of_his_own_trip() -> None:
    ON_THE_ROAD.by("ana", Role.DRIVER).when(load()).then(LOAD, receipt("r-1", Claimed(by="trip")))


def test_a_driver_completes_his_own_trip() -> None:
    ON_THE_ROAD.by("ana", Role.DRIVER).when(CompleteTrip()).then(COMPLETED, *GIVEN_BACK, on(PAY_DAYS, PRICED))


def test_a_dispatcher_who_also_drives_acts_for_the_office() -> None:
    ON_THE_ROAD.by("ben", Role.DRIVER, Role.DISPATCHER).when(sent(FIX)).then(ARRIVED)


def test_fixes_are_recorded_from_the_start_on() -> None:
    PLANNED.when(sent(FIX)).refused(TripNotStarted)


def test_fixes_are_recorded_after_the_end_because_phones_send_late() -> None:
    ARRIVED_THERE.when(sent(FIX)).then(ARRIVED)


def test_fixes_are_recorded_after_a_started_trip_was_cancelled() -> None:
    GIVEN_UP.when(sent(FIX)).then(ARRIVED)


def test_fixes_need_the_calendar_of_an_open_organisation() -> None:
    given(TRIPS, SCHEDULED, STARTED).given(DRIVERS, REGISTERED).when(sent(FIX)).refused(TenantNotOpen)


def test_nothing_is_added_to_fixes_that_were_erased() -> None:
    ON_THE_ROAD.given(TRIPS, replace(ARRIVED, fixes=ERASED)).when(sent(FIX)).refused(TrackErased)


def test_nothing_is_added_behind_the_end_of_a_condensed_track() -> None:
    ON_THE_ROAD.given(TRIPS, ARRIVED, CONDENSED).when(sent(replace(FIX, longitude=14.6))).refused(TrackErased)


def test_every_fix_of_a_batch_is_answered_for() -> None:
    late, nowhere = replace(FIX, at=NOW - timedelta(minutes=9)), replace(FIX, latitude=91.0)
    outcome = ON_THE_ROAD.given(TRIPS, ARRIVED).when(sent(late, FIX, nowhere))
    assert outcome.answer == Acknowledged(accepted=1, duplicates=1, rejected=[RejectedFix(index=2, reason="range")])


def test_a_batch_that_is_sent_again_leads_to_nothing() -> None:
    outcome = ON_THE_ROAD.given(TRIPS, ARRIVED).when(sent(FIX)).then()
    assert outcome.answer == Acknowledged(accepted=0, duplicates=1, rejected=[])


@pytest.mark.parametrize("count", [0, 501])
def test_a_batch_has_1_to_500_fixes(count: int) -> None:
    with pytest.raises(ValidationError):
        sent(*[FIX] * count)


def test_a_load_is_recorded_by_its_receipt() -> None:
    ON_THE_ROAD.when(load()).then(LOAD, receipt("r-1", Claimed(by="trip")))


def test_a_load_is_recorded_from_the_start_on() -> None:
    PLANNED.when(load()).refused(TripNotStarted)


def test_a_cancelled_trip_brings_no_load() -> None:
    GIVEN_UP.when(load()).refused(TripOver)


def test_a_receipt_number_belongs_to_one_trip() -> None:
    ON_THE_ROAD.given(CLAIMS, Claimed(by="other"), id="receipt/r-1").when(load()).refused(
        ReceiptNumberTaken, trip="other"
    )


def test_a_receipt_number_is_the_same_in_small_letters() -> None:
    claims = [ON_THE_ROAD.when(load(number)).facts[1] for number in ("R-1", "r-1")]
    assert claims == [receipt("r-1", Claimed(by="trip"))] * 2


def test_a_corrected_load_releases_the_former_receipt() -> None:
    (
        ON_THE_ROAD.given(TRIPS, LOAD)
        .given(CLAIMS, Claimed(by="trip"), id="receipt/r-1")
        .when(load("R-2"))
        .then(replace(LOAD, receipt_number="R-2"), receipt("r-2", Claimed(by="trip")), receipt("r-1", Released()))
    )


def test_a_cancelled_trip_releases_its_receipt() -> None:
    facts = ON_THE_ROAD.given(TRIPS, LOAD).when(CANCEL).facts
    assert [one for one in facts if one.stream is CLAIMS] == [receipt("r-1", Released())]


def test_a_trip_does_not_end_before_it_started() -> None:
    started = PLANNED.given(TRUCKS, TruckTaken(trip="trip")).given(DRIVERS, DriverTaken(trip="trip"))
    driving = started.given(TRIPS, TripStarted(at=NOW))
    driving.moment(NOW - timedelta(minutes=1)).when(CompleteTrip()).refused(EndsBeforeItsStart, started_at=NOW)


def test_a_corrected_quantity_keeps_the_receipt() -> None:
    (
        ON_THE_ROAD.given(TRIPS, LOAD)
        .given(CLAIMS, Claimed(by="trip"), id="receipt/r-1")
        .when(load(quantity="19"))
        .then(replace(LOAD, quantity=Decimal(19)))
    )


def test_a_released_receipt_number_is_free() -> None:
    ON_THE_ROAD.given(CLAIMS, Claimed(by="other"), Released(), id="receipt/r-1").when(load()).then(
        LOAD, receipt("r-1", Claimed(by="trip"))
    )


def test_the_same_load_again_leads_to_nothing() -> None:
    ON_THE_ROAD.given(TRIPS, LOAD).given(CLAIMS, Claimed(by="trip"), id="receipt/r-1").when(load()).then()


def test_a_load_after_completion_prices_the_trip_again() -> None:
    ARRIVED_THERE.given(PAY_DAYS, PRICED).when(load()).then(
        LOAD, receipt("r-1", Claimed(by="trip")), on(PAY_DAYS, replace(PRICED, volume=LOAD.quantity))
    )


def test_a_load_after_completion_has_the_rate_of_the_completion() -> None:
    (
        ARRIVED_THERE.given(SITES, SiteRateChanged(rate=DEARER, since=NOW - timedelta(days=1)))
        .when(load())
        .then(LOAD, receipt("r-1", Claimed(by="trip")), on(PAY_DAYS, replace(PRICED, volume=LOAD.quantity)))
    )


def test_completion_gives_back_truck_and_driver_and_prices_the_trip() -> None:
    ON_THE_ROAD.when(CompleteTrip(odometer_km=48_260)).then(
        replace(COMPLETED, odometer_km=48_260), *GIVEN_BACK, on(PAY_DAYS, PRICED)
    )


def test_a_recorded_load_is_what_is_paid() -> None:
    ON_THE_ROAD.given(TRIPS, LOAD).when(CompleteTrip()).then(
        COMPLETED, *GIVEN_BACK, on(PAY_DAYS, replace(PRICED, volume=LOAD.quantity))
    )


def test_a_trip_to_no_site_is_completed_without_a_price() -> None:
    (
        DRIVING.given(TRIPS, replace(SCHEDULED, to_site_id=None), STARTED)
        .when(CompleteTrip())
        .then(
            replace(COMPLETED, rate=None),
            *GIVEN_BACK,
            on(PAY_DAYS, TripPriced(trip="trip", driver_id="driver", to_site_id=None, unpriced="no_site")),
        )
    )


def test_a_trip_may_be_completed_at_a_site_that_was_closed_meanwhile() -> None:
    ON_THE_ROAD.given(SITES, SiteClosed()).when(CompleteTrip()).then(COMPLETED, *GIVEN_BACK, on(PAY_DAYS, PRICED))


def test_a_trip_that_ends_late_in_the_evening_ends_on_the_local_date() -> None:
    ON_THE_ROAD.moment(NEARLY_MIDNIGHT).when(CompleteTrip()).then(
        replace(COMPLETED, on=date(2026, 11, 21)), *GIVEN_BACK, on(PAY_DAYS, PRICED, id="2026-11-21")
    )


def test_a_trip_has_the_rate_in_force_at_its_end() -> None:
    changed = ON_THE_ROAD.given(SITES, SiteRateChanged(rate=DEARER, since=NOW))
    assert completed_at(NOW - timedelta(seconds=1), changed) == COMPLETED
    assert completed_at(NOW, changed) == replace(COMPLETED, rate=DEARER)


def test_a_scheduled_trip_is_not_completed() -> None:
    PLANNED.when(CompleteTrip()).refused(TripNotStarted)


def test_a_trip_that_was_cancelled_before_its_start_never_started() -> None:
    PLANNED.given(TRIPS, CANCELLED).when(CompleteTrip()).refused(TripNotStarted)


def test_a_completed_trip_is_not_completed_again() -> None:
    ARRIVED_THERE.when(CompleteTrip()).refused(TripOver, status="completed")


def test_a_cancelled_trip_is_not_completed() -> None:
    GIVEN_UP.when(CompleteTrip()).refused(TripOver, status="cancelled")


def test_the_odometer_does_not_go_back() -> None:
    ON_THE_ROAD.when(CompleteTrip(odometer_km=48_209)).refused(OdometerWentBack, start_km=48_210)


def test_the_odometer_may_stand_still() -> None:
    assert ON_THE_ROAD.when(CompleteTrip(odometer_km=48_210)).refusal is None


def test_the_odometer_may_be_read_at_the_end_alone() -> None:
    assert DRIVING.given(TRIPS, SCHEDULED, TripStarted()).when(CompleteTrip(odometer_km=1)).refusal is None


def test_completion_needs_the_calendar_of_an_open_organisation() -> None:
    (
        given(TRIPS, SCHEDULED, STARTED)
        .given(DRIVERS, REGISTERED)
        .given(TRUCKS, FREE)
        .given(SITES, SITE)
        .when(CompleteTrip())
        .refused(TenantNotOpen)
    )


def test_a_scheduled_trip_is_cancelled() -> None:
    PLANNED.when(CANCEL).then(CANCELLED)


def test_cancelling_a_started_trip_gives_back_truck_and_driver() -> None:
    ON_THE_ROAD.when(CANCEL).then(CANCELLED, *GIVEN_BACK)


def test_a_completed_trip_is_not_cancelled() -> None:
    ARRIVED_THERE.when(CANCEL).refused(TripOver, status="completed")


def test_a_cancelled_trip_is_not_cancelled_again() -> None:
    GIVEN_UP.when(CANCEL).refused(TripOver, status="cancelled")


def test_a_completed_trip_is_flagged() -> None:
    ARRIVED_THERE.when(FLAG).then(TripFlagged(compliance="needs_review", note="No ticket"))


def test_a_flagged_trip_is_flagged_again() -> None:
    ARRIVED_THERE.given(TRIPS, TripFlagged(compliance="compliant", note="Fine")).when(FLAG).then(
        TripFlagged(compliance="needs_review", note="No ticket")
    )


def test_only_a_completed_trip_is_flagged() -> None:
    ON_THE_ROAD.when(FLAG).refused(TripNotCompleted, status="started")


def test_what_remains_of_a_track_is_its_line_and_the_hash_of_its_fixes() -> None:
    ARRIVED_THERE.given(TRIPS, ARRIVED).when(CONDENSE).then(CONDENSED)


def test_what_remains_of_a_track_is_where_it_stood_still() -> None:
    (
        ARRIVED_THERE.given(TRIPS, ARRIVED)
        .when(CONDENSE.model_copy(update={"dwell": (SiteDwellSent(site_id="site", day=DAY, seconds=300),)}))
        .then(replace(CONDENSED, dwell=(SiteDwell(site_id="site", day=DAY, seconds=300),)))
    )


def test_a_condensed_line_needs_no_vertex_on_its_way() -> None:
    minute = timedelta(minutes=1)
    way = [replace(FIX, index=n, at=NOW + n * minute, latitude=46.05 + n / 1_000) for n in range(3)]
    fact = ARRIVED_THERE.given(TRIPS, replace(ARRIVED, fixes=tuple(way))).when(CONDENSE).facts[0].fact
    assert [vertex.latitude for vertex in fact.line] == [46.05, 46.052]


def test_a_track_without_fixes_leaves_nothing() -> None:
    ARRIVED_THERE.when(CONDENSE).then()


def test_a_track_is_condensed_again_once_raw_fixes_have_followed() -> None:
    nothing_left = replace(CONDENSED, line=(), until=NOW - timedelta(days=1))
    again = replace(ARRIVED, batch=2)
    ARRIVED_THERE.given(TRIPS, ARRIVED, nothing_left, again).when(CONDENSE).then(CONDENSED)


def test_a_condensed_track_is_not_condensed_again() -> None:
    ARRIVED_THERE.given(TRIPS, ARRIVED, CONDENSED).when(CONDENSE).then()


def test_an_erased_track_is_not_condensed() -> None:
    ARRIVED_THERE.given(TRIPS, replace(ARRIVED, fixes=ERASED)).when(CONDENSE).then()


def test_the_day_of_a_driver_is_condensed_like_a_trip() -> None:
    given(DRIVER_DAYS, ARRIVED).when(CONDENSE).then(CONDENSED)


def test_a_fix_with_a_wrong_clock_does_not_end_a_condensed_track() -> None:
    wrong = replace(FIX, index=1, at=NOW + timedelta(days=700))
    judged = (Judged(batch=1, index=1, verdict="future"),)
    story = ON_THE_ROAD.given(TRIPS, replace(ARRIVED, fixes=(FIX, wrong), judged=judged))
    condensed = story.when(CONDENSE).facts[0].fact
    assert story.given(TRIPS, condensed).when(sent(replace(FIX, at=NOW + timedelta(hours=1)))).refusal is None
