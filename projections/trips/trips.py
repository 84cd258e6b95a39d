"""Trips, as the office and their drivers see them."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal

from domain.kernel import Recorded
from domain.trips.sites import Unit
from domain.trips.track import LocationsRecorded, TrackCondensed
from domain.trips.trips import (
    TRIPS,
    Compliance,
    LoadRecorded,
    TripCancelled,
    TripCompleted,
    TripFlagged,
    TripScheduled,
    TripStarted,
    TripStatus,
)
from projections.kernel import Look, View, row
from projections.trips.tracks import NOT_COUNTED

MOST_CORRECTIONS = 20
REJECTED = NOT_COUNTED - {"duplicate"}


@row
class Correction:
    """Fixes that arrived late, or after the end, changed the distance."""

    at: datetime
    from_mm: int
    to_mm: int
    late_fixes: int


@row
class TripRow:
    """A trip. `fixes` counts those that were sent, `fixes_rejected` those of them that were rejected on arrival."""

    id: str
    status: TripStatus
    completed_on: date | None = None
    driver_id: str
    truck_id: str
    date: date
    from_site_id: str | None
    to_site_id: str | None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    odometer_start_km: int | None = None
    odometer_end_km: int | None = None
    load_quantity: Decimal | None = None
    load_unit: Unit | None = None
    receipt_number: str | None = None
    evidence: str | None = None
    cancel_reason: str | None = None
    compliance: Compliance | None = None
    compliance_note: str | None = None
    distance_mm: int = 0
    dwell_seconds: int = 0
    fixes: int = 0
    fixes_rejected: int = 0
    corrections: tuple[Correction, ...] = ()
    track_erased_until: datetime | None = None
    version: int = 0


def scheduled(_: TripRow | None, happened: Recorded[TripScheduled], look: Look) -> TripRow:
    fact = happened.fact
    return TripRow(
        id=happened.id,
        status="scheduled",
        driver_id=fact.driver_id,
        truck_id=fact.truck_id,
        date=fact.date,
        from_site_id=fact.from_site_id,
        to_site_id=fact.to_site_id,
        version=happened.version,
    )


def started(trip: TripRow, happened: Recorded[TripStarted], look: Look) -> TripRow:
    return replace(
        trip,
        status="started",
        started_at=happened.at,
        odometer_start_km=happened.fact.odometer_km,
        version=happened.version,
    )


def moved(trip: TripRow, happened: Recorded[LocationsRecorded], look: Look) -> TripRow:
    fact = happened.fact
    mm = trip.distance_mm + sum(one.mm for one in fact.moved)
    corrections = trip.corrections
    if mm != trip.distance_mm and (fact.late or trip.ended_at is not None):
        uncounted = sum(one.batch == fact.batch and one.verdict in NOT_COUNTED for one in fact.judged)
        late = fact.late if trip.ended_at is None else fact.count - uncounted  # after the end, all of them are
        correction = Correction(at=happened.at, from_mm=trip.distance_mm, to_mm=mm, late_fixes=late)
        corrections = (*corrections, correction)[-MOST_CORRECTIONS:]
    rejected = sum(one.batch == fact.batch and one.verdict in REJECTED for one in fact.judged)
    return replace(
        trip,
        distance_mm=mm,
        dwell_seconds=trip.dwell_seconds + fact.dwell_seconds,
        fixes=trip.fixes + fact.count,
        fixes_rejected=trip.fixes_rejected + rejected,
        corrections=corrections,
        version=happened.version,
    )


def loaded(trip: TripRow, happened: Recorded[LoadRecorded], look: Look) -> TripRow:
    fact = happened.fact
    return replace(
        trip,
        load_quantity=fact.quantity,
        load_unit=fact.unit,
        receipt_number=fact.receipt_number,
        evidence=fact.evidence,
        version=happened.version,
    )


def completed(trip: TripRow, happened: Recorded[TripCompleted], look: Look) -> TripRow:
    fact = happened.fact
    return replace(
        trip,
        status="completed",
        ended_at=happened.at,
        completed_on=fact.on,
        odometer_end_km=fact.odometer_km,
        version=happened.version,
    )


def cancelled(trip: TripRow, happened: Recorded[TripCancelled], look: Look) -> TripRow:
    return replace(
        trip,
        status="cancelled",
        ended_at=happened.at,
        cancel_reason=happened.fact.reason,
        version=happened.version,
    )


def flagged(trip: TripRow, happened: Recorded[TripFlagged], look: Look) -> TripRow:
    return replace(
        trip,
        compliance=happened.fact.compliance,
        compliance_note=happened.fact.note,
        version=happened.version,
    )


def condensed(trip: TripRow, happened: Recorded[TrackCondensed], look: Look) -> TripRow:
    return replace(trip, track_erased_until=happened.fact.until, version=happened.version)


TRIPS_VIEW = View(
    name="trips",
    row=TripRow,
    key=("id",),
    filters=("status", "date", "driver_id", "truck_id"),
    indexes=(
        "date desc, id desc",
        "driver_id, date desc, id desc",
        "truck_id, date desc, id desc",
        "status, date desc, id desc",
    ),
    folds={
        TRIPS: {
            TripScheduled: scheduled,
            TripStarted: started,
            LocationsRecorded: moved,
            LoadRecorded: loaded,
            TripCompleted: completed,
            TripCancelled: cancelled,
            TripFlagged: flagged,
            TrackCondensed: condensed,
        }
    },
)
