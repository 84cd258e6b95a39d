"""What may be asked of bookings."""

from datetime import datetime, timedelta
from typing import Annotated, ClassVar

from pydantic import Field

from commands.bookings.rules import (
    LEADERS,
    circumstances,
    local_date,
    must_be_ahead,
    must_be_own,
    must_have_passed,
    rules_for,
    team_in,
    visit_at,
)
from commands.bookings.slots import bookings_of_car, calendars, free, free_lanes, keep, lane_for, take
from commands.kernel import Asked, Command, Consults, Decision, Id, Moment, Text
from domain.bookings.bookings import (
    AttendeesMissing,
    AttendeesUnknown,
    Booking,
    BookingAlreadyRequested,
    BookingCancelled,
    BookingCheckedIn,
    BookingCompleted,
    BookingConfirmed,
    BookingContinued,
    BookingMarkedNoShow,
    BookingNotCheckedIn,
    BookingNotConfirmed,
    BookingNotHeld,
    BookingOver,
    BookingPrioritized,
    BookingRequested,
    BookingRescheduled,
    BookingStarted,
    HoldExpired,
    HoldIsOver,
    HoldNotOver,
    NotYetDue,
    PriorityNotYours,
    StartsInThePast,
    TooShortNotice,
)
from domain.bookings.calendar import CarElsewhere, LaneUnknown, SlotNotFree, Visit
from domain.inspections.passports import AlreadyPassed, NothingToRescrutineer, PrerequisitesMissing, Result
from domain.inspections.types import (
    INSPECTION_TYPES,
    InspectionTypeNotOffered,
    InspectionTypeUnknown,
    NotForThisClass,
)
from domain.kernel import NotYours, Refused
from domain.people import TEAMS, TeamGone, TeamUnknown
from domain.roles import CREW, STAFF, Role
from domain.tenants import TENANTS, TenantNotOpen

BY_THE_RULES: tuple[type[Refused], ...] = (
    TeamUnknown,
    TeamGone,
    TenantNotOpen,
    InspectionTypeUnknown,
    InspectionTypeNotOffered,
    NotForThisClass,
    NothingToRescrutineer,
    AlreadyPassed,
    PrerequisitesMissing,
    StartsInThePast,
    TooShortNotice,
    LaneUnknown,
    CarElsewhere,
    SlotNotFree,
)
MOST_LANES, MOST_PRIORITY, MOST_ATTENDEES = 1_000, 100, 100

Lane = Annotated[int, Field(ge=1, le=MOST_LANES)]
Priority = Annotated[int, Field(ge=0, le=MOST_PRIORITY, description="Higher is inspected first")]


class RequestBooking(Command):
    """Hold a slot for a team until it confirms: the lane that is named, or the lowest free one.

    Teams keep the notice of the inspection type; those who inspect may book at once. Only staff give a priority.
    """

    team_id: Id
    inspection_type_id: Id
    starts_at: Moment
    lane: Lane | None = None
    rescrutineering: bool = False
    priority: Priority = 0
    notes: Text | None = None
    allows: ClassVar = CREW | LEADERS
    refuses: ClassVar = (
        NotYours,
        PriorityNotYours,
        BookingAlreadyRequested,
        *BY_THE_RULES,
    )
    creates: ClassVar = True

    def consults(self, booking: Booking, asked: Asked) -> Consults:
        yield from _looked_at(self.team_id, self.inspection_type_id, self.starts_at, asked)

    def decide(self, booking: Booking, asked: Asked) -> Decision:
        must_be_own(asked)
        if self.priority and not asked.by.roles & STAFF:
            raise PriorityNotYours
        if booking.status is not None:
            raise BookingAlreadyRequested
        team, day = team_in(self.team_id, asked), local_date(self.starts_at, asked)
        rules = rules_for(team, self.inspection_type_id, rescrutineering=self.rescrutineering, asked=asked)
        must_be_ahead(self.starts_at, rules, asked)
        visit = visit_at(self.team_id, self.inspection_type_id, self.starts_at, rules)
        lane = lane_for(visit, self.lane, rules.lanes, asked)
        held_until = asked.now + timedelta(minutes=rules.hold_minutes)
        yield BookingRequested(
            team_id=self.team_id,
            inspection_type_id=self.inspection_type_id,
            vehicle_class=team.vehicle_class,
            lane=lane,
            starts_at=visit.starts_at,
            ends_at=visit.ends_at,
            day=day,
            held_until=held_until,
            priority=self.priority,
            rescrutineering=self.rescrutineering,
            notes=self.notes,
            by=asked.by.subject,
            buffer_minutes=rules.buffer_minutes,
        )
        yield from take(visit, lane, held_until, asked)


