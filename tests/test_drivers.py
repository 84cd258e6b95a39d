"""Drivers: on duty, off duty, and seen only where they may be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from pydantic import ValidationError

from commands.kernel import Command
from commands.trips.drivers import (
    AssignTruck,
    DisableTracking,
    EnableTracking,
    GoOffDuty,
    GoOnDuty,
    GoOnLeave,
    RecordDriverLocations,
    RegisterDriver,
)
from commands.trips.locations import Acknowledged, FixSent, RejectedFix
from domain.claims import CLAIMS, Claimed
from domain.kernel import ERASED, NotYours
from domain.roles import Role
from domain.tenants import TENANTS, TenantNotOpen, TenantOpened
from domain.trips.drivers import (
    DRIVERS,
    DriverAlreadyRegistered,
    DriverFreed,
    DriverOnTheRoad,
    DriverRegistered,
    DriverTaken,
    DriverWentOffDuty,
    DriverWentOnDuty,
    DriverWentOnLeave,
    TrackingDisabled,
    TrackingEnabled,
    TruckAssigned,
    UserTaken,
)
from domain.trips.track import Fix, Judged, LocationsRecorded, TrackErased
from domain.trips.trips import DRIVER_DAYS
from domain.trips.trucks import TRUCKS, TruckRegistered, TruckUnknown
from tests.given import NOW, given, on

HOUR = timedelta(hours=1)
DAY = date(2026, 11, 20)
OPEN = TenantOpened(name="Eco-Haul", time_zone="Europe/Ljubljana", currency="EUR")
REGISTERED = DriverRegistered(name="Ana", user="ana")
DRIVING = DriverTaken(trip="trip")
ANA = given(DRIVERS, REGISTERED)
SEEN = ANA.given(TENANTS, OPEN)
FIX = Fix(index=0, at=NOW, latitude=46.05, longitude=14.5)
ARRIVED = LocationsRecorded(driver_id="driver", arrived=DAY, batch=1, count=1, fixes=(FIX,))
NOT_SEEN = replace(ARRIVED, fixes=(), judged=(Judged(batch=1, index=0, verdict="tracking_disabled"),))


def sent(*moments: datetime) -> RecordDriverLocations:
    """Fixes of these moments, all at one place, as a phone sends them."""
    return RecordDriverLocations(fixes=tuple(FixSent(at=at, latitude=46.05, longitude=14.5) for at in moments))


OF_A_DRIVER = pytest.mark.parametrize(
    "command",
    [GoOnDuty(), GoOffDuty(), EnableTracking(), DisableTracking(), sent(NOW)],
    ids=lambda command: type(command).__name__,
)


def test_a_driver_joins() -> None:
    given(DRIVERS).when(RegisterDriver(name="Ana")).then(DriverRegistered(name="Ana"))


def test_a_driver_who_acts_himself_has_a_user_of_his_own() -> None:
    given(DRIVERS).when(RegisterDriver(name="Ana", user="ana")).then(
        on(CLAIMS, Claimed(by="driver"), id="driver-user/ana"), REGISTERED
    )


def test_two_drivers_do_not_act_with_one_user() -> None:
    (
        given(CLAIMS, Claimed(by="other"), id="driver-user/ana")
        .when(RegisterDriver(name="Ana", user="ana"))
        .refused(UserTaken)
    )


def test_a_driver_joins_once() -> None:
    ANA.when(RegisterDriver(name="Ana")).refused(DriverAlreadyRegistered)


@OF_A_DRIVER
def test_a_driver_does_nothing_for_another(command: Command) -> None:
    SEEN.by("ben", Role.DRIVER).when(command).refused(NotYours)


@OF_A_DRIVER
def test_a_driver_acts_for_himself(command: Command) -> None:
    assert SEEN.by("ana", Role.DRIVER).when(command).refusal is None


def test_a_driver_goes_on_duty() -> None:
    ANA.when(GoOnDuty()).then(DriverWentOnDuty())


def test_a_driver_comes_back_from_leave_on_duty() -> None:
    ANA.given(DRIVERS, DriverWentOnLeave()).when(GoOnDuty()).then(DriverWentOnDuty())


def test_a_driver_on_duty_stays_there() -> None:
    ANA.given(DRIVERS, DriverWentOnDuty()).when(GoOnDuty()).then()


def test_a_driver_goes_off_duty() -> None:
    ANA.given(DRIVERS, DriverWentOnDuty()).when(GoOffDuty()).then(DriverWentOffDuty())


def test_a_driver_off_duty_stays_there() -> None:
    ANA.when(GoOffDuty()).then()


def test_a_driver_on_the_road_does_not_go_off_duty() -> None:
    ANA.given(DRIVERS, DriverWentOnDuty(), DRIVING).when(GoOffDuty()).refused(DriverOnTheRoad, trip="trip")


def test_a_driver_goes_off_duty_after_his_trip() -> None:
    (
        ANA.given(DRIVERS, DriverWentOnDuty(), DRIVING, DriverFreed(trip="trip"))
        .when(GoOffDuty())
        .then(DriverWentOffDuty())
    )


def test_a_driver_goes_on_leave_until_a_date() -> None:
    ANA.when(GoOnLeave(until=DAY)).then(DriverWentOnLeave(until=DAY))


def test_a_driver_on_the_road_does_not_go_on_leave() -> None:
    ANA.given(DRIVERS, DriverWentOnDuty(), DRIVING).when(GoOnLeave()).refused(DriverOnTheRoad, trip="trip")


def test_a_driver_gets_his_usual_truck() -> None:
    (
        ANA.given(TRUCKS, TruckRegistered(number="7", plate="LJ 7"))
        .when(AssignTruck(truck_id="truck"))
        .then(TruckAssigned(truck_id="truck"))
    )


def test_a_driver_who_has_his_usual_truck_keeps_it() -> None:
    (
        ANA.given(DRIVERS, TruckAssigned(truck_id="truck"))
        .given(TRUCKS, TruckRegistered(number="7", plate="LJ 7"))
        .when(AssignTruck(truck_id="truck"))
        .then()
    )


def test_a_usual_truck_is_one_that_we_know() -> None:
    ANA.when(AssignTruck(truck_id="truck")).refused(TruckUnknown, truck_id="truck")


def test_tracking_is_on_from_the_beginning() -> None:
    ANA.when(EnableTracking()).then()


def test_tracking_is_switched_off_and_on() -> None:
    ANA.when(DisableTracking()).then(TrackingDisabled(since=NOW))
    ANA.given(DRIVERS, TrackingDisabled(since=NOW)).when(EnableTracking()).then(TrackingEnabled(since=NOW))


def test_tracking_that_is_off_is_not_switched_off_again() -> None:
    ANA.given(DRIVERS, TrackingDisabled(since=NOW - HOUR)).when(DisableTracking()).then()


def test_tracking_is_switched_off_from_an_earlier_moment_on() -> None:
    (
        ANA.given(DRIVERS, TrackingDisabled(since=NOW))
        .moment(NOW - HOUR)
        .when(DisableTracking())
        .then(TrackingDisabled(since=NOW - HOUR))
    )


def test_tracking_that_was_off_at_that_moment_is_not_switched_off() -> None:
    (
        ANA.given(DRIVERS, TrackingDisabled(since=NOW - 2 * HOUR), TrackingEnabled(since=NOW))
        .moment(NOW - HOUR)
        .when(DisableTracking())
        .then()
    )


def test_a_driver_is_seen_outside_of_trips() -> None:
    SEEN.by("ana", Role.DRIVER).when(sent(NOW)).then(on(DRIVER_DAYS, ARRIVED))


def test_a_driver_is_not_seen_while_tracking_is_off() -> None:
    SEEN.given(DRIVERS, TrackingDisabled(since=NOW)).when(sent(NOW)).then(on(DRIVER_DAYS, NOT_SEEN))


def test_a_driver_is_seen_until_tracking_goes_off() -> None:
    SEEN.given(DRIVERS, TrackingDisabled(since=NOW + HOUR)).when(sent(NOW)).then(on(DRIVER_DAYS, ARRIVED))


def test_the_latest_switch_until_a_fix_decides_in_whatever_order_they_came() -> None:
    off_an_hour_ago = SEEN.given(DRIVERS, TrackingEnabled(since=NOW), TrackingDisabled(since=NOW - HOUR))
    off_an_hour_ago.when(sent(NOW)).then(on(DRIVER_DAYS, ARRIVED))
    assert off_an_hour_ago.when(sent(NOW - HOUR)).answer.rejected == [RejectedFix(index=0, reason="tracking_disabled")]
    assert off_an_hour_ago.when(sent(NOW - 2 * HOUR)).answer.accepted == 1


def test_fixes_go_to_the_track_of_their_utc_day() -> None:
    yesterday = NOW - timedelta(days=1)
    SEEN.when(sent(NOW, yesterday)).then(
        on(DRIVER_DAYS, replace(ARRIVED, fixes=(replace(FIX, index=1, at=yesterday),)), id="driver.2026-11-19"),
        on(DRIVER_DAYS, ARRIVED),
    )


def test_a_fix_in_another_offset_belongs_to_its_utc_day() -> None:
    at_home = datetime.fromisoformat("2026-11-21T00:30:00+01:00")
    SEEN.when(sent(at_home)).then(
        on(DRIVER_DAYS, replace(ARRIVED, fixes=(replace(FIX, at=at_home.astimezone(UTC)),)), id="driver.2026-11-20")
    )


def test_every_fix_is_answered_for_across_days() -> None:
    story = SEEN.given(DRIVER_DAYS, ARRIVED)
    assert story.when(sent(NOW, NOW - timedelta(days=1))).answer == Acknowledged(accepted=1, duplicates=1, rejected=[])


def test_a_batch_that_is_sent_again_leads_to_nothing() -> None:
    outcome = SEEN.given(DRIVER_DAYS, ARRIVED).when(sent(NOW)).then()
    assert outcome.answer == Acknowledged(accepted=0, duplicates=1, rejected=[])


def test_a_batch_lies_on_at_most_10_days() -> None:
    days = [NOW - n * timedelta(days=1) for n in range(11)]
    assert len(SEEN.when(sent(*days[:10])).facts) == 10
    with pytest.raises(ValidationError):
        sent(*days)


def test_fixes_need_the_calendar_of_an_open_organisation() -> None:
    ANA.when(sent(NOW)).refused(TenantNotOpen)


def test_nothing_is_added_to_a_day_that_was_erased() -> None:
    SEEN.given(DRIVER_DAYS, replace(ARRIVED, fixes=ERASED)).when(sent(NOW)).refused(TrackErased)
