"""How it goes at each station: its queue, what its days brought, and the organisation's calendar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from domain.bookings.bookings import BookingRequested
from domain.inspections.types import INSPECTION_TYPES, InspectionTypeDefined
from domain.kernel import Recorded, Stream
from domain.tenants import TENANTS, TenantOpened, TimeZoneChanged, Zone, first_zone, with_zone
from projections.bookings.bookings import FOLDS, BookingRow
from projections.kernel import Change, Fold, Key, KeyedChange, Keys, Look, View, at, row

CHANGES: Mapping[type, Change] = {fact: change for folds in FOLDS.values() for fact, change in folds.items()}
PRESENT = ("checked_in", "ongoing")


def _before(happened: Recorded[Any], look: Look) -> BookingRow | None:
    return look(BookingRow, happened.id)


def _after(happened: Recorded[Any], look: Look) -> BookingRow | None:
    """Return the booking as this fact leaves it, by the very fold that makes its row; None if there is none."""
    before = _before(happened, look)
    if before is None and not isinstance(happened.fact, BookingRequested):
        return None
    found: BookingRow = CHANGES[type(happened.fact)](before, happened, look)
    return found


def _both(happened: Recorded[Any], look: Look) -> Iterable[BookingRow]:
    return (one for one in (_before(happened, look), _after(happened, look)) if one is not None)


def _of_every_change(keys: Keys, change: KeyedChange) -> dict[Stream[Any], dict[type, Fold]]:
    """Return the fold of whatever changes a booking."""
    return {stream: dict.fromkeys(folds, at(keys, change)) for stream, folds in FOLDS.items()}


@row
class StationDayRow:
    """Where the bookings of an inspection type on a local date stand: how many with each status and each result, how many of
    them scrutineer again, the seconds of the `timed` inspections, and the scores of those that were `scored`.
    """

    inspection_type_id: str
    day: date
    requested: int = 0
    confirmed: int = 0
    checked_in: int = 0
    ongoing: int = 0
    completed: int = 0
    cancelled: int = 0
    no_show: int = 0
    expired: int = 0
    passed: int = 0
    conditional_pass: int = 0
    provisional: int = 0
    failed: int = 0
    rescrutineerings: int = 0
    seconds: int = 0
    timed: int = 0
    scores: int = 0
    scored: int = 0


def _days(happened: Recorded[Any], look: Look) -> Iterable[Key]:
    return dict.fromkeys((one.inspection_type_id, one.day) for one in _both(happened, look))


def counted(day: StationDayRow | None, happened: Recorded[Any], look: Look, key: Key) -> StationDayRow:
    known = day or StationDayRow(inspection_type_id=key[0], day=key[1])
    counts = _counts(_after(happened, look), key)
    counts.subtract(_counts(_before(happened, look), key))
    return replace(known, **{name: getattr(known, name) + count for name, count in counts.items()})


def _counts(booking: BookingRow | None, day: Key) -> Counter[str]:
    """Return what a booking adds to a day."""
    if booking is None or (booking.inspection_type_id, booking.day) != day:
        return Counter()
    counts = Counter[str]({booking.status: 1, "rescrutineerings": int(booking.rescrutineering)})
    if booking.result is not None:
        counts[booking.result] += 1
    if booking.seconds is not None:
        counts.update(seconds=booking.seconds, timed=1)
    if booking.score is not None:
        counts.update(scores=booking.score, scored=1)
    return counts


STATION_DAYS_VIEW = View(
    name="station_days",
    row=StationDayRow,
    key=("inspection_type_id", "day"),
    indexes=("day",),
    folds=_of_every_change(_days, counted),
)


@row
class Queued:
    """A booking whose car is there: waiting for its inspection, or in it."""

    booking_id: str
    team_id: str
    day: date
    status: str
    rank: int
    checked_in_at: datetime | None
    worked_seconds: int
    working_since: datetime | None


@row
class StationRow:
    """The queue of an inspection type, the next one first."""

    inspection_type_id: str
    queue: tuple[Queued, ...] = ()


def _station(happened: Recorded[Any], look: Look) -> Iterable[Key]:
    return dict.fromkeys((one.inspection_type_id,) for one in _both(happened, look))


def opened_for(_: StationRow | None, happened: Recorded[InspectionTypeDefined], look: Look) -> StationRow:
    return StationRow(inspection_type_id=happened.id)


def queued(station: StationRow | None, happened: Recorded[Any], look: Look, key: Key) -> StationRow:
    known = station or StationRow(inspection_type_id=key[0])
    queue = [one for one in known.queue if one.booking_id != happened.id]
    booking = _after(happened, look)
    if booking is not None and booking.status in PRESENT:
        queue.append(_place(booking))
    return replace(
        known, queue=tuple(sorted(queue, key=lambda one: (one.rank, str(one.checked_in_at), one.booking_id)))
    )


def _place(booking: BookingRow) -> Queued:
    return Queued(
        booking_id=booking.id,
        team_id=booking.team_id,
        day=booking.day,
        status=booking.status,
        rank=booking.rank,
        checked_in_at=booking.checked_in_at,
        worked_seconds=booking.worked_seconds,
        working_since=booking.working_since,
    )


STATIONS_VIEW = View(
    name="stations",
    row=StationRow,
    key=("inspection_type_id",),
    filters=("inspection_type_id",),
    folds={INSPECTION_TYPES: {InspectionTypeDefined: opened_for}, **_of_every_change(_station, queued)},
)

CALENDAR = "calendar"


@row
class CalendarRow:
    """The organisation's calendar, by which bookings have their local date."""

    name: str
    zones: tuple[Zone, ...] = ()


def _calendar(happened: Recorded[Any], look: Look) -> list[Key]:
    return [(CALENDAR,)]


def opened(_: CalendarRow | None, happened: Recorded[TenantOpened], look: Look, key: Key) -> CalendarRow:
    return CalendarRow(name=CALENDAR, zones=first_zone(happened.fact))


def zone_changed(calendar: CalendarRow, happened: Recorded[TimeZoneChanged], look: Look, key: Key) -> CalendarRow:
    return replace(calendar, zones=with_zone(calendar.zones, happened.fact))


CALENDAR_VIEW = View(
    name="calendar",
    row=CalendarRow,
    key=("name",),
    folds={TENANTS: {TenantOpened: at(_calendar, opened), TimeZoneChanged: at(_calendar, zone_changed)}},
)