def _looked_at(team_id: str, type_id: str, starts_at: datetime, asked: Asked) -> Consults:
    """Name what decides whether a team may come to an inspection then, and what is taken of that time."""
    yield TENANTS, str(asked.tenant)
    yield from circumstances(team_id, type_id)
    rules = asked.seen[INSPECTION_TYPES].rules
    if rules is not None:
        yield from calendars(visit_at(team_id, type_id, starts_at, rules))


class ConfirmBooking(Command):
    """Say that the team comes, while its slot is held."""

    allows: ClassVar = CREW | LEADERS
    refuses: ClassVar = (NotYours, BookingNotHeld, HoldIsOver, TeamUnknown, TeamGone)

    def consults(self, booking: Booking, asked: Asked) -> Consults:
        yield TEAMS, booking.team_id
        yield from calendars(booking.visit)

    def decide(self, booking: Booking, asked: Asked) -> Decision:
        must_be_own(asked)
        if booking.status != "requested" or booking.visit is None:
            raise BookingNotHeld(status=booking.status)
        if not _has_its_slot(booking, booking.visit, asked):
            raise HoldIsOver(held_until=booking.held_until)
        team_in(booking.team_id, asked)
        yield BookingConfirmed()
        yield from keep(booking.visit, asked)


def _has_its_slot(booking: Booking, visit: Visit, asked: Asked) -> bool:
    """Say whether the slot is still held; by the clock of another door it may have been over, and given to somebody else."""
    is_free = free_lanes(visit, [booking.lane], asked) and not bookings_of_car(visit, asked)
    return booking.is_held(asked.now) and bool(is_free)


class RescheduleBooking(Command):
    """Come at another time, or to another lane, by the rules as they are now; a hold does not last longer by it."""

    starts_at: Moment
    lane: Lane | None = None
    allows: ClassVar = CREW | LEADERS
    refuses: ClassVar = (
        NotYours,
        BookingOver,
        HoldIsOver,
        *BY_THE_RULES,
    )
    respects_lock: ClassVar = True

    def consults(self, booking: Booking, asked: Asked) -> Consults:
        yield from _looked_at(booking.team_id, booking.inspection_type_id, self.starts_at, asked)
        yield from calendars(booking.visit)

    def decide(self, booking: Booking, asked: Asked) -> Decision:
        must_be_own(asked)
        if booking.status not in ("requested", "confirmed"):
            raise BookingOver(status=booking.status)
        if booking.status == "requested" and not booking.is_held(asked.now):
            raise HoldIsOver(held_until=booking.held_until)
        kind, team, day = booking.inspection_type_id, team_in(booking.team_id, asked), local_date(self.starts_at, asked)
        rules = rules_for(team, kind, rescrutineering=booking.rescrutineering, asked=asked)
        must_be_ahead(self.starts_at, rules, asked)
        visit = visit_at(booking.team_id, kind, self.starts_at, rules)
        lane = lane_for(visit, self.lane, rules.lanes, asked)
        if (visit, lane) == (booking.visit, booking.lane):
            return
        yield BookingRescheduled(
            lane=lane,
            starts_at=visit.starts_at,
            ends_at=visit.ends_at,
            day=day,
            held_until=booking.held_until,
            buffer_minutes=rules.buffer_minutes,
        )
        yield from free(booking.visit, asked)
        yield from take(visit, lane, booking.held_until, asked)


class PrioritizeBooking(Command):
    """Let a team be inspected before or after others."""

    priority: Priority
    allows: ClassVar = STAFF
    refuses: ClassVar = (BookingOver,)
    respects_lock: ClassVar = True

    def decide(self, booking: Booking, asked: Asked) -> Decision:
        if booking.status not in ("requested", "confirmed", "checked_in"):
            raise BookingOver(status=booking.status)
        if booking.priority != self.priority:
            yield BookingPrioritized(priority=self.priority)


class CancelBooking(Command):
    """Say that the team does not come; its slot is free again."""

    reason: Text
    allows: ClassVar = STAFF | LEADERS
    refuses: ClassVar = (NotYours, BookingOver)

    def consults(self, booking: Booking, asked: Asked) -> Consults:
        yield TEAMS, booking.team_id
        yield from calendars(booking.visit)

    def decide(self, booking: Booking, asked: Asked) -> Decision:
        must_be_own(asked, but=STAFF)
        if booking.status not in ("requested", "confirmed"):
            raise BookingOver(status=booking.status)
        yield BookingCancelled(reason=self.reason)
        yield from free(booking.visit, asked)


