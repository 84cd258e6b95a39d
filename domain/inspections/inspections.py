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
    """The inspection goes on by another version of its checklist, which differs so."""

    from_version: int
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
class Inspection:
    """Where the inspection stands, what is looked at and said, and what waits.

    `steps` are the last steps that arrived of each offline branch, `worked_seconds` those until it was last suspended or
    completed, `working_since` when it started or was resumed.
    """

    status: InspectionStatus | None = None
    team_id: str = ""
    inspection_type_id: str = ""
    vehicle_class: VehicleClass = "EV"
    checklist_version: int | None = None
    ad_hoc: Mapping[str, Item] = field(default_factory=dict)
    checks: Checks = field(default_factory=dict)
    conflicts: Mapping[int, ConflictFound] = field(default_factory=dict)
    conflicts_found: int = 0
    defects_found: int = 0
    steps: Mapping[str, int] = field(default_factory=dict)
    held: tuple[CheckHeld, ...] = ()
    working_since: datetime | None = None
    worked_seconds: int = 0
    result: Result | None = None
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
        case ChecklistMigrated(to_version=version):
            return replace(inspection, checklist_version=version)
        case AdHocItemAdded(item=item):
            return replace(inspection, ad_hoc={**inspection.ad_hoc, item.code: item})
        case InspectionSuspended(at=at):
            worked = inspection.worked_seconds + worked_since(inspection, at)
            return replace(inspection, status="suspended", working_since=None, worked_seconds=worked)
        case InspectionResumed(at=at):
            return replace(inspection, status="ongoing", working_since=at)
        case InspectionCompleted(result=result, seconds=seconds):
            return replace(inspection, status="completed", result=result, working_since=None, worked_seconds=seconds)
        case InspectionReopened(at=at):
            return replace(inspection, status="ongoing", result=None, working_since=at)
        case FeedbackGiven():
            return replace(inspection, feedback=True)
    return _checked(inspection, happened)


def _checked(inspection: Inspection, happened: object) -> Inspection:
    """Return the inspection after what was said of its items."""
    match happened:
        case ItemChecked(branch=branch, step=step):
            return _stepped(inspection, happened, branch, step)
        case ConflictFound(number=number, branch=branch, step=step):
            conflicts = {**inspection.conflicts, number: happened}
            return _stepped(replace(inspection, conflicts=conflicts, conflicts_found=number), happened, branch, step)
        case ConflictResolved(number=number):
            left = {one: conflict for one, conflict in inspection.conflicts.items() if one != number}
            return replace(inspection, conflicts=left, checks=checks.evolve(inspection.checks, happened))
        case CheckHeld():
            return replace(inspection, held=(*inspection.held, happened))
        case HeldCheckReleased(branch=branch, step=step):
            held = tuple(one for one in inspection.held if (one.branch, one.step) != (branch, step))
            return _stepped(replace(inspection, held=held), happened, branch, step)
        case ItemLocked() | ItemUnlocked() | DefectCleared():
            return replace(inspection, checks=checks.evolve(inspection.checks, happened))
        case DefectFound(number=number):
            return replace(inspection, defects_found=number, checks=checks.evolve(inspection.checks, happened))
    return inspection


def _stepped(inspection: Inspection, happened: object, branch: str | None, step: int | None) -> Inspection:
    steps = inspection.steps
    if branch is not None and step is not None:
        steps = {**steps, branch: max(step, steps.get(branch, 0))}
    return replace(inspection, steps=steps, checks=checks.evolve(inspection.checks, happened))


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
