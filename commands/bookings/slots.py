"""Slots: a lane and a car for a booking, taken, kept and freed on every day of their calendars that it touches."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from commands.kernel import Asked, Consults, On, on
from domain.bookings.calendar import (
    CALENDAR_DAYS,
    CarElsewhere,
    LaneUnknown,
    SlotFreed,
    SlotKept,
    SlotNotFree,
    SlotTaken,
    Visit,
)

CAR = 1  # a day of a car has one lane


def calendars(visit: Visit | None) -> Consults:
    """Name every day of lanes and of the car that a visit touches."""
    if visit is not None:
        yield from ((CALENDAR_DAYS, day) for day in _days(visit))


def _days(visit: Visit) -> list[str]:
    return [*visit.lane_days(), *visit.car_days()]


def take(visit: Visit, lane: int, held_until: datetime | None, asked: Asked) -> Iterator[On]:
    """Yield that a booking has this lane and its car then, or only until `held_until`."""
    of_lane = SlotTaken(
        booking=asked.id, lane=lane, starts_at=visit.starts_at, ends_at=visit.free_at, held_until=held_until
    )
    yield from (on(CALENDAR_DAYS, day, of_lane) for day in visit.lane_days())
    of_car = replace(of_lane, lane=CAR, ends_at=visit.ends_at)
    yield from (on(CALENDAR_DAYS, day, of_car) for day in visit.car_days())


def keep(visit: Visit, asked: Asked) -> Iterator[On]:
    """Yield that a booking keeps what it has."""
    yield from (on(CALENDAR_DAYS, day, SlotKept(booking=asked.id)) for day in _days(visit))


def free(visit: Visit | None, asked: Asked) -> Iterator[On]:
    """Yield that a booking gives back what it still has."""
    if visit is not None:
        days = [day for day in _days(visit) if asked.id in asked.seen[CALENDAR_DAYS, day].slots]
        yield from (on(CALENDAR_DAYS, day, SlotFreed(booking=asked.id)) for day in days)


def lane_for(visit: Visit, lane: int | None, lanes: int, asked: Asked) -> int:
    """Return the lane that is asked for, or else the lowest free one; what the booking itself has is free for it.

    Raises LaneUnknown, CarElsewhere, SlotNotFree, which says from when on a lane and the car are free for as long, as far
    as the days that were looked at tell.
    """
    if lane is not None and lane > lanes:
        raise LaneUnknown(lanes=lanes)
    elsewhere = bookings_of_car(visit, asked)
    if elsewhere:
        raise CarElsewhere(booking=elsewhere[0])
    wanted = range(1, lanes + 1) if lane is None else [lane]
    found = free_lanes(visit, wanted, asked)
    if not found:
        raise SlotNotFree(free_from=_free_from(visit, wanted, asked))
    return found[0]


def free_lanes(visit: Visit, wanted: Sequence[int], asked: Asked) -> list[int]:
    """Return which of these lanes no other booking has then."""
    days = [asked.seen[CALENDAR_DAYS, day] for day in visit.lane_days()]
    blocking = [day.blocking(visit.starts_at, visit.free_at, asked.now, but=asked.id) for day in days]
    taken = {slot.lane for slots in blocking for slot in slots.values()}
    return [lane for lane in wanted if lane not in taken]


def bookings_of_car(visit: Visit, asked: Asked) -> list[str]:
    """Return the other bookings that have the car then."""
    days = [asked.seen[CALENDAR_DAYS, day] for day in visit.car_days()]
    return [id for day in days for id in day.blocking(visit.starts_at, visit.ends_at, asked.now, but=asked.id)]


def _free_from(visit: Visit, wanted: Sequence[int], asked: Asked) -> datetime | None:
    known = [asked.seen[CALENDAR_DAYS, day] for day in _days(visit)]
    for at in sorted({slot.ends_at for day in known for slot in day.slots.values() if slot.ends_at > visit.starts_at}):
        later = at - visit.starts_at
        moved = replace(visit, starts_at=at, ends_at=visit.ends_at + later, free_at=visit.free_at + later)
        if not all(asked.seen.has(CALENDAR_DAYS, day) for day in _days(moved)):
            return None
        if free_lanes(moved, wanted, asked) and not bookings_of_car(moved, asked):
            return at
    return None
