"""Trips: one load from one place to another.

(none) --schedule--> scheduled --start--> started --complete--> completed --flag--> completed
scheduled, started --cancel--> cancelled
Fixes and the load are recorded from the start on, also after the end: phones send late.
"""

from __future__ import annotations

from dataclasses import field, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

from domain.kernel import Refused, Stream, fact, state
from domain.trips.sites import Rate, Unit
from domain.trips.track import LocationsRecorded, Track, TrackCondensed, condensed, recorded

TripStatus = Literal["scheduled", "started", "completed", "cancelled"]
Compliance = Literal["compliant", "needs_review", "non_compliant"]


@fact
class TripScheduled:
    """A trip was planned for a local date."""

    driver_id: str
    truck_id: str
    date: date
    from_site_id: str | None = None
    to_site_id: str | None = None


@fact
class TripStarted:
    """The trip is on the road, since this moment."""

    odometer_km: int | None = None
    at: datetime | None = None


@fact
class LoadRecorded:
    """What was brought, by its receipt; a later one replaces it."""

    quantity: Decimal
    unit: Unit
    receipt_number: str
    evidence: str | None = None


@fact
class TripCompleted:
    """The trip reached its end on this local date, at the to-site's rate then in force."""

    on: date
    odometer_km: int | None = None
    rate: Rate | None = None
    net_capacity_m3: Decimal | None = None


@fact
class TripCancelled:
    """The trip will not be driven (to its end)."""

    reason: str


@fact
class TripFlagged:
    """Somebody checked the completed trip against the rules."""

    compliance: Compliance
    note: str


@state
class Trip:
    """Where the trip stands, who and what it holds, and its track."""

    status: TripStatus | None = None
    driver_id: str = ""
    truck_id: str = ""
    from_site_id: str | None = None
    to_site_id: str | None = None
    started: bool = False
    started_at: datetime | None = None
    odometer_km: int | None = None
    load: LoadRecorded | None = None
    completed: TripCompleted | None = None
    track: Track = field(default_factory=Track)


def evolve(trip: Trip, happened: object) -> Trip:
    """Return the trip after what happened."""
    match happened:
        case TripScheduled(driver_id=driver, truck_id=truck, from_site_id=start, to_site_id=end):
            return replace(
                trip, status="scheduled", driver_id=driver, truck_id=truck, from_site_id=start, to_site_id=end
            )
        case TripStarted(odometer_km=odometer, at=at):
            return replace(trip, status="started", started=True, started_at=at, odometer_km=odometer)
        case LocationsRecorded():
            return replace(trip, track=recorded(trip.track, happened))
        case LoadRecorded():
            return replace(trip, load=happened)
        case TripCompleted():
            return replace(trip, status="completed", completed=happened)
        case TripCancelled():
            return replace(trip, status="cancelled")
        case TrackCondensed():
            return replace(trip, track=condensed(trip.track, happened))
    return trip


TRIPS = Stream(
    "trips",
    Trip(),
    evolve,
    {
        "trips.scheduled.v1": TripScheduled,
        "trips.started.v1": TripStarted,
        "trips.locations-recorded.v1": LocationsRecorded,
        "trips.load-recorded.v1": LoadRecorded,
        "trips.completed.v1": TripCompleted,
        "trips.cancelled.v1": TripCancelled,
        "trips.flagged.v1": TripFlagged,
        "trips.track-condensed.v1": TrackCondensed,
    },
)


@state
class DriverDay:
    """The track of one driver outside of trips, on one UTC day."""

    track: Track = field(default_factory=Track)


def evolve_day(day: DriverDay, happened: object) -> DriverDay:
    """Return the driver's day after what happened."""
    match happened:
        case LocationsRecorded():
            return replace(day, track=recorded(day.track, happened))
        case TrackCondensed():
            return replace(day, track=condensed(day.track, happened))
    return day


DRIVER_DAYS = Stream(
    "driver-days",
    DriverDay(),
    evolve_day,
    {
        "driver-days.locations-recorded.v1": LocationsRecorded,
        "driver-days.track-condensed.v1": TrackCondensed,
    },
)


class TripAlreadyScheduled(Refused):
    """A trip with this id is scheduled already."""


class TripNotScheduled(Refused):
    """Only a scheduled trip can start."""


class TripNotStarted(Refused):
    """The trip has not started."""


class TripOver(Refused):
    """The trip is over."""


class TripNotCompleted(Refused):
    """Only a completed trip can be flagged."""


class EndsBeforeItsStart(Refused):
    """A trip cannot end before it started."""


class OdometerWentBack(Refused):
    """The odometer shows less than at the start."""


class ReceiptNumberTaken(Refused):
    """Another trip has a load with this receipt number."""
