"""Drivers, as the office sees them, and the latest place of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta

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
from domain.trips.track import Fix, LocationsRecorded, TrackCondensed, Verdict
from domain.trips.trips import DRIVER_DAYS, TRIPS
from projections.kernel import Key, Look, View, at, row
from projections.trips.tracks import NOT_COUNTED, TrackBatchRow, TrackFix, accepted_fixes, track_of


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


MOST_AHEAD = timedelta(minutes=5)
MOST_BATCHES_BACK = 20


@row
class LocationRow:
    """Where a driver was last: the newest fix that counts, while tracking is on and until it is forgotten."""

    driver_id: str
    at: datetime
    latitude: float
    longitude: float
    accuracy_m: float | None = None
    speed_kmh: float | None = None
    heading: float | None = None
    track: str = ""
    batch: int = 0
    index: int = 0
    trip_id: str | None = None


def _driver(happened: Recorded[LocationsRecorded] | Recorded[TrackCondensed], look: Look) -> list[Key]:
    return [(happened.fact.driver_id,)]


def seen(latest: LocationRow | None, happened: Recorded[LocationsRecorded], look: Look, key: Key) -> LocationRow | None:
    fact = happened.fact
    driver = look(DriverRow, fact.driver_id)
    if driver is None or not driver.tracking:
        return latest
    places: list[tuple[int, Fix | TrackFix]] = [(fact.batch, fix) for fix in accepted_fixes(fact)]
    verdicts = {(one.batch, one.index): one.verdict for one in fact.judged}
    judged = latest is not None and latest.track == track_of(happened) and verdicts.get((latest.batch, latest.index))
    if judged in NOT_COUNTED:
        latest = None
        places += _fixes_before(happened, look, verdicts)
    # A phone whose clock is ahead would otherwise stay where it was until then.
    until = happened.recorded_at + MOST_AHEAD
    batch, newest = max(
        ((n, fix) for n, fix in places if fix.at <= until), key=lambda one: one[1].at, default=(0, None)
    )
    if newest is None or (latest is not None and latest.at >= newest.at):
        return latest
    return _location(happened, batch, newest)


def _fixes_before(
    happened: Recorded[LocationsRecorded], look: Look, verdicts: Mapping[tuple[int, int], Verdict]
) -> Iterator[tuple[int, TrackFix]]:
    """Yield the fixes of the batches before, as far as they still count, each with its batch."""
    last = happened.fact.batch
    for batch in range(max(1, last - MOST_BATCHES_BACK), last):
        row = look(TrackBatchRow, track_of(happened), batch)
        for fix in row.fixes if row is not None else ():
            if verdicts.get((batch, fix.index), fix.verdict) not in NOT_COUNTED:
                yield batch, fix


def _location(happened: Recorded[LocationsRecorded], batch: int, fix: Fix | TrackFix) -> LocationRow:
    return LocationRow(
        driver_id=happened.fact.driver_id,
        at=fix.at,
        latitude=fix.latitude,
        longitude=fix.longitude,
        accuracy_m=fix.accuracy_m,
        speed_kmh=fix.speed_kmh,
        heading=fix.heading,
        track=track_of(happened),
        batch=batch,
        index=fix.index,
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
