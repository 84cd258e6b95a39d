"""Inspections: one car, one checklist, many hands; an inspection's id is that of its booking.

(none) --prepare--> ready --start--> ongoing --suspend--> suspended --resume--> ongoing --complete--> completed
completed --reopen--> ongoing
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime
from typing import Literal

from domain.inspections import checks
from domain.inspections.checklists import Difference, Item
from domain.inspections.checks import (
    CheckHeld,
    Checks,
    ConflictFound,
    ConflictResolved,
    DefectCleared,
    DefectFound,
    HeldCheckReleased,
    ItemChecked,
    ItemLocked,
    ItemUnlocked,
)
from domain.inspections.passports import Result
from domain.kernel import Refused, Stream, fact, state
from domain.people import VehicleClass

InspectionStatus = Literal["ready", "ongoing", "suspended", "completed"]


@fact
class InspectionPrepared:
    """The car has come; its inspection can start."""

    team_id: str
    inspection_type_id: str
    vehicle_class: VehicleClass
    rescrutineering: bool = False


@fact
class InspectionStarted:
    """The inspection began, by this version of its checklist (None: there is no checklist for it)."""

    checklist_version: int | None
    by: str
    at: datetime


@fact
class ChecklistMigrated:
    """The inspection goes on by another version of its checklist (None: it had none), which differs so."""

    from_version: int | None
    to_version: int
    difference: Difference


@fact
class AdHocItemAdded:
    """Officials look at something that is not on the sheet."""

    item: Item
    by: str


@fact
class InspectionSuspended:
    """The inspection waits."""

    reason: str
    at: datetime


@fact
class InspectionResumed:
    """The inspection goes on."""

    at: datetime


@fact
class InspectionCompleted:
    """The inspection came to a result; `seconds` are those from its start, without those that it waited."""

    team_id: str
    inspection_type_id: str
    result: Result
    seconds: int
    by: str
    notes: str | None = None
    conditions: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    failed_items: tuple[str, ...] = ()
    open_items: int = 0


@fact
class InspectionReopened:
    """A completed inspection goes on, as its result was not the last word."""

    reason: str
    by: str
    at: datetime


@fact
class FeedbackGiven:
    """The team said how it was inspected: 1 (badly) to 5 (well)."""

    score: int
    by: str
    comment: str | None = None


@state
class Branch:
    """How far an offline run has arrived: its last step, and the steps before that which nobody waits for any longer.

    Those are ranges, as whoever names a high step first must not make thousands of them.
    """

    last: int = 0
    skipped: tuple[range, ...] = ()

    def has(self, step: int) -> bool:
        """Say whether a step has arrived."""
        return step <= self.last and not any(step in gap for gap in self.skipped)

    def misses_between(self, earlier: int, later: int) -> bool:
        """Say whether a step that nobody waits for lies between these two."""
        return any(max(gap.start, earlier + 1) < min(gap.stop, later) for gap in self.skipped)

    def waits_for(self, step: int) -> bool:
        """Say whether something has to arrive before a step can be applied."""
        return step > self.last + 1


UNHEARD = Branch()
Step = tuple[str, int]


@state
class Inspection:
    """Where the inspection stands, what is looked at and said, and what waits.

    `dropped` are items that earlier versions of the checklist had, `worked_seconds` those until it was last suspended or
    completed, `working_since` when it started or was resumed.
    """

    status: InspectionStatus | None = None
    team_id: str = ""
    inspection_type_id: str = ""
    vehicle_class: VehicleClass = "EV"
    checklist_version: int | None = None
    dropped: frozenset[str] = frozenset()
    ad_hoc: Mapping[str, Item] = field(default_factory=dict)
    checks: Checks = field(default_factory=dict)
    conflicts: Mapping[int, ConflictFound] = field(default_factory=dict)
    conflicts_found: int = 0
    defects_found: int = 0
    branches: Mapping[str, Branch] = field(default_factory=dict)
    held: Mapping[Step, CheckHeld] = field(default_factory=dict)
    working_since: datetime | None = None
    worked_seconds: int = 0
    suspended_at: datetime | None = None
    feedback: bool = False


def evolve(inspection: Inspection, happened: object) -> Inspection:
    """Return the inspection after what happened."""
    match happened:
        case InspectionPrepared(team_id=team, inspection_type_id=kind, vehicle_class=vehicle_class):
            return replace(
                inspection, status="ready", team_id=team, inspection_type_id=kind, vehicle_class=vehicle_class
            )
        case InspectionStarted(checklist_version=version, at=at):
            return replace(inspection, status="ongoing", checklist_version=version, working_since=at)
        case ChecklistMigrated(to_version=version, difference=difference):
            dropped = (inspection.dropped | set(difference.removed)) - set(difference.added)
            return replace(inspection, checklist_version=version, dropped=dropped)
        case AdHocItemAdded(item=item):
            return replace(inspection, ad_hoc={**inspection.ad_hoc, item.code: item})
        case InspectionSuspended(at=at):
            worked = inspection.worked_seconds + worked_since(inspection, at)
            return replace(inspection, status="suspended", suspended_at=at, working_since=None, worked_seconds=worked)
        case InspectionResumed(at=at):
            return replace(inspection, status="ongoing", suspended_at=None, working_since=at)
        case InspectionCompleted(seconds=seconds):
            return replace(inspection, status="completed", working_since=None, worked_seconds=seconds)
        case InspectionReopened(at=at):
            return replace(inspection, status="ongoing", working_since=at)
        case FeedbackGiven():
            return replace(inspection, feedback=True)
    return _checked(inspection, happened)


def _checked(inspection: Inspection, happened: object) -> Inspection:
    """Return the inspection after what was said of its items."""
    known = checks.evolve(inspection.checks, happened)
    match happened:
        case ItemChecked():
            return replace(inspection, checks=known, branches=_arrived(inspection.branches, happened))
        case ConflictFound(number=number):
            return replace(
                inspection,
                checks=known,
                branches=_arrived(inspection.branches, happened),
                conflicts={**inspection.conflicts, number: happened},
                conflicts_found=number,
            )
        case ConflictResolved(number=resolved):
            left = {number: conflict for number, conflict in inspection.conflicts.items() if number != resolved}
            return replace(inspection, checks=known, conflicts=left)
        case CheckHeld(branch=branch, step=step):
            return replace(inspection, held={**inspection.held, (branch, step): happened})
        case HeldCheckReleased(branch=branch, step=step):
            released = (branch, step)
            return replace(inspection, held={key: held for key, held in inspection.held.items() if key != released})
        case DefectFound(number=number):
            return replace(inspection, checks=known, defects_found=number)
    return replace(inspection, checks=known) if known is not inspection.checks else inspection


def _arrived(branches: Mapping[str, Branch], happened: ItemChecked | ConflictFound) -> Mapping[str, Branch]:
    if happened.branch is None or happened.step is None:
        return branches
    branch, step = branches.get(happened.branch, UNHEARD), happened.step
    if step > branch.last:
        gaps = [*branch.skipped, range(branch.last + 1, step)]
    else:
        gaps = [left for gap in branch.skipped for left in _without(gap, step)]
    arrived = Branch(last=max(step, branch.last), skipped=tuple(filter(None, gaps)))
    return {**branches, happened.branch: arrived}


def _without(gap: range, step: int) -> tuple[range, ...]:
    """Return what is left of a gap when a step arrives."""
    return (range(gap.start, step), range(step + 1, gap.stop)) if step in gap else (gap,)


def worked_since(inspection: Inspection, at: datetime) -> int:
    """Return the whole seconds of work from when it last went on until a moment; 0 while it waits."""
    since = inspection.working_since
    return max(0, int((at - since).total_seconds())) if since is not None else 0


INSPECTIONS = Stream(
    "inspections",
    Inspection(),
    evolve,
    {
        "inspections.prepared.v1": InspectionPrepared,
        "inspections.started.v1": InspectionStarted,
        "inspections.checklist-migrated.v1": ChecklistMigrated,
        "inspections.ad-hoc-item-added.v1": AdHocItemAdded,
        "inspections.item-checked.v1": ItemChecked,
        "inspections.conflict-found.v1": ConflictFound,
        "inspections.conflict-resolved.v1": ConflictResolved,
        "inspections.check-held.v1": CheckHeld,
        "inspections.held-check-released.v1": HeldCheckReleased,
        "inspections.item-locked.v1": ItemLocked,
        "inspections.item-unlocked.v1": ItemUnlocked,
        "inspections.defect-found.v1": DefectFound,
        "inspections.defect-cleared.v1": DefectCleared,
        "inspections.suspended.v1": InspectionSuspended,
        "inspections.resumed.v1": InspectionResumed,
        "inspections.completed.v1": InspectionCompleted,
        "inspections.reopened.v1": InspectionReopened,
        "inspections.feedback-given.v1": FeedbackGiven,
    },
)


class InspectionAlreadyPrepared(Refused):
    """This inspection is prepared already."""


class InspectionNotReady(Refused):
    """Only an inspection that is ready can start."""


class InspectionNotOngoing(Refused):
    """The inspection is not ongoing."""


class InspectionNotSuspended(Refused):
    """The inspection is not suspended."""


class InspectionNotCompleted(Refused):
    """The inspection is not completed."""


class InspectionOver(Refused):
    """The inspection is completed; it is reopened if it has to go on."""


class ItemsOpen(Refused):
    """Required items have not been checked."""


class ItemsFailed(Refused):
    """Required items have failed, so the inspection is not passed in full."""


class ConflictsOpen(Refused):
    """People contradict each other about items; somebody has to resolve that first."""


class ChecksHeld(Refused):
    """Checks that were made offline wait for earlier ones; they arrive, or are released, first."""


class ReasonsMissing(Refused):
    """This result needs reasons, conditions or next steps."""


class AlreadyMigrated(Refused):
    """The inspection goes by this version already."""


class FeedbackAlreadyGiven(Refused):
    """The team has said already how it was inspected."""
