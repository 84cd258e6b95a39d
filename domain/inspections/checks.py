"""Checks: what many hands say of the items of one inspection, each item with revisions of its own.

unchecked --check--> checked (revision 1, 2, ...) --lock-item--> locked --unlock-item--> checked
A check that was made on an older revision is merged where both can hold; else it is a conflict, which somebody resolves.
One that was made offline after others that have not arrived yet is held until they do, or for too long.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime, timedelta
from typing import Literal

from domain.kernel import Refused, fact, state

CheckStatus = Literal["open", "passed", "failed", "not_applicable"]
Merge = Literal["equal", "merged"]
Resolution = Literal["keep_current", "accept_incoming", "merge"]
Clash = Literal["status", "comment", "locked"]
HELD_AT_MOST = timedelta(minutes=60)
MOST_HELD = 1_000


@fact
class CheckValue:
    """What somebody says of an item."""

    status: CheckStatus = "open"
    comment: str | None = None


OPEN = CheckValue()


@fact
class ItemChecked:
    """An item has this value now. `based_on` is the revision that its author saw; where others had spoken since and both
    can hold, `merge` says how; `sent` is what the author said, where that is not the value.
    """

    item: str
    revision: int
    value: CheckValue
    by: str
    at: datetime
    based_on: int
    merge: Merge | None = None
    sent: CheckValue | None = None
    branch: str | None = None
    step: int | None = None


@fact
class ConflictFound:
    """What somebody says of an item contradicts what others have said since the revision that he saw.

    `clash` names the fields; or it says that the item was locked when something made offline arrived, be it that nobody had
    said anything of it.
    """

    number: int
    item: str
    clash: tuple[Clash, ...]
    base: CheckValue
    current: CheckValue
    current_revision: int
    current_by: str | None
    current_at: datetime | None
    incoming: CheckValue
    incoming_by: str
    incoming_at: datetime
    based_on: int
    branch: str | None = None
    step: int | None = None


@fact
class ConflictResolved:
    """Somebody decided what holds; the item has a new revision unless its value was kept."""

    number: int
    item: str
    resolution: Resolution
    value: CheckValue
    revision: int
    by: str
    at: datetime


@fact
class CheckHeld:
    """A check made offline waits for an earlier one of its device's branch; it arrived here at `since`."""

    branch: str
    step: int
    item: str
    value: CheckValue
    based_on: int
    by: str
    at: datetime
    since: datetime


@fact
class HeldCheckReleased:
    """A held check takes its turn: its predecessors have arrived or, if it is forced, are not waited for any longer."""

    branch: str
    step: int
    forced: bool = False


@fact
class ItemLocked:
    """Nothing more is said of this item for now."""

    item: str
    by: str


@fact
class ItemUnlocked:
    """This item may be checked again."""

    item: str
    by: str


@fact
class DefectFound:
    """An item failed that did not before."""

    number: int
    item: str
    comment: str | None
    by: str


@fact
class DefectCleared:
    """An item that had failed does no longer."""

    number: int
    item: str
    by: str


@state
class Revision:
    """What an item's value became, and as which step of a device's branch it was said."""

    value: CheckValue
    by: str
    at: datetime
    branch: str | None = None
    step: int | None = None


@state
class Said:
    """What a step of a branch said of an item, who did, which revision he had seen, and which the item had then."""

    step: int
    by: str
    value: CheckValue
    based_on: int
    revision: int


@state
class Check:
    """An item's revisions, oldest first, what each branch said in its own words, whether it is locked, and its open defect."""

    revisions: tuple[Revision, ...] = ()
    said: Mapping[str, tuple[Said, ...]] = field(default_factory=dict)
    locked: bool = False
    defect: int | None = None

    @property
    def revision(self) -> int:
        """The number of the last revision; 0 as long as nobody has said anything."""
        return len(self.revisions)

    @property
    def value(self) -> CheckValue:
        """What is said of the item now."""
        return self.value_at(self.revision)

    def value_at(self, revision: int) -> CheckValue:
        """Return what was said of the item at a revision."""
        return self.revisions[revision - 1].value if revision else OPEN


UNCHECKED = Check()
Checks = Mapping[str, Check]


def evolve(checks: Checks, happened: object) -> Checks:
    """Return the checks after what happened."""
    match happened:
        case ItemChecked(item=item, value=value):
            revision = Revision(value=value, by=happened.by, at=happened.at, branch=happened.branch, step=happened.step)
            check = _revised(checks.get(item, UNCHECKED), revision)
            return {**checks, item: _said(check, happened, happened.by, happened.sent or value)}
        case ConflictFound(item=item, incoming=incoming):
            return {**checks, item: _said(checks.get(item, UNCHECKED), happened, happened.incoming_by, incoming)}
        case ConflictResolved(item=item, value=value) if happened.revision > checks.get(item, UNCHECKED).revision:
            revision = Revision(value=value, by=happened.by, at=happened.at)
            return {**checks, item: _revised(checks.get(item, UNCHECKED), revision)}
        case ItemLocked(item=item):
            return {**checks, item: replace(checks.get(item, UNCHECKED), locked=True)}
        case ItemUnlocked(item=item):
            return {**checks, item: replace(checks.get(item, UNCHECKED), locked=False)}
        case DefectFound(item=item, number=number):
            return {**checks, item: replace(checks.get(item, UNCHECKED), defect=number)}
        case DefectCleared(item=item):
            return {**checks, item: replace(checks.get(item, UNCHECKED), defect=None)}
    return checks


def _revised(check: Check, revision: Revision) -> Check:
    return replace(check, revisions=(*check.revisions, revision))


def _said(check: Check, happened: ItemChecked | ConflictFound, by: str, value: CheckValue) -> Check:
    branch, step = happened.branch, happened.step
    if branch is None or step is None:
        return check
    said = Said(step=step, by=by, value=value, based_on=happened.based_on, revision=check.revision)
    return replace(check, said={**check.said, branch: (*check.said.get(branch, ()), said)})


class ItemUnknown(Refused):
    """The inspection has no such item."""


class ItemAlreadyThere(Refused):
    """The inspection has an item with this code, or had one of which something was said."""


class ItemIsLocked(Refused):
    """This item is locked; who is responsible unlocks it."""


class RevisionUnknown(Refused):
    """The item has not come to the revision that this was based on."""


class ConflictUnknown(Refused):
    """The inspection has no open conflict with this number."""


class ItemChangedSince(Refused):
    """The item was changed since the revision that was seen; look at it again."""


class CommentsTooLong(Refused):
    """Both comments together are too long; say what holds."""


class StepTaken(Refused):
    """Another check is this step of the branch already."""


class TooManyHeld(Refused):
    """Too many checks wait for earlier ones that have not arrived."""


class NoSuchHeldChecks(Refused):
    """No check of this branch is held."""
