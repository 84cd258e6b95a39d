"""Follow-ups: what has to be mended after an item failed; the id is `<inspection>.<number of the defect>`.

(none) --open--> open --resolve--> resolved --open--> open
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from domain.kernel import Refused, Stream, fact, state


@fact
class FollowUpOpened:
    """An item failed, so there is something to mend."""

    inspection_id: str
    item: str
    comment: str | None = None


@fact
class FollowUpResolved:
    """It was mended, or the item did not fail after all."""

    note: str | None = None


@state
class FollowUp:
    """Whether there is still something to mend."""

    status: Literal["open", "resolved"] | None = None


def evolve(follow_up: FollowUp, happened: object) -> FollowUp:
    """Return the follow-up after what happened."""
    match happened:
        case FollowUpOpened():
            return replace(follow_up, status="open")
        case FollowUpResolved():
            return replace(follow_up, status="resolved")
    return follow_up


FOLLOW_UPS = Stream(
    "follow-ups",
    FollowUp(),
    evolve,
    {"follow-ups.opened.v1": FollowUpOpened, "follow-ups.resolved.v1": FollowUpResolved},
)


class FollowUpIsResolved(Refused):
    """This is resolved already."""
