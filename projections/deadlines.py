"""What is due later in scrutineering: holds that end, checks that have waited long enough, files that did not come."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from domain.attachments import ATTACHMENTS, AttachmentAbandoned, AttachmentDeclared, AttachmentStored
from domain.bookings.bookings import (
    BOOKINGS,
    BookingCancelled,
    BookingConfirmed,
    BookingRequested,
    BookingRescheduled,
    HoldExpired,
)
from domain.inspections.checks import HELD_AT_MOST, CheckHeld, HeldCheckReleased
from domain.inspections.inspections import INSPECTIONS
from domain.kernel import Recorded
from projections.kernel import Key, Keys, Look, View, at, row

EXPIRE_HOLD, RELEASE_HELD, ABANDON_ATTACHMENT = "expire-hold", "release-held", "abandon-attachment"


@row
class Held:
    """A check that waits for an earlier one of its branch, and since when."""

    branch: str
    step: int
    since: datetime


@row
class DeadlineRow:
    """Something due later, of which record; `held` are the checks that wait."""

    name: str
    id: str
    stream: str
    due_at: datetime
    held: tuple[Held, ...] = ()


def _named(name: str) -> Keys:
    def keys(happened: Recorded[Any], look: Look) -> list[Key]:
        return [(name, happened.id)]

    return keys


def _due(happened: Recorded[Any], key: Key, due_at: datetime | None) -> DeadlineRow | None:
    return DeadlineRow(name=key[0], id=key[1], stream=happened.stream, due_at=due_at) if due_at is not None else None


def requested(
    _: DeadlineRow | None, happened: Recorded[BookingRequested] | Recorded[BookingRescheduled], look: Look, key: Key
) -> DeadlineRow | None:
    return _due(happened, key, happened.fact.held_until)


def declared(_: DeadlineRow | None, happened: Recorded[AttachmentDeclared], look: Look, key: Key) -> DeadlineRow | None:
    return _due(happened, key, happened.fact.complete_by)


def settled(_: DeadlineRow | None, happened: Recorded[Any], look: Look, key: Key) -> None:
    return None


def held(deadline: DeadlineRow | None, happened: Recorded[CheckHeld], look: Look, key: Key) -> DeadlineRow | None:
    one = Held(branch=happened.fact.branch, step=happened.fact.step, since=happened.fact.since)
    return _waiting(happened, key, (*(deadline.held if deadline is not None else ()), one))


def released(
    deadline: DeadlineRow | None, happened: Recorded[HeldCheckReleased], look: Look, key: Key
) -> DeadlineRow | None:
    turn = (happened.fact.branch, happened.fact.step)
    known = deadline.held if deadline is not None else ()
    return _waiting(happened, key, tuple(one for one in known if (one.branch, one.step) != turn))


def _waiting(happened: Recorded[Any], key: Key, held: tuple[Held, ...]) -> DeadlineRow | None:
    earliest = min((one.since for one in held), default=None)
    due = _due(happened, key, earliest and earliest + HELD_AT_MOST)
    return replace(due, held=held) if due is not None else None


_hold, _held, _attachment = _named(EXPIRE_HOLD), _named(RELEASE_HELD), _named(ABANDON_ATTACHMENT)
DEADLINES_VIEW = View(
    name="deadlines",
    row=DeadlineRow,
    key=("name", "id"),
    indexes=("name, due_at",),
    folds={
        BOOKINGS: {
            BookingRequested: at(_hold, requested),
            BookingRescheduled: at(_hold, requested),
            BookingConfirmed: at(_hold, settled),
            BookingCancelled: at(_hold, settled),
            HoldExpired: at(_hold, settled),
        },
        INSPECTIONS: {CheckHeld: at(_held, held), HeldCheckReleased: at(_held, released)},
        ATTACHMENTS: {
            AttachmentDeclared: at(_attachment, declared),
            AttachmentStored: at(_attachment, settled),
            AttachmentAbandoned: at(_attachment, settled),
        },
    },
)
