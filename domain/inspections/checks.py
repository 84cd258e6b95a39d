"""Checks: what many hands say of the items of one inspection, each item with revisions of its own.

unchecked --check--> checked (revision 1, 2, ...) --lock-item--> locked --unlock-item--> checked
A check that was made on an older revision is merged where both can hold; else it is a conflict, which somebody resolves.
One that was made offline after others that have not arrived yet is held until they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Literal

from domain.kernel import Refused, fact, state

CheckStatus = Literal["open", "passed", "failed", "not_applicable"]
Merge = Literal["equal", "merged"]
Resolution = Literal["keep_current", "accept_incoming", "merge"]


@fact
class CheckValue:
    """What somebody says of an item."""

    status: CheckStatus = "open"
    comment: str | None = None


OPEN = CheckValue()


@fact
class ItemChecked:
    """An item has this value now. `based_on` is the revision that its author saw; where others had changed it since and
    both could hold, `merge` says how, and `sent` is what the author said.
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
    """What somebody says of an item contradicts what others have said since the revision that he saw; `clash` names the fields."""

    number: int
    item: str
    clash: tuple[str, ...]
    base: CheckValue
    current: CheckValue
    current_revision: int
    current_by: str
    current_at: datetime
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
    """A check made offline waits for an earlier one of its device's branch, step by step."""

    branch: str
    step: int
    item: str
    value: CheckValue
    based_on: int
    by: str
    at: datetime


@fact
class HeldCheckReleased:
    """A held check takes its turn: its predecessors have arrived, or it is not waited for them any longer."""

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
    """What an item's value became, what its author had said himself, and on which device's branch."""

    value: CheckValue
    sent: CheckValue
    by: str
    at: datetime
    branch: str | None = None


@state
class Check:
    """An item's revisions, oldest first, whether it is locked, and its open defect."""

    revisions: tuple[Revision, ...] = ()
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
        case ItemChecked(item=item):
            revision = Revision(
                value=happened.value,
                sent=happened.sent or happened.value,
                by=happened.by,
                at=happened.at,
                branch=happened.branch,
            )
            return _with(checks, item, revision)
        case ConflictResolved(item=item, value=value) if happened.revision > checks.get(item, UNCHECKED).revision:
            return _with(checks, item, Revision(value=value, sent=value, by=happened.by, at=happened.at))
        case ItemLocked(item=item):
            return {**checks, item: replace(checks.get(item, UNCHECKED), locked=True)}
        case ItemUnlocked(item=item):
            return {**checks, item: replace(checks.get(item, UNCHECKED), locked=False)}
        case DefectFound(item=item, number=number):
            return {**checks, item: replace(checks.get(item, UNCHECKED), defect=number)}
        case DefectCleared(item=item):
            return {**checks, item: replace(checks.get(item, UNCHECKED), defect=None)}
    return checks


def _with(checks: Checks, item: str, revision: Revision) -> Checks:
    check = checks.get(item, UNCHECKED)
    return {**checks, item: replace(check, revisions=(*check.revisions, revision))}


class ItemUnknown(Refused):
    """The inspection has no such item."""


class ItemAlreadyThere(Refused):
    """The inspection has an item with this code."""


class ItemIsLocked(Refused):
    """This item is locked; who is responsible unlocks it."""


class RevisionUnknown(Refused):
    """The item has not come to the revision that this was based on."""


class ConflictUnknown(Refused):
    """The inspection has no open conflict with this number."""


class TooManyHeld(Refused):
    """Too many checks wait for earlier ones that have not arrived."""


class NoSuchHeldChecks(Refused):
    """No check of this branch is held."""
