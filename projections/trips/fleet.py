"""The fleet at a glance: counters that dashboards read as they are, per organisation, local day and driver."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Any

from domain.kernel import Recorded
from domain.tenants import (
    DEFAULT_GPS_DAYS,
    TENANTS,
    FixesExpired,
    RetentionSet,
    TenantOpened,
    TimeZoneChanged,
    Zone,
    expiry,
    first_zone,
    with_zone,
)
from domain.trips.drivers import DRIVERS, DriverWentOffDuty, DriverWentOnDuty, DriverWentOnLeave
from domain.trips.payroll import PAY_DAYS, TripPriced
from domain.trips.track import LocationsRecorded
from domain.trips.trips import DRIVER_DAYS, TRIPS, TripCancelled, TripCompleted, TripScheduled, TripStarted
from domain.trips.trucks import (
    TRUCKS,
    TruckActivated,
    TruckDeactivated,
    TruckRegistered,
    TruckReturnedFromMaintenance,
    TruckSentToMaintenance,
)
from projections.kernel import Key, Look, View, at, row
from projections.trips.drivers import DriverRow
from projections.trips.trips import TripRow
from projections.trips.trucks import TruckRow

FLEET = "fleet"


@row
class FleetRow:
    """An organisation's calendar, currency and counters, as of now; `trips` are those planned and not cancelled,
    `priced` is how often a trip was given its worth, so that whoever watches the dashboard hears of it.
    """

    name: str
    currency: str = ""
    zones: tuple[Zone, ...] = ()
    active_trucks: int = 0
    drivers_on_duty: int = 0
    active_trips: int = 0
    trips: int = 0
    distance_mm: int = 0
    off_trip_mm: int = 0
    priced: int = 0


def _fleet(happened: Recorded[Any], look: Look) -> list[Key]:
    return [(FLEET,)]


def opened(fleet: FleetRow | None, happened: Recorded[TenantOpened], look: Look, key: Key) -> FleetRow:
    return replace(_known(fleet), currency=happened.fact.currency, zones=first_zone(happened.fact))


def zone_changed(fleet: FleetRow | None, happened: Recorded[TimeZoneChanged], look: Look, key: Key) -> FleetRow:
    known = _known(fleet)
    return replace(known, zones=with_zone(known.zones, happened.fact))


def truck_ready(fleet: FleetRow | None, happened: Recorded[Any], look: Look, key: Key) -> FleetRow:
    return _trucks(_known(fleet), look(TruckRow, happened.id), active=True)


def truck_away(fleet: FleetRow | None, happened: Recorded[Any], look: Look, key: Key) -> FleetRow:
    return _trucks(_known(fleet), look(TruckRow, happened.id), active=False)


def _trucks(fleet: FleetRow, truck: TruckRow | None, *, active: bool) -> FleetRow:
    was = truck is not None and truck.status == "active"
    return replace(fleet, active_trucks=fleet.active_trucks + active - was)


def on_duty(fleet: FleetRow | None, happened: Recorded[Any], look: Look, key: Key) -> FleetRow:
    return _duty(_known(fleet), look(DriverRow, happened.id), on=True)


def off_duty(fleet: FleetRow | None, happened: Recorded[Any], look: Look, key: Key) -> FleetRow:
    return _duty(_known(fleet), look(DriverRow, happened.id), on=False)


def _duty(fleet: FleetRow, driver: DriverRow | None, *, on: bool) -> FleetRow:
    was = driver is not None and driver.duty == "on"
    return replace(fleet, drivers_on_duty=fleet.drivers_on_duty + on - was)


def trip_started(fleet: FleetRow | None, happened: Recorded[TripStarted], look: Look, key: Key) -> FleetRow:
    known = _known(fleet)
    return replace(known, active_trips=known.active_trips + 1)


def trip_planned(fleet: FleetRow | None, happened: Recorded[TripScheduled], look: Look, key: Key) -> FleetRow:
    known = _known(fleet)
    return replace(known, trips=known.trips + 1)


def trip_completed(fleet: FleetRow | None, happened: Recorded[TripCompleted], look: Look, key: Key) -> FleetRow:
    known = _known(fleet)
    return replace(known, active_trips=known.active_trips - 1)


def trip_cancelled(fleet: FleetRow | None, happened: Recorded[TripCancelled], look: Look, key: Key) -> FleetRow:
    known, trip = _known(fleet), look(TripRow, happened.id)
    was_active = trip is not None and trip.status == "started"
    return replace(known, trips=known.trips - 1, active_trips=known.active_trips - was_active)


def distance_won(fleet: FleetRow | None, happened: Recorded[LocationsRecorded], look: Look, key: Key) -> FleetRow:
    known = _known(fleet)
    return replace(known, distance_mm=known.distance_mm + sum(one.mm for one in happened.fact.moved))


def distance_won_off_trip(
    fleet: FleetRow | None, happened: Recorded[LocationsRecorded], look: Look, key: Key
) -> FleetRow:
    known = _known(fleet)
    return replace(known, off_trip_mm=known.off_trip_mm + sum(one.mm for one in happened.fact.moved))


def priced(fleet: FleetRow | None, happened: Recorded[TripPriced], look: Look, key: Key) -> FleetRow:
    known = _known(fleet)
    return replace(known, priced=known.priced + 1)


def _known(fleet: FleetRow | None) -> FleetRow:
    return fleet or FleetRow(name=FLEET)


FLEET_VIEW = View(
    name="fleet",
    row=FleetRow,
    key=("name",),
    folds={
        TENANTS: {TenantOpened: at(_fleet, opened), TimeZoneChanged: at(_fleet, zone_changed)},
        TRUCKS: {
            TruckRegistered: at(_fleet, truck_ready),
            TruckActivated: at(_fleet, truck_ready),
            TruckReturnedFromMaintenance: at(_fleet, truck_ready),
            TruckDeactivated: at(_fleet, truck_away),
            TruckSentToMaintenance: at(_fleet, truck_away),
        },
        DRIVERS: {
            DriverWentOnDuty: at(_fleet, on_duty),
            DriverWentOffDuty: at(_fleet, off_duty),
            DriverWentOnLeave: at(_fleet, off_duty),
        },
        TRIPS: {
            TripScheduled: at(_fleet, trip_planned),
            TripStarted: at(_fleet, trip_started),
            TripCompleted: at(_fleet, trip_completed),
            TripCancelled: at(_fleet, trip_cancelled),
            LocationsRecorded: at(_fleet, distance_won),
        },
        DRIVER_DAYS: {LocationsRecorded: at(_fleet, distance_won_off_trip)},
        PAY_DAYS: {TripPriced: at(_fleet, priced)},
    },
)


@row
class FleetDayRow:
    """What happened on a local date: trips planned for it and not cancelled, and millimetres driven on trips."""

    day: date
    trips: int = 0
    distance_mm: int = 0


def _scheduled_day(happened: Recorded[TripScheduled], look: Look) -> list[Key]:
    return [(happened.fact.date,)]


def _cancelled_day(happened: Recorded[TripCancelled], look: Look) -> list[Key]:
    trip = look(TripRow, happened.id)
    return [(trip.date,)] if trip is not None else []


def _moved_days(happened: Recorded[LocationsRecorded], look: Look) -> list[Key]:
    return [(one.day,) for one in happened.fact.moved]


def day_planned(day: FleetDayRow | None, happened: Recorded[TripScheduled], look: Look, key: Key) -> FleetDayRow:
    known = day or FleetDayRow(day=key[0])
    return replace(known, trips=known.trips + 1)


def day_cancelled(day: FleetDayRow | None, happened: Recorded[TripCancelled], look: Look, key: Key) -> FleetDayRow:
    known = day or FleetDayRow(day=key[0])
    return replace(known, trips=known.trips - 1)


def day_moved(day: FleetDayRow | None, happened: Recorded[LocationsRecorded], look: Look, key: Key) -> FleetDayRow:
    known = day or FleetDayRow(day=key[0])
    return replace(known, distance_mm=known.distance_mm + _mm(happened.fact, key[0]))


def _mm(fact: LocationsRecorded, day: date) -> int:
    return sum(one.mm for one in fact.moved if one.day == day)


FLEET_DAYS_VIEW = View(
    name="fleet_days",
    row=FleetDayRow,
    key=("day",),
    folds={
        TRIPS: {
            TripScheduled: at(_scheduled_day, day_planned),
            TripCancelled: at(_cancelled_day, day_cancelled),
            LocationsRecorded: at(_moved_days, day_moved),
        },
    },
)


@row
class DriverDayRow:
    """What a driver did on a local date: trips completed, millimetres on trips and outside of them."""

    driver_id: str
    day: date
    trips: int = 0
    distance_mm: int = 0
    off_trip_mm: int = 0


def _driver_days(happened: Recorded[LocationsRecorded], look: Look) -> list[Key]:
    return [(happened.fact.driver_id, one.day) for one in happened.fact.moved]


def _completed_day(happened: Recorded[TripCompleted], look: Look) -> list[Key]:
    trip = look(TripRow, happened.id)
    return [(trip.driver_id, happened.fact.on)] if trip is not None else []


def _driver_day(day: DriverDayRow | None, key: Key) -> DriverDayRow:
    return day or DriverDayRow(driver_id=key[0], day=key[1])


def driver_moved(day: DriverDayRow | None, happened: Recorded[LocationsRecorded], look: Look, key: Key) -> DriverDayRow:
    known = _driver_day(day, key)
    return replace(known, distance_mm=known.distance_mm + _mm(happened.fact, key[1]))


def driver_moved_off(
    day: DriverDayRow | None, happened: Recorded[LocationsRecorded], look: Look, key: Key
) -> DriverDayRow:
    known = _driver_day(day, key)
    return replace(known, off_trip_mm=known.off_trip_mm + _mm(happened.fact, key[1]))


def driver_completed(day: DriverDayRow | None, happened: Recorded[TripCompleted], look: Look, key: Key) -> DriverDayRow:
    known = _driver_day(day, key)
    return replace(known, trips=known.trips + 1)


DRIVER_DAYS_VIEW = View(
    name="driver_days",
    row=DriverDayRow,
    key=("driver_id", "day"),
    filters=("driver_id", "day"),
    indexes=("day",),
    folds={
        TRIPS: {LocationsRecorded: at(_driver_days, driver_moved), TripCompleted: at(_completed_day, driver_completed)},
        DRIVER_DAYS: {LocationsRecorded: at(_driver_days, driver_moved_off)},
    },
)


@row
class TimerRow:
    """Something due later: when the raw fixes of the oldest day that is still kept may be forgotten."""

    name: str
    due_at: datetime | None
    days: tuple[date, ...] = ()
    gps_days: int = DEFAULT_GPS_DAYS


EXPIRE_FIXES = "expire-fixes"


def _timer(happened: Recorded[Any], look: Look) -> list[Key]:
    return [(EXPIRE_FIXES,)]


def fixes_arrived(timer: TimerRow | None, happened: Recorded[LocationsRecorded], look: Look, key: Key) -> TimerRow:
    known = timer or TimerRow(name=EXPIRE_FIXES, due_at=None)
    return _due(replace(known, days=tuple(sorted({*known.days, happened.fact.arrived}))))


def retention_set(timer: TimerRow | None, happened: Recorded[RetentionSet], look: Look, key: Key) -> TimerRow:
    known = timer or TimerRow(name=EXPIRE_FIXES, due_at=None)
    return _due(replace(known, gps_days=happened.fact.gps_days))


def fixes_expired(timer: TimerRow, happened: Recorded[FixesExpired], look: Look, key: Key) -> TimerRow:
    return _due(replace(timer, days=tuple(day for day in timer.days if day > happened.fact.through)))


def _due(timer: TimerRow) -> TimerRow:
    return replace(timer, due_at=expiry(timer.days[0], timer.gps_days) if timer.days else None)


TIMERS_VIEW = View(
    name="timers",
    row=TimerRow,
    key=("name",),
    folds={
        TENANTS: {RetentionSet: at(_timer, retention_set), FixesExpired: at(_timer, fixes_expired)},
        TRIPS: {LocationsRecorded: at(_timer, fixes_arrived)},
        DRIVER_DAYS: {LocationsRecorded: at(_timer, fixes_arrived)},
    },
)
