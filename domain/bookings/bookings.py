"""Bookings: a team comes to an inspection at a time.

(none) --request--> requested --confirm--> confirmed --check-in--> checked_in --start--> ongoing --complete--> completed
requested --expire--> expired; requested, confirmed --cancel--> cancelled; confirmed --mark-no-show--> no_show
requested, confirmed --reschedule--> the same; any of them --prioritize, assign-scrutineer, remove-scrutineer--> the same
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Literal

from domain.inspections.passports import Result
from domain.kernel import Refused, Stream, fact, state
from domain.people import VehicleClass

BookingStatus = Literal[
    "requested", "confirmed", "checked_in", "ongoing", "completed", "cancelled", "no_show", "expired"
]


@fact
class BookingRequested:
    """A team wants to come; the slot is held for it until `held_until`. `day` is the local date on which it begins."""

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
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    day: date | None = None
    held_until: datetime | None = None
    priority: int = 0
    rescrutineering: bool = False
    scrutineers: tuple[str, ...] = ()

    def is_held(self, now: datetime) -> bool:
        """Say whether a requested slot is still held."""
        return self.status == "requested" and self.held_until is not None and now < self.held_until


STATUS: dict[type, BookingStatus] = {
    BookingCheckedIn: "checked_in",
    BookingStarted: "ongoing",
    BookingContinued: "ongoing",
    BookingCompleted: "completed",
    BookingCancelled: "cancelled",
    BookingMarkedNoShow: "no_show",
    HoldExpired: "expired",
}


def evolve(booking: Booking, happened: object) -> Booking:
    """Return the booking after what happened."""
    match happened:
        case BookingRequested():
            return replace(
                booking,
                status="requested",
                team_id=happened.team_id,
                inspection_type_id=happened.inspection_type_id,
                vehicle_class=happened.vehicle_class,
                lane=happened.lane,
                starts_at=happened.starts_at,
                ends_at=happened.ends_at,
                day=happened.day,
                held_until=happened.held_until,
                priority=happened.priority,
                rescrutineering=happened.rescrutineering,
            )
        case BookingConfirmed():
            return replace(booking, status="confirmed", held_until=None)
        case BookingRescheduled(lane=lane, starts_at=starts, ends_at=ends, day=day, held_until=held):
            return replace(booking, lane=lane, starts_at=starts, ends_at=ends, day=day, held_until=held)
        case BookingPrioritized(priority=priority):
            return replace(booking, priority=priority)
        case ScrutineerAssigned(person_id=person):
            return replace(booking, scrutineers=(*booking.scrutineers, person))
        case ScrutineerRemoved(person_id=person):
            return replace(booking, scrutineers=tuple(one for one in booking.scrutineers if one != person))
    status = STATUS.get(type(happened))
    return replace(booking, status=status) if status is not None else booking


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


class TooShortNotice(Refused):
    """Teams book this inspection earlier than that."""


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
