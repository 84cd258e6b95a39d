"""What may be asked of the items of an inspection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field, model_validator
from pydantic_core import PydanticCustomError

from commands.inspections.items import has_item, must_be_under_way, version_of
from commands.inspections.merging import MOST_COMMENT, settled
from commands.inspections.saying import Saying, after, defects, following, in_turn, outcome, released
from commands.kernel import Asked, Command, Consults, Decision, Id, Name, Text
from domain.inspections.checks import (
    HELD_AT_MOST,
    MOST_HELD,
    UNCHECKED,
    Check,
    CheckHeld,
    CheckStatus,
    CheckValue,
    CommentsTooLong,
    ConflictFound,
    ConflictResolved,
    ConflictUnknown,
    ItemChangedSince,
    ItemChecked,
    ItemIsLocked,
    ItemLocked,
    ItemUnknown,
    ItemUnlocked,
    NoSuchHeldChecks,
    Resolution,
    RevisionUnknown,
    StepTaken,
    TooManyHeld,
)
from domain.inspections.inspections import (
    UNHEARD,
    Inspection,
    InspectionNotOngoing,
    InspectionOver,
)
from domain.roles import CREW, STAFF, Role

Revision = Annotated[int, Field(ge=0, le=1_000_000, description="The revision that was seen; 0 for none")]
Step = Annotated[int, Field(ge=1, le=10_000, description="The place in its branch")]


class ValueShown(BaseModel):
    """What is said of an item."""

    status: CheckStatus
    comment: str | None


class ConflictShown(BaseModel):
    """Two people contradict each other: what they saw and said, and who said last what holds for now."""

    number: int
    item_id: str
    base: ValueShown
    current: ValueShown
    incoming: ValueShown
    modified_by: str | None
    modified_at: datetime | None


class HeldShown(BaseModel):
    """A step that is held, and the first one that it waits for."""

    branch: str
    step: int
    waits_for: int


class ItemNow(BaseModel):
    """How an item stands after the command."""

    item: str
    revision: int
    status: CheckStatus
    comment: str | None


class CheckTaken(ItemNow):
    """What became of a check, and how its item stands now."""

    outcome: Literal["recorded", "equal", "merged", "conflict", "held", "unchanged"]
    conflicts: list[ConflictShown]
    held: HeldShown | None


class CheckItem(Command):
    """Say how an item stands, and which revision of it was seen; offline, as a step of the branch of that device's run."""

    item: Name
    status: CheckStatus
    comment: Text | None = None
    based_on: Revision
    branch: Id | None = None
    step: Step | None = None
    allows: ClassVar = CREW
    refuses: ClassVar = (
        InspectionNotOngoing,
        InspectionOver,
        ItemUnknown,
        ItemIsLocked,
        RevisionUnknown,
        StepTaken,
        TooManyHeld,
    )
    answers: ClassVar = CheckTaken

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.branch is None) != (self.step is None):
            raise PydanticCustomError("branch_and_step", "`branch` and `step` are given together or not at all")
        return self

    def consults(self, inspection: Inspection, asked: Asked) -> Consults:
        return version_of(inspection)

    def decide(self, inspection: Inspection, asked: Asked) -> Decision:
        if self.branch is None or self.step is None:
            check = self._takes(inspection, asked)
            if check.locked:
                raise ItemIsLocked(item=self.item)
            yield from outcome(inspection, self._saying(asked))
            return
        branch = inspection.branches.get(self.branch, UNHEARD)
        if branch.has(self.step):
            self._must_repeat(inspection, self.branch, self.step)
            return
        self._takes(inspection, asked)
        if branch.waits_for(self.step):
            yield from self._holds(inspection, self.branch, self.step, asked)
        else:
            yield from in_turn(inspection, self._saying(asked))

    def _takes(self, inspection: Inspection, asked: Asked) -> Check:
        """Return the item's check. What happened before a suspension is taken later, what was dropped still offline."""
        since = inspection.suspended_at
        must_be_under_way(inspection)
        if since is not None and asked.at >= since:
            raise InspectionNotOngoing(status=inspection.status)
        dropped = self.branch is not None and self.item in inspection.dropped
        if not dropped and not has_item(inspection, asked, self.item):
            raise ItemUnknown(item=self.item)
        check = inspection.checks.get(self.item, UNCHECKED)
        if self.based_on > check.revision:
            raise RevisionUnknown(revision=check.revision)
        return check

    def _saying(self, asked: Asked) -> Saying:
        return Saying(
            item=self.item,
            value=self._value,
            based_on=self.based_on,
            by=asked.by.subject,
            at=asked.at,
            branch=self.branch,
            step=self.step,
        )

    @property
    def _value(self) -> CheckValue:
        return CheckValue(status=self.status, comment=self.comment)

    def _must_repeat(self, inspection: Inspection, branch: str, step: int) -> None:
        """Raise StepTaken unless this is what arrived as this step: of another finding, nobody would ever know."""
        said = inspection.checks.get(self.item, UNCHECKED).said.get(branch, ())
        if not any((one.step, one.value) == (step, self._value) for one in said):
            raise StepTaken(branch=branch, step=step)

    def _holds(self, inspection: Inspection, branch: str, step: int, asked: Asked) -> Decision:
        held = inspection.held.get((branch, step))
        if held is not None:
            if (held.item, held.value, held.based_on) != (self.item, self._value, self.based_on):
                raise StepTaken(branch=branch, step=step)
            return
        if len(inspection.held) >= MOST_HELD:
            raise TooManyHeld
        yield CheckHeld(
            branch=branch,
            step=step,
            item=self.item,
            value=self._value,
            based_on=self.based_on,
            by=asked.by.subject,
            at=asked.at,
            since=asked.now,
        )

    def answer(self, state: Any, facts: Sequence[object]) -> CheckTaken:
        check = state.checks.get(self.item, UNCHECKED)
        conflicts = []
        became: Literal["recorded", "equal", "merged", "conflict", "held", "unchanged"] = "unchanged"
        held = None
        match facts[0] if facts else None:
            case ItemChecked(merge=merge):
                became = merge or "recorded"
            case ConflictFound() as conflict:
                became, conflicts = "conflict", [shown(conflict)]
            case CheckHeld(branch=branch, step=step):
                waits_for = state.branches.get(branch, UNHEARD).last + 1
                became, held = "held", HeldShown(branch=branch, step=step, waits_for=waits_for)
        return CheckTaken(
            item=self.item,
            revision=check.revision,
            status=check.value.status,
            comment=check.value.comment,
            outcome=became,
            conflicts=conflicts,
            held=held,
        )


