"""Bookings: a team comes to an inspection at a time.

(none) --request--> requested --confirm--> confirmed --check-in--> checked_in --start--> ongoing --complete--> completed
requested --expire--> expired; requested, confirmed --cancel--> cancelled; confirmed --mark-no-show--> no_show
requested, confirmed --reschedule--> the same; any of them --prioritize, assign-scrutineer, remove-scrutineer--> the same
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Literal

from domain.bookings.calendar import Visit
from domain.inspections.passports import Result
from domain.kernel import NotYours, Refused, Stream, fact, state
from domain.people import VehicleClass

BookingStatus = Literal[
    "requested", "confirmed", "checked_in", "ongoing", "completed", "cancelled", "no_show", "expired"
]


@fact
class BookingRequested:
    """A team wants to come; the slot is held for it until `held_until`. `day` is the local date on which it begins.

    The lane is kept for `buffer_minutes` after `ends_at`.
    """

    team_id: str
    inspection_type_id: str
    vehicle_class: VehicleClass
    lane: int
    starts_at: datetime
    ends_at: datetime
    day: date
    held_until: datetime
    priority: int = 0
    rescrutineering: bool = False
    notes: str | None = None
    by: str = ""
    buffer_minutes: int = 0


@fact
class BookingConfirmed:
    """The team comes."""


@fact
class BookingRescheduled:
    """The team comes at another time, or to another lane."""

    lane: int
    starts_at: datetime
    ends_at: datetime
    day: date
    held_until: datetime | None = None
    buffer_minutes: int = 0


@fact
class BookingPrioritized:
    """Who has a higher priority is inspected first."""

    priority: int


@fact
class BookingCheckedIn:
    """The team is here with its car, and with those of its members who have to be."""

    team_id: str
    inspection_type_id: str
    vehicle_class: VehicleClass
    attendees: tuple[str, ...] = ()
    rescrutineering: bool = False


@fact
class BookingStarted:
    """The inspection of this booking began."""


@fact
class BookingCompleted:
    """The inspection of this booking came to a result."""

    result: Result


@fact
class BookingContinued:
    """The inspection of this booking, which was completed, goes on."""


@fact
class BookingCancelled:
    """The team does not come."""

    reason: str


@fact
class BookingMarkedNoShow:
    """The team did not come."""


@fact
class HoldExpired:
    """The slot was held for as long as it could be."""


@fact
class ScrutineerAssigned:
    """Somebody is to inspect this."""

    person_id: str
    by: str


@fact
class ScrutineerRemoved:
    """Somebody is not to inspect this any more."""

    person_id: str
    by: str


@state
class Booking:
    """Where the booking stands, for whom, when, and who inspects."""

    status: BookingStatus | None = None
    team_id: str = ""
    inspection_type_id: str = ""
    vehicle_class: VehicleClass = "EV"
    lane: int = 0
    visit: Visit | None = None
    held_until: datetime | None = None
    priority: int = 0
    rescrutineering: bool = False
    scrutineers: tuple[str, ...] = ()
    result: Result | None = None

    def is_held(self, now: datetime) -> bool:
        """Say whether a requested slot is still held."""
        return self.status == "requested" and self.held_until is not None and now < self.held_until


STATUS: dict[type, BookingStatus] = {
    BookingCheckedIn: "checked_in",
    BookingStarted: "ongoing",
    BookingContinued: "ongoing",
    BookingCancelled: "cancelled",
    BookingMarkedNoShow: "no_show",
    HoldExpired: "expired",
}


def evolve(booking: Booking, happened: object) -> Booking:
    """Return the booking after what happened."""
    match happened:
        case BookingRequested(team_id=team, inspection_type_id=kind):
            return replace(
                booking,
                status="requested",
                team_id=team,
                inspection_type_id=kind,
                vehicle_class=happened.vehicle_class,
                lane=happened.lane,
                visit=_visit(team, kind, happened),
                held_until=happened.held_until,
                priority=happened.priority,
                rescrutineering=happened.rescrutineering,
            )
        case BookingConfirmed():
            return replace(booking, status="confirmed", held_until=None)
        case BookingRescheduled(lane=lane, held_until=held):
            visit = _visit(booking.team_id, booking.inspection_type_id, happened)
            return replace(booking, lane=lane, visit=visit, held_until=held)
        case BookingPrioritized(priority=priority):
            return replace(booking, priority=priority)
        case BookingCompleted(result=result):
            return replace(booking, status="completed", result=result)
        case ScrutineerAssigned(person_id=person):
            return replace(booking, scrutineers=(*booking.scrutineers, person))
        case ScrutineerRemoved(person_id=person):
            return replace(booking, scrutineers=tuple(one for one in booking.scrutineers if one != person))
    status = STATUS.get(type(happened))
    return replace(booking, status=status) if status is not None else booking


def _visit(team_id: str, inspection_type_id: str, booked: BookingRequested | BookingRescheduled) -> Visit:
    return Visit(
        team_id=team_id,
        inspection_type_id=inspection_type_id,
        starts_at=booked.starts_at,
        ends_at=booked.ends_at,
        free_at=booked.ends_at + timedelta(minutes=booked.buffer_minutes),
    )


BOOKINGS = Stream(
    "bookings",
    Booking(),
    evolve,
    {
        "bookings.requested.v1": BookingRequested,
        "bookings.confirmed.v1": BookingConfirmed,
        "bookings.rescheduled.v1": BookingRescheduled,
        "bookings.prioritized.v1": BookingPrioritized,
        "bookings.checked-in.v1": BookingCheckedIn,
        "bookings.started.v1": BookingStarted,
        "bookings.completed.v1": BookingCompleted,
        "bookings.continued.v1": BookingContinued,
        "bookings.cancelled.v1": BookingCancelled,
        "bookings.marked-no-show.v1": BookingMarkedNoShow,
        "bookings.hold-expired.v1": HoldExpired,
        "bookings.scrutineer-assigned.v1": ScrutineerAssigned,
        "bookings.scrutineer-removed.v1": ScrutineerRemoved,
    },
)


class BookingAlreadyRequested(Refused):
    """A booking with this id is there already."""


class BookingNotHeld(Refused):
    """Only a booking whose slot is held can be confirmed."""


class HoldIsOver(Refused):
    """The slot was held until then, and is not any more; request it again."""


class HoldNotOver(Refused):
    """The slot is still held."""


class BookingNotConfirmed(Refused):
    """The booking is not confirmed."""


class BookingNotCheckedIn(Refused):
    """The booking is not checked in."""


class BookingOver(Refused):
    """The booking is over, or its inspection has begun."""


class PriorityNotYours(NotYours):
    """Only those who run scrutineering give a booking another priority."""


class StartsInThePast(Refused):
    """A booking begins in the future."""


class TooShortNotice(Refused):
    """Teams book this inspection earlier than that."""


class AttendeesUnknown(Refused):
    """Somebody who is said to be here does not belong to the team."""


class AttendeesMissing(Refused):
    """Members of the team who have to be there are not."""


class NotYetDue(Refused):
    """The time of this booking has not come."""


class ScrutineerAlreadyAssigned(Refused):
    """This person is to inspect this already."""


class ScrutineerNotAssigned(Refused):
    """This person is not among those who inspect this."""


class NotAScrutineer(Refused):
    """This person is no scrutineer."""