class MarkNoShow(Command):
    """Say that the team did not come, once its time has come; its slot is free again."""

    allows: ClassVar = CREW
    refuses: ClassVar = (BookingNotConfirmed, NotYetDue)

    def consults(self, booking: Booking, asked: Asked) -> Consults:
        yield from calendars(booking.visit)

    def decide(self, booking: Booking, asked: Asked) -> Decision:
        if booking.status != "confirmed" or booking.visit is None:
            raise BookingNotConfirmed(status=booking.status)
        if asked.now < booking.visit.starts_at:
            raise NotYetDue(due=booking.visit.starts_at)
        yield BookingMarkedNoShow()
        yield from free(booking.visit, asked)


class CheckInBooking(Command):
    """Say that the team is here with its car, and who of its members.

    Among them must be every role that has to be there, and what comes before must still be passed.
    """

    attendees: Annotated[tuple[Id, ...], Field(max_length=MOST_ATTENDEES)] = ()
    allows: ClassVar = CREW
    refuses: ClassVar = (
        BookingNotConfirmed,
        TeamUnknown,
        TeamGone,
        AttendeesUnknown,
        AttendeesMissing,
        PrerequisitesMissing,
    )

    def consults(self, booking: Booking, asked: Asked) -> Consults:
        yield from circumstances(booking.team_id, booking.inspection_type_id)

    def decide(self, booking: Booking, asked: Asked) -> Decision:
        if booking.status != "confirmed":
            raise BookingNotConfirmed(status=booking.status)
        team, rules = team_in(booking.team_id, asked), asked.seen[INSPECTION_TYPES].rules
        unknown = [id for id in self.attendees if id not in team.members]
        if unknown:
            raise AttendeesUnknown(unknown=unknown)
        here = {role for id in self.attendees for role in team.members[id].roles}
        of_class = rules.of(booking.vehicle_class) if rules is not None else None
        missing = [role for role in of_class.attendees if role not in here] if of_class is not None else []
        if missing:
            raise AttendeesMissing(missing=missing)
        must_have_passed(booking.inspection_type_id, booking.vehicle_class, asked)
        yield BookingCheckedIn(
            team_id=booking.team_id,
            inspection_type_id=booking.inspection_type_id,
            vehicle_class=booking.vehicle_class,
            attendees=tuple(dict.fromkeys(self.attendees)),
            rescrutineering=booking.rescrutineering,
        )


class ExpireHold(Command):
    """Free the slot of a booking that was not confirmed while it was held."""

    allows: ClassVar = frozenset({Role.SYSTEM})
    refuses: ClassVar = (HoldNotOver,)

    def consults(self, booking: Booking, asked: Asked) -> Consults:
        yield from calendars(booking.visit)

    def decide(self, booking: Booking, asked: Asked) -> Decision:
        if booking.status != "requested":
            return
        if booking.is_held(asked.now):
            raise HoldNotOver(held_until=booking.held_until)
        yield HoldExpired()
        yield from free(booking.visit, asked)


class StartBooking(Command):
    """Follow the inspection, which has started."""

    allows: ClassVar = frozenset({Role.SYSTEM})
    refuses: ClassVar = (BookingNotCheckedIn,)

    def decide(self, booking: Booking, asked: Asked) -> Decision:
        if booking.status in ("ongoing", "completed"):
            return
        if booking.status != "checked_in":
            raise BookingNotCheckedIn(status=booking.status)
        yield BookingStarted()


class CompleteBooking(Command):
    """Follow the inspection, which came to a result; what is left of its slot is free again."""

    result: Result
    allows: ClassVar = frozenset({Role.SYSTEM})
    refuses: ClassVar = (BookingNotCheckedIn,)

    def consults(self, booking: Booking, asked: Asked) -> Consults:
        yield from calendars(booking.visit)

    def decide(self, booking: Booking, asked: Asked) -> Decision:
        if booking.status not in ("checked_in", "ongoing", "completed"):
            raise BookingNotCheckedIn(status=booking.status)
        if (booking.status, booking.result) != ("completed", self.result):
            yield BookingCompleted(result=self.result)
            yield from free(booking.visit, asked)


class ContinueBooking(Command):
    """Follow the inspection, which goes on after it was completed."""

    allows: ClassVar = frozenset({Role.SYSTEM})
    refuses: ClassVar = (BookingNotCheckedIn,)

    def decide(self, booking: Booking, asked: Asked) -> Decision:
        if booking.status not in ("checked_in", "ongoing", "completed"):
            raise BookingNotCheckedIn(status=booking.status)
        if booking.status != "ongoing":
            yield BookingContinued()