def shown(conflict: ConflictFound) -> ConflictShown:
    """Return a conflict as it is told."""
    return ConflictShown(
        number=conflict.number,
        item_id=conflict.item,
        base=_shown(conflict.base),
        current=_shown(conflict.current),
        incoming=_shown(conflict.incoming),
        modified_by=conflict.current_by,
        modified_at=conflict.current_at,
    )


def _shown(value: CheckValue) -> ValueShown:
    return ValueShown(status=value.status, comment=value.comment)


class ReleaseHeldChecks(Command):
    """Wait no longer for the steps that are missing before held checks, of one branch or of all.

    Fieldlog itself does so once a check has been held for an hour.
    """

    branch: Id | None = None
    allows: ClassVar = STAFF | {Role.SYSTEM}
    refuses: ClassVar = (NoSuchHeldChecks,)

    def decide(self, inspection: Inspection, asked: Asked) -> Decision:
        held = [one for one in inspection.held.values() if self.branch in (None, one.branch)]
        if self.branch is not None and not held:
            raise NoSuchHeldChecks(branch=self.branch)
        held.sort(key=lambda one: (one.branch, one.step))
        for branch, steps in groupby(held, key=lambda one: one.branch):
            for one in _due(list(steps), asked):
                facts = released(inspection, one)
                yield from facts
                inspection = after(inspection, facts)
            facts = list(following(inspection, branch))
            yield from facts
            inspection = after(inspection, facts)


