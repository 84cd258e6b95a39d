"""Drivers, as the office sees them, and the latest place of each."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime

from domain.kernel import Erased, Recorded
from domain.trips.drivers import (
    DRIVERS,
    DriverFreed,
    DriverRegistered,
    DriverTaken,
    DriverWentOffDuty,
    DriverWentOnDuty,
    DriverWentOnLeave,
    Duty,
    TrackingDisabled,
    TrackingEnabled,
    TruckAssigned,
)
from domain.trips.track import LocationsRecorded, TrackCondensed
from domain.trips.trips import DRIVER_DAYS, TRIPS
from projections.kernel import Key, Look, View, at, row
from projections.trips.tracks import accepted_fixes, track_of


@row
class DriverRow:
    """A driver; a name that was erased is empty."""

    id: str
    name: str
    phone: str | None = None
    user: str | None = None
    duty: Duty = "off"
    leave_until: date | None = None
    truck_id: str | None = None
    tracking: bool = True
    tracking_since: datetime | None = None
    trip_id: str | None = None
    version: int = 0


def registered(_: DriverRow | None, happened: Recorded[DriverRegistered], look: Look) -> DriverRow:
    fact = happened.fact
    return DriverRow(
        id=happened.id,
        name="" if isinstance(fact.name, Erased) else fact.name,
        phone=None if isinstance(fact.phone, Erased) else fact.phone,
        user=fact.user,
        version=happened.version,
    )


def on_duty(driver: DriverRow, happened: Recorded[DriverWentOnDuty], look: Look) -> DriverRow:
    return replace(driver, duty="on", leave_until=None, version=happened.version)


def off_duty(driver: DriverRow, happened: Recorded[DriverWentOffDuty], look: Look) -> DriverRow:
    return replace(driver, duty="off", leave_until=None, version=happened.version)


def on_leave(driver: DriverRow, happened: Recorded[DriverWentOnLeave], look: Look) -> DriverRow:
    return replace(driver, duty="leave", leave_until=happened.fact.until, version=happened.version)


def truck_assigned(driver: DriverRow, happened: Recorded[TruckAssigned], look: Look) -> DriverRow:
    return replace(driver, truck_id=happened.fact.truck_id, version=happened.version)


def tracked(driver: DriverRow, happened: Recorded[TrackingEnabled], look: Look) -> DriverRow:
    return _switched(driver, happened.fact.since, happened.version, on=True)


def untracked(driver: DriverRow, happened: Recorded[TrackingDisabled], look: Look) -> DriverRow:
    return _switched(driver, happened.fact.since, happened.version, on=False)


def _switched(driver: DriverRow, since: datetime, version: int, *, on: bool) -> DriverRow:
    """Return the driver after a switch, which may arrive after a later one."""
    if driver.tracking_since is not None and since < driver.tracking_since:
        return replace(driver, version=version)
    return replace(driver, tracking=on, tracking_since=since, version=version)


def taken(driver: DriverRow, happened: Recorded[DriverTaken], look: Look) -> DriverRow:
    return replace(driver, trip_id=happened.fact.trip, version=happened.version)


def freed(driver: DriverRow, happened: Recorded[DriverFreed], look: Look) -> DriverRow:
    return replace(driver, trip_id=None, version=happened.version)


DRIVERS_VIEW = View(
    name="drivers",
    row=DriverRow,
    key=("id",),
    filters=("id", "duty"),
    indexes=('"user"',),
    folds={
        DRIVERS: {
            DriverRegistered: registered,
            DriverWentOnDuty: on_duty,
            DriverWentOffDuty: off_duty,
            DriverWentOnLeave: on_leave,
            TruckAssigned: truck_assigned,
            TrackingEnabled: tracked,
            TrackingDisabled: untracked,
            DriverTaken: taken,
            DriverFreed: freed,
        }
    },
)


@row
class LocationRow:
    """Where a driver was last: the newest fix that counted, while tracking is on and until it is forgotten."""

    driver_id: str
    at: datetime
    latitude: float
    longitude: float
    accuracy_m: float | None = None
    speed_kmh: float | None = None
    heading: float | None = None
    track: str = ""
    trip_id: str | None = None


def _driver(happened: Recorded[LocationsRecorded] | Recorded[TrackCondensed], look: Look) -> list[Key]:
    return [(happened.fact.driver_id,)]


def seen(latest: LocationRow | None, happened: Recorded[LocationsRecorded], look: Look, key: Key) -> LocationRow | None:
    driver = look(DriverRow, happened.fact.driver_id)
    fixes = accepted_fixes(happened.fact)
    if not fixes or driver is None or not driver.tracking:
        return latest
    newest = max(fixes, key=lambda fix: fix.at)
    if latest is not None and latest.at >= newest.at:
        return latest
    return LocationRow(
        driver_id=happened.fact.driver_id,
        at=newest.at,
        latitude=newest.latitude,
        longitude=newest.longitude,
        accuracy_m=newest.accuracy_m,
        speed_kmh=newest.speed_kmh,
        heading=newest.heading,
        track=track_of(happened),
        trip_id=happened.id if happened.stream == TRIPS.name else None,
    )


def hidden(_: LocationRow | None, happened: Recorded[TrackingDisabled], look: Look) -> None:
    return None


def forgotten(
    latest: LocationRow | None, happened: Recorded[TrackCondensed], look: Look, key: Key
) -> LocationRow | None:
    return None if latest is not None and latest.track == track_of(happened) else latest


LOCATIONS_VIEW = View(
    name="locations",
    row=LocationRow,
    key=("driver_id",),
    filters=("driver_id",),
    forgets=frozenset({TrackCondensed, TrackingDisabled}),
    folds={
        DRIVERS: {TrackingDisabled: hidden},
        TRIPS: {LocationsRecorded: at(_driver, seen), TrackCondensed: at(_driver, forgotten)},
        DRIVER_DAYS: {LocationsRecorded: at(_driver, seen), TrackCondensed: at(_driver, forgotten)},
    },
)
