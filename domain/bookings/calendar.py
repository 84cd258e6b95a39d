"""Calendars: what is taken of a resource on a UTC day; `type:<inspection type>:<day>` has lanes, `team:<team>:<day>` one car.

free --take--> taken --keep--> taken --free--> free; what is taken until a moment only is free from then on by itself

A slot stands on every day that it touches. The days are those of UTC, so that two slots that overlap stand on a common day
also when the organisation changes its time zone between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import UTC, date, datetime, timedelta

from domain.kernel import Refused, Stream, fact, state


@fact
class SlotTaken:
    """A booking has a lane from `starts_at` to before `ends_at` (its buffer included), or only until `held_until`, if given."""

    booking: str
    lane: int
    starts_at: datetime
    ends_at: datetime
    held_until: datetime | None = None


@fact
class SlotKept:
    """A booking keeps its slot for good."""

    booking: str


@fact
class SlotFreed:
    """A booking gave its slot back."""

    booking: str


@state
class Slot:
    """A stretch of time on a lane."""

    lane: int
    starts_at: datetime
    ends_at: datetime
    held_until: datetime | None = None

    def blocks(self, starts_at: datetime, ends_at: datetime, now: datetime) -> bool:
        """Say whether its lane cannot be had in that time, as of now."""
        is_held = self.held_until is None or now < self.held_until
        return is_held and self.starts_at < ends_at and starts_at < self.ends_at


@state
class CalendarDay:
    """The slots of a resource on a UTC day, by booking."""

    slots: Mapping[str, Slot] = field(default_factory=dict)

    def blocking(self, starts_at: datetime, ends_at: datetime, now: datetime, but: str) -> dict[str, Slot]:
        """Return the slots that cannot be had in that time, by booking; those of one booking (`but`) are taken as free."""
        return {
            booking: slot
            for booking, slot in self.slots.items()
            if booking != but and slot.blocks(starts_at, ends_at, now)
        }


def evolve(day: CalendarDay, happened: object) -> CalendarDay:
    """Return the day after what happened."""
    match happened:
        case SlotTaken(booking=booking):
            slot = Slot(
                lane=happened.lane,
                starts_at=happened.starts_at,
                ends_at=happened.ends_at,
                held_until=happened.held_until,
            )
            return replace(day, slots={**day.slots, booking: slot})
        case SlotKept(booking=booking) if booking in day.slots:
            return replace(day, slots={**day.slots, booking: replace(day.slots[booking], held_until=None)})
        case SlotFreed(booking=gone):
            return replace(day, slots={booking: slot for booking, slot in day.slots.items() if booking != gone})
    return day


CALENDAR_DAYS = Stream(
    "calendar-days",
    CalendarDay(),
    evolve,
    {
        "calendar-days.slot-taken.v1": SlotTaken,
        "calendar-days.slot-kept.v1": SlotKept,
        "calendar-days.slot-freed.v1": SlotFreed,
    },
)


def lanes_of(inspection_type_id: str, day: date) -> str:
    """Return the id of a UTC day of the lanes of an inspection type."""
    return f"type:{inspection_type_id}:{day}"


def car_of(team_id: str, day: date) -> str:
    """Return the id of a UTC day of a team's car, which is at one place at a time."""
    return f"team:{team_id}:{day}"


def utc_days(starts_at: datetime, ends_at: datetime) -> list[date]:
    """Return the UTC days that a stretch of time touches, its end not included."""
    first = starts_at.astimezone(UTC).date()
    last = (ends_at.astimezone(UTC) - timedelta(microseconds=1)).date()
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


@state
class Visit:
    """A team's car at an inspection; the lane is kept for it until `free_at`, its buffer after the end."""

    team_id: str
    inspection_type_id: str
    starts_at: datetime
    ends_at: datetime
    free_at: datetime

    def lane_days(self) -> list[str]:
        """Return the ids of the days of the lanes that it touches."""
        return [lanes_of(self.inspection_type_id, day) for day in utc_days(self.starts_at, self.free_at)]

    def car_days(self) -> list[str]:
        """Return the ids of the days of the car that it touches."""
        return [car_of(self.team_id, day) for day in utc_days(self.starts_at, self.ends_at)]


class SlotNotFree(Refused):
    """No lane is free at this time."""


class LaneUnknown(Refused):
    """This inspection has fewer lanes."""


class CarElsewhere(Refused):
    """The team's car is booked for another inspection at this time."""
