"""What follows from scrutineering by itself, counted from facts alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from domain.bookings.bookings import BookingCheckedIn, BookingCompleted, BookingContinued, BookingStarted
from domain.inspections.checks import DefectCleared, DefectFound
from domain.inspections.follow_ups import FollowUpOpened, FollowUpResolved
from domain.inspections.inspections import (
    InspectionCompleted,
    InspectionPrepared,
    InspectionReopened,
    InspectionStarted,
)
from domain.kernel import ReactionRefused, Recorded

FOLLOWS = {
    BookingCheckedIn: InspectionPrepared,
    InspectionStarted: BookingStarted,
    InspectionCompleted: BookingCompleted,
    InspectionReopened: BookingContinued,
    DefectFound: FollowUpOpened,
    DefectCleared: FollowUpResolved,
}


def ids(facts: Iterable[Recorded[Any]], kind: type) -> Counter[str]:
    """Return on which records a fact happened, and how often; of a defect, on which follow-ups."""
    found = (one for one in facts if type(one.fact) is kind)
    return Counter(f"{one.id}.{one.fact.number}" if kind in (DefectFound, DefectCleared) else one.id for one in found)


def check_what_follows(facts: Iterable[Recorded[Any]]) -> None:
    """Check that everything that should follow does, once, and that none of it was refused."""
    known = list(facts)
    for cause, effect in FOLLOWS.items():
        assert ids(known, cause) == ids(known, effect), f"{effect.__name__} does not follow once from {cause.__name__}"
    assert not ids(known, ReactionRefused)
