"""What bookings take, replayed from facts alone: no lane and no car may have two at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from domain.bookings.bookings import (
    BookingCancelled,
    BookingCompleted,
    BookingConfirmed,
    BookingMarkedNoShow,
    BookingRequested,
    BookingRescheduled,
    HoldExpired,
)
from domain.bookings.calendar import SlotFreed, SlotKept, SlotTaken

GONE = (BookingCancelled, BookingMarkedNoShow, HoldExpired, BookingCompleted)


@dataclass(frozen=True)
class Booked:
    """What a booking has: a lane until the end of its buffer, a car until its end; None in `held_until`: for good."""

    team_id: str
    inspection_type_id: str
    lane: int
    starts_at: datetime
    ends_at: datetime
    free_at: datetime
    held_until: datetime | None

    def clashes(self, other: Booked, now: datetime) -> bool:
        """Say whether another booking that counts now has the same lane or car at a time of this one."""
        if other.held_until is not None and other.held_until <= now:
            return False
        mine, theirs = (self.inspection_type_id, self.lane), (other.inspection_type_id, other.lane)
        lane = mine == theirs and self.starts_at < other.free_at and other.starts_at < self.free_at
        car = self.team_id == other.team_id and self.starts_at < other.ends_at and other.starts_at < self.ends_at
        return lane or car


@dataclass
class Replayed:
    """The bookings and the calendars after the facts so far, and what was wrong with them."""

    bookings: dict[str, Booked] = field(default_factory=dict)
    calendars: dict[str, dict[str, SlotTaken]] = field(default_factory=lambda: defaultdict(dict))
    wrong: list[str] = field(default_factory=list)

    def happened(self, id: str, fact: Any, now: datetime) -> None:
        """Take note of a fact that was decided by the clock of its door."""
        match fact:
            case BookingRequested() | BookingRescheduled():
                self._book(id, self._booked(id, fact), now)
            case BookingConfirmed():
                self._book(id, replace(self.bookings[id], held_until=None), now)
            case SlotTaken(booking=booking):
                self.calendars[id][booking] = fact
            case SlotKept(booking=booking):
                self.calendars[id][booking] = replace(self.calendars[id][booking], held_until=None)
            case SlotFreed(booking=booking):
                del self.calendars[id][booking]
            case one if isinstance(one, GONE):
                self.bookings.pop(id, None)  # it may be completed again

    def _booked(self, id: str, fact: BookingRequested | BookingRescheduled) -> Booked:
        of = fact if isinstance(fact, BookingRequested) else self.bookings[id]
        free_at = fact.ends_at + timedelta(minutes=fact.buffer_minutes)
        where = (of.team_id, of.inspection_type_id, fact.lane)
        return Booked(*where, fact.starts_at, fact.ends_at, free_at, fact.held_until)

    def _book(self, id: str, booked: Booked, now: datetime) -> None:
        self.wrong += [
            f"{id} and {other_id} at {booked.starts_at}"
            for other_id, other in self.bookings.items()
            if other_id != id and booked.clashes(other, now)
        ]
        self.bookings[id] = booked

    def check(self) -> None:
        """Check that nothing was wrong, and that the calendars say what the bookings say, on every UTC day."""
        assert self.wrong == []
        taken = {
            (id, booking, slot.lane, slot.starts_at, slot.ends_at, slot.held_until)
            for id, slots in self.calendars.items()
            for booking, slot in slots.items()
        }
        assert taken == {slot for id, booked in self.bookings.items() for slot in _slots(id, booked)}


def _slots(id: str, booked: Booked) -> Iterator[tuple[str, str, int, datetime, datetime, datetime | None]]:
    """Yield what must stand in calendars for a booking, found by walking minute by minute, to its last moment."""
    start = booked.starts_at
    for kind, lane, end in (
        (f"type:{booked.inspection_type_id}", booked.lane, booked.free_at),
        (f"team:{booked.team_id}", 1, booked.ends_at),
    ):
        minutes = int((end - start).total_seconds() // 60)
        moments = [*(start + timedelta(minutes=minute) for minute in range(minutes)), end - timedelta.resolution]
        for day in {moment.astimezone(UTC).date() for moment in moments}:
            yield f"{kind}:{day}", id, lane, start, end, booked.held_until