def _due(steps: Sequence[CheckHeld], asked: Asked) -> Iterator[CheckHeld]:
    """Yield the steps of a branch that wait no longer: for Fieldlog itself, through the last one held for too long."""
    overdue = [one.step for one in steps if asked.now - one.since >= HELD_AT_MOST]
    last = max(overdue, default=0) if Role.SYSTEM in asked.by.roles else steps[-1].step
    return (one for one in steps if one.step <= last)


class ResolveConflict(Command):
    """Decide what holds where people contradict each other; with `merge`, a status or comment of one's own may be given.

    `based_on` is the item's revision that was seen; without it, the one at which the conflict was found.
    """

    number: Annotated[int, Field(ge=1, le=1_000_000)]
    resolution: Resolution
    status: CheckStatus | None = None
    comment: Text | None = None
    based_on: Revision | None = None
    allows: ClassVar = STAFF
    refuses: ClassVar = (ConflictUnknown, RevisionUnknown, ItemChangedSince, CommentsTooLong)
    answers: ClassVar = ItemNow

    @model_validator(mode="after")
    def _own_words_are_merged(self) -> Self:
        if self.resolution != "merge" and (self.status, self.comment) != (None, None):
            raise PydanticCustomError("own_words", "`status` and `comment` are given with `merge` only")
        return self

    def decide(self, inspection: Inspection, asked: Asked) -> Decision:
        conflict = inspection.conflicts.get(self.number)
        if conflict is None:
            raise ConflictUnknown(number=self.number)
        check = inspection.checks.get(conflict.item, UNCHECKED)
        value = self._holds(conflict, check)
        yield ConflictResolved(
            number=self.number,
            item=conflict.item,
            resolution=self.resolution,
            value=value,
            revision=check.revision + (value != check.value),
            by=asked.by.subject,
            at=asked.at,
        )
        yield from defects(inspection, conflict.item, value, asked.by.subject)

    def _holds(self, conflict: ConflictFound, check: Check) -> CheckValue:
        if self.resolution == "keep_current":
            return check.value
        seen = conflict.current_revision if self.based_on is None else self.based_on
        if seen > check.revision:
            raise RevisionUnknown(revision=check.revision)
        if check.value != check.value_at(seen):
            raise ItemChangedSince(item=conflict.item, revision=check.revision, by=check.revisions[-1].by)
        if self.resolution == "accept_incoming":
            return conflict.incoming
        value = settled(conflict.base, check.value, conflict.incoming, conflict.clash)
        value = CheckValue(status=self.status or value.status, comment=self.comment or value.comment)
        if len(value.comment or "") > MOST_COMMENT:
            raise CommentsTooLong(item=conflict.item)
        return value

    def answer(self, state: Any, facts: Sequence[object]) -> ItemNow | None:
        [item] = [one.item for one in facts if isinstance(one, ConflictResolved)]
        check = state.checks.get(item, UNCHECKED)
        return ItemNow(item=item, revision=check.revision, status=check.value.status, comment=check.value.comment)


class LockItem(Command):
    """Let nothing more be said of an item for now."""

    item: Name
    allows: ClassVar = CREW
    refuses: ClassVar = (InspectionNotOngoing, InspectionOver, ItemUnknown)

    def consults(self, inspection: Inspection, asked: Asked) -> Consults:
        return version_of(inspection)

    def decide(self, inspection: Inspection, asked: Asked) -> Decision:
        must_be_under_way(inspection)
        if not has_item(inspection, asked, self.item):
            raise ItemUnknown(item=self.item)
        if not inspection.checks.get(self.item, UNCHECKED).locked:
            yield ItemLocked(item=self.item, by=asked.by.subject)


class UnlockItem(Command):
    """Let an item be checked again."""

    item: Name
    allows: ClassVar = STAFF
    refuses: ClassVar = (InspectionNotOngoing, InspectionOver)

    def decide(self, inspection: Inspection, asked: Asked) -> Decision:
        must_be_under_way(inspection)
        if inspection.checks.get(self.item, UNCHECKED).locked:
            yield ItemUnlocked(item=self.item, by=asked.by.subject)
