"""What may be asked of those who inspect a booking."""

from typing import ClassVar

from commands.kernel import Asked, Command, Consults, Decision, Id
from domain.bookings.bookings import (
    Booking,
    BookingOver,
    NotAScrutineer,
    ScrutineerAlreadyAssigned,
    ScrutineerAssigned,
    ScrutineerNotAssigned,
    ScrutineerRemoved,
)
from domain.people import INSPECTORS, PEOPLE, PersonGone, PersonUnknown
from domain.roles import CREW

OVER = {"completed", "cancelled", "no_show", "expired"}


class AssignScrutineer(Command):
    """Let somebody inspect this, alone or with others."""

    person_id: Id
    allows: ClassVar = CREW
    refuses: ClassVar = (BookingOver, ScrutineerAlreadyAssigned, PersonUnknown, PersonGone, NotAScrutineer)

    def consults(self, booking: Booking, asked: Asked) -> Consults:
        yield PEOPLE, self.person_id

    def decide(self, booking: Booking, asked: Asked) -> Decision:
        if booking.status in OVER:
            raise BookingOver(status=booking.status)
        if self.person_id in booking.scrutineers:
            raise ScrutineerAlreadyAssigned(person_id=self.person_id)
        person = asked.seen[PEOPLE]
        if person.status != "active":
            raise PersonGone(person_id=self.person_id) if person.status else PersonUnknown(person_id=self.person_id)
        if not person.roles & INSPECTORS:
            raise NotAScrutineer(person_id=self.person_id)
        yield ScrutineerAssigned(person_id=self.person_id, by=asked.by.subject)


class RemoveScrutineer(Command):
    """Let somebody not inspect this any more."""

    person_id: Id
    allows: ClassVar = CREW
    refuses: ClassVar = (BookingOver, ScrutineerNotAssigned)

    def decide(self, booking: Booking, asked: Asked) -> Decision:
        if booking.status in OVER:
            raise BookingOver(status=booking.status)
        if self.person_id not in booking.scrutineers:
            raise ScrutineerNotAssigned(person_id=self.person_id)
        yield ScrutineerRemoved(person_id=self.person_id, by=asked.by.subject)
