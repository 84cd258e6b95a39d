"""Bookings, as crew and teams see them, and who is to inspect them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from domain.bookings.bookings import (
    BOOKINGS,
    BookingCancelled,
    BookingCheckedIn,
    BookingCompleted,
    BookingConfirmed,
    BookingContinued,
    BookingMarkedNoShow,
    BookingPrioritized,
    BookingRequested,
    BookingRescheduled,
    BookingStarted,
    BookingStatus,
    HoldExpired,
    ScrutineerAssigned,
    ScrutineerRemoved,
)
from domain.inspections.inspections import (
    INSPECTIONS,
    FeedbackGiven,
    InspectionCompleted,
    InspectionReopened,
    InspectionResumed,
    InspectionStarted,
    InspectionSuspended,
)
from domain.inspections.passports import Result
from domain.kernel import Recorded, Stream
from domain.people import VehicleClass
from projections.kernel import Change, Key, Look, View, at, row


@row
class BookingRow:
    """A booking; it has its lane until `free_at`, a buffer after its end. Work on its inspection was going on for
    `worked_seconds`, and is since `working_since`; `seconds` are those of an inspection that was completed, `score` is what
    the team said of it.
    """

    id: str
    status: BookingStatus
    team_id: str
    inspection_type_id: str
    vehicle_class: VehicleClass
    day: date
    lane: int
    starts_at: datetime
    ends_at: datetime
    free_at: datetime
    held_until: datetime | None = None
    priority: int = 0
    rank: int = 0
    rescrutineering: bool = False
    notes: str | None = None
    requested_by: str = ""
    attendees: tuple[str, ...] = ()
    checked_in_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    result: Result | None = None
    cancel_reason: str | None = None
    worked_seconds: int = 0
    working_since: datetime | None = None
    seconds: int | None = None
    score: int | None = None
    version: int = 0


def requested(_: BookingRow | None, happened: Recorded[BookingRequested], look: Look) -> BookingRow:
    fact = happened.fact
    return BookingRow(
        id=happened.id,
        status="requested",
        team_id=fact.team_id,
        inspection_type_id=fact.inspection_type_id,
        vehicle_class=fact.vehicle_class,
        day=fact.day,
        lane=fact.lane,
        starts_at=fact.starts_at,
        ends_at=fact.ends_at,
        free_at=_free_at(fact),
        held_until=fact.held_until,
        priority=fact.priority,
        rank=-fact.priority,
        rescrutineering=fact.rescrutineering,
        notes=fact.notes,
        requested_by=fact.by,
        version=happened.version,
    )


def _free_at(fact: BookingRequested | BookingRescheduled) -> datetime:
    return fact.ends_at + timedelta(minutes=fact.buffer_minutes)


def confirmed(booking: BookingRow, happened: Recorded[BookingConfirmed], look: Look) -> BookingRow:
    return replace(booking, status="confirmed", held_until=None, version=happened.version)


def rescheduled(booking: BookingRow, happened: Recorded[BookingRescheduled], look: Look) -> BookingRow:
    fact = happened.fact
    return replace(
        booking,
        lane=fact.lane,
        starts_at=fact.starts_at,
        ends_at=fact.ends_at,
        free_at=_free_at(fact),
        day=fact.day,
        held_until=fact.held_until,
        version=happened.version,
    )


def prioritized(booking: BookingRow, happened: Recorded[BookingPrioritized], look: Look) -> BookingRow:
    priority = happened.fact.priority
    return replace(booking, priority=priority, rank=-priority, version=happened.version)


def checked_in(booking: BookingRow, happened: Recorded[BookingCheckedIn], look: Look) -> BookingRow:
    return replace(
        booking,
        status="checked_in",
        attendees=happened.fact.attendees,
        checked_in_at=happened.at,
        version=happened.version,
    )


def started(booking: BookingRow, happened: Recorded[BookingStarted], look: Look) -> BookingRow:
    return replace(booking, status="ongoing", version=happened.version)


def completed(booking: BookingRow, happened: Recorded[BookingCompleted], look: Look) -> BookingRow:
    return replace(booking, status="completed", result=happened.fact.result, version=happened.version)


def continued(booking: BookingRow, happened: Recorded[BookingContinued], look: Look) -> BookingRow:
    return replace(booking, status="ongoing", result=None, version=happened.version)


def cancelled(booking: BookingRow, happened: Recorded[BookingCancelled], look: Look) -> BookingRow:
    return replace(
        booking,
        status="cancelled",
        held_until=None,
        ended_at=happened.at,
        cancel_reason=happened.fact.reason,
        version=happened.version,
    )


def marked_no_show(booking: BookingRow, happened: Recorded[BookingMarkedNoShow], look: Look) -> BookingRow:
    return replace(booking, status="no_show", ended_at=happened.at, version=happened.version)


def expired(booking: BookingRow, happened: Recorded[HoldExpired], look: Look) -> BookingRow:
    return replace(booking, status="expired", held_until=None, ended_at=happened.at, version=happened.version)


def scrutineers_changed(
    booking: BookingRow, happened: Recorded[ScrutineerAssigned] | Recorded[ScrutineerRemoved], look: Look
) -> BookingRow:
    return replace(booking, version=happened.version)


# An inspection's id is its booking's. When work began, paused and ended is as it says; the booking's own facts follow later.


def work_began(booking: BookingRow | None, happened: Recorded[InspectionStarted], look: Look) -> BookingRow | None:
    at = happened.fact.at
    return replace(booking, started_at=at, working_since=at) if booking is not None else None


def work_paused(booking: BookingRow | None, happened: Recorded[InspectionSuspended], look: Look) -> BookingRow | None:
    if booking is None or booking.working_since is None:
        return booking
    worked = booking.worked_seconds + max(0, int((happened.fact.at - booking.working_since).total_seconds()))
    return replace(booking, worked_seconds=worked, working_since=None)


def work_went_on(
    booking: BookingRow | None, happened: Recorded[InspectionResumed] | Recorded[InspectionReopened], look: Look
) -> BookingRow | None:
    return replace(booking, working_since=happened.fact.at, ended_at=None) if booking is not None else None


def work_ended(booking: BookingRow | None, happened: Recorded[InspectionCompleted], look: Look) -> BookingRow | None:
    if booking is None:
        return None
    seconds = happened.fact.seconds
    return replace(booking, ended_at=happened.at, worked_seconds=seconds, working_since=None, seconds=seconds)


def scored(booking: BookingRow | None, happened: Recorded[FeedbackGiven], look: Look) -> BookingRow | None:
    return replace(booking, score=happened.fact.score) if booking is not None else None


FOLDS: Mapping[Stream[Any], Mapping[type, Change]] = {
    BOOKINGS: {
        BookingRequested: requested,
        BookingConfirmed: confirmed,
        BookingRescheduled: rescheduled,
        BookingPrioritized: prioritized,
        BookingCheckedIn: checked_in,
        BookingStarted: started,
        BookingCompleted: completed,
        BookingContinued: continued,
        BookingCancelled: cancelled,
        BookingMarkedNoShow: marked_no_show,
        HoldExpired: expired,
        ScrutineerAssigned: scrutineers_changed,
        ScrutineerRemoved: scrutineers_changed,
    },
    INSPECTIONS: {
        InspectionStarted: work_began,
        InspectionSuspended: work_paused,
        InspectionResumed: work_went_on,
        InspectionCompleted: work_ended,
        InspectionReopened: work_went_on,
        FeedbackGiven: scored,
    },
}
BOOKINGS_VIEW = View(
    name="bookings",
    row=BookingRow,
    key=("id",),
    filters=("status", "day", "team_id", "inspection_type_id", "lane"),
    indexes=(
        "rank, starts_at, id",
        "day, rank, starts_at, id",
        "team_id, day, status, rank, starts_at, id",
        "status, rank, starts_at, id",
        "inspection_type_id, day, rank, starts_at, id",
    ),
    folds=FOLDS,
)


@row
class AssignmentRow:
    """Somebody is to inspect a booking."""

    booking_id: str
    person_id: str
    assigned_at: datetime
    assigned_by: str


def _assignment(happened: Recorded[ScrutineerAssigned] | Recorded[ScrutineerRemoved], look: Look) -> list[Key]:
    return [(happened.id, happened.fact.person_id)]


def assigned(_: AssignmentRow | None, happened: Recorded[ScrutineerAssigned], look: Look, key: Key) -> AssignmentRow:
    fact = happened.fact
    return AssignmentRow(booking_id=happened.id, person_id=fact.person_id, assigned_at=happened.at, assigned_by=fact.by)


def removed(_: AssignmentRow | None, happened: Recorded[ScrutineerRemoved], look: Look, key: Key) -> None:
    return None


ASSIGNMENTS_VIEW = View(
    name="assignments",
    row=AssignmentRow,
    key=("booking_id", "person_id"),
    indexes=("person_id",),
    folds={
        BOOKINGS: {ScrutineerAssigned: at(_assignment, assigned), ScrutineerRemoved: at(_assignment, removed)},
    },
)
