"""What may be asked of inspections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, Field

from commands.inspections.checks import shown
from commands.inspections.items import all_items, has_item, must_be_ongoing, must_be_under_way, sheet, version_of
from commands.inspections.passports import reopened
from commands.kernel import Asked, Command, Consults, Decision, Id, Name, Text, on
from domain.inspections.checklists import (
    CHECKLIST_VERSIONS,
    CHECKLISTS,
    Item,
    VersionUnknown,
    difference,
    version_id,
)
from domain.inspections.checks import UNCHECKED, CheckStatus, ItemAlreadyThere
from domain.inspections.inspections import (
    AdHocItemAdded,
    AlreadyMigrated,
    ChecklistMigrated,
    ChecksHeld,
    ConflictsOpen,
    FeedbackAlreadyGiven,
    FeedbackGiven,
    Inspection,
    InspectionAlreadyPrepared,
    InspectionCompleted,
    InspectionNotCompleted,
    InspectionNotOngoing,
    InspectionNotReady,
    InspectionNotSuspended,
    InspectionOver,
    InspectionPrepared,
    InspectionReopened,
    InspectionResumed,
    InspectionStarted,
    InspectionSuspended,
    ItemsFailed,
    ItemsOpen,
    ReasonsMissing,
    worked_since,
)
from domain.inspections.passports import (
    PASSPORTS,
    ApprovalDenied,
    ApprovalGiven,
    ApprovalRevoked,
    PrerequisitesMissing,
    Result,
)
from domain.inspections.types import ALL, PREREQUISITES
from domain.kernel import NotYours
from domain.people import TEAMS, VehicleClass
from domain.roles import CREW, STAFF, Role

MOST_NAMED = 100

Texts = Annotated[tuple[Text, ...], Field(max_length=100, strict=False)]


class PrepareInspection(Command):
    """Let the inspection of a car that has come start."""

    team_id: Id
    inspection_type_id: Id
    vehicle_class: VehicleClass
    rescrutineering: bool = False
    allows: ClassVar = frozenset({Role.SYSTEM})
    refuses: ClassVar = (InspectionAlreadyPrepared,)
    creates: ClassVar = True

    def decide(self, inspection: Inspection, asked: Asked) -> Decision:
        if inspection.status is not None:
            raise InspectionAlreadyPrepared
        yield InspectionPrepared(
            team_id=self.team_id,
            inspection_type_id=self.inspection_type_id,
            vehicle_class=self.vehicle_class,
            rescrutineering=self.rescrutineering,
        )


class StartInspection(Command):
    """Begin an inspection by the newest version of its type's checklist; without any, if none is published or it is retired."""

    allows: ClassVar = CREW
    refuses: ClassVar = (InspectionNotReady,)

    def consults(self, inspection: Inspection, asked: Asked) -> Consults:
        yield CHECKLISTS, inspection.inspection_type_id

    def decide(self, inspection: Inspection, asked: Asked) -> Decision:
        if inspection.status != "ready":
            raise InspectionNotReady(status=inspection.status)
        checklist = asked.seen[CHECKLISTS]
        version = checklist.versions if checklist.status != "retired" else 0
        yield InspectionStarted(checklist_version=version or None, by=asked.by.subject, at=asked.at)


class Migrated(BaseModel):
    """What the inspection is to look at from now on, and what no longer or otherwise, by item codes."""

    from_version: int | None
    to_version: int
    added: list[str]
    removed: list[str]
    changed: list[str]


class MigrateChecklist(Command):
    """Go on by another version of the checklist; what was said of items that it does not have stays, but does not count."""

    version: Annotated[int, Field(ge=1, le=1_000_000)]
    allows: ClassVar = STAFF
    refuses: ClassVar = (InspectionNotOngoing, InspectionOver, AlreadyMigrated, VersionUnknown)
    answers: ClassVar = Migrated

    def _version(self, inspection: Inspection) -> str:
        return version_id(inspection.inspection_type_id, self.version)

    def consults(self, inspection: Inspection, asked: Asked) -> Consults:
        yield from version_of(inspection)
        yield CHECKLIST_VERSIONS, self._version(inspection)

    def decide(self, inspection: Inspection, asked: Asked) -> Decision:
        must_be_under_way(inspection)
        if inspection.checklist_version == self.version:
            raise AlreadyMigrated
        version = asked.seen[CHECKLIST_VERSIONS, self._version(inspection)]
        if not version.items:
            raise VersionUnknown(version=self.version)
        yield ChecklistMigrated(
            from_version=inspection.checklist_version,
            to_version=self.version,
            difference=difference(sheet(inspection, asked), version.of(inspection.vehicle_class)),
        )

    def answer(self, state: Any, facts: Sequence[object]) -> Migrated:
        [migrated] = [one for one in facts if isinstance(one, ChecklistMigrated)]
        return Migrated(
            from_version=migrated.from_version,
            to_version=migrated.to_version,
            added=list(migrated.difference.added),
            removed=list(migrated.difference.removed),
            changed=list(migrated.difference.changed),
        )


class AddAdHocItem(Command):
    """Look at something that is not on the sheet."""

    code: Id
    section: Name
    description: Text
    required: bool = True
    allows: ClassVar = CREW
    refuses: ClassVar = (InspectionNotOngoing, InspectionOver, ItemAlreadyThere)

    def consults(self, inspection: Inspection, asked: Asked) -> Consults:
        return version_of(inspection)

    def decide(self, inspection: Inspection, asked: Asked) -> Decision:
        must_be_under_way(inspection)
        if has_item(inspection, asked, self.code) or self.code in inspection.checks:
            raise ItemAlreadyThere(item=self.code)
        item = Item(
            code=self.code,
            section=self.section,
            description=self.description,
            order_index=len(inspection.ad_hoc),
            required=self.required,
        )
        yield AdHocItemAdded(item=item, by=asked.by.subject)


class SuspendInspection(Command):
    """Let an inspection wait."""

    reason: Text
    allows: ClassVar = CREW
    refuses: ClassVar = (InspectionNotOngoing, InspectionOver)

    def decide(self, inspection: Inspection, asked: Asked) -> Decision:
        must_be_ongoing(inspection)
        yield InspectionSuspended(reason=self.reason, at=asked.at)


class ResumeInspection(Command):
    """Go on with an inspection that waited."""

    allows: ClassVar = CREW
    refuses: ClassVar = (InspectionNotSuspended,)

    def decide(self, inspection: Inspection, asked: Asked) -> Decision:
        if inspection.status != "suspended":
            raise InspectionNotSuspended(status=inspection.status)
        yield InspectionResumed(at=asked.at)


class CompleteInspection(Command):
    """Bring an inspection to a result, which goes into the team's passport; a car that failed is not looked at to the end."""

    result: Result
    notes: Text | None = None
    conditions: Texts = ()
    reasons: Texts = ()
    next_steps: Texts = ()
    allows: ClassVar = CREW
    refuses: ClassVar = (
        InspectionNotOngoing,
        InspectionOver,
        ConflictsOpen,
        ChecksHeld,
        ItemsOpen,
        ItemsFailed,
        ReasonsMissing,
        PrerequisitesMissing,
    )

    def consults(self, inspection: Inspection, asked: Asked) -> Consults:
        yield from version_of(inspection)
        yield PASSPORTS, inspection.team_id
        yield PREREQUISITES, ALL

    def decide(self, inspection: Inspection, asked: Asked) -> Decision:
        must_be_ongoing(inspection)
        _nothing_may_wait(inspection)
        if self.result != "failed":
            self._must_be_allowed(inspection, asked)
        items = all_items(inspection, asked)
        failed, unchecked = _with("failed", inspection, items), _with("open", inspection, items)
        self._must_be_complete(items, failed, unchecked)
        yield InspectionCompleted(
            team_id=inspection.team_id,
            inspection_type_id=inspection.inspection_type_id,
            result=self.result,
            seconds=inspection.worked_seconds + worked_since(inspection, asked.at),
            by=asked.by.subject,
            notes=self.notes,
            conditions=self.conditions,
            reasons=self.reasons,
            next_steps=self.next_steps,
            failed_items=tuple(failed),
            open_items=len(unchecked),
        )
        for fact in self._passport(inspection, asked):
            yield on(PASSPORTS, inspection.team_id, fact)

    @staticmethod
    def _must_be_allowed(inspection: Inspection, asked: Asked) -> None:
        """Raise PrerequisitesMissing if what was passed before has been revoked meanwhile: no approval would rest on it."""
        kind, vehicle_class = inspection.inspection_type_id, inspection.vehicle_class
        missing = asked.seen[PASSPORTS].missing(asked.seen[PREREQUISITES], kind, vehicle_class)
        if missing:
            raise PrerequisitesMissing(missing=missing)

    def _must_be_complete(self, items: Mapping[str, Item], failed: Sequence[str], unchecked: Sequence[str]) -> None:
        """Raise ItemsOpen, ItemsFailed or ReasonsMissing unless this result may be given."""
        required = [code for code in unchecked if items[code].required]
        if required and self.result != "failed":
            raise ItemsOpen(items=required[:MOST_NAMED], count=len(required))
        fatal = [code for code in failed if items[code].required]
        if fatal and self.result == "passed":
            raise ItemsFailed(items=fatal)
        if self.result == "failed" and not failed and not self.reasons:
            raise ReasonsMissing(missing="reasons")
        if self.result == "conditional_pass" and not self.conditions:
            raise ReasonsMissing(missing="conditions")
        if self.result == "provisional" and not self.next_steps:
            raise ReasonsMissing(missing="next_steps")

    def _passport(self, inspection: Inspection, asked: Asked) -> Iterator[object]:
        test = inspection.inspection_type_id
        if self.result != "failed":
            yield ApprovalGiven(inspection_type_id=test, inspection_id=asked.id, result=self.result)
            return
        yield ApprovalDenied(inspection_type_id=test, inspection_id=asked.id)
        passport = asked.seen[PASSPORTS]
        if passport.has_passed(test):
            yield from reopened(passport, asked.seen[PREREQUISITES], test, inspection.vehicle_class)


def _nothing_may_wait(inspection: Inspection) -> None:
    """Raise ConflictsOpen or ChecksHeld if what was said is not settled."""
    if inspection.conflicts:
        raise ConflictsOpen(conflicts=[shown(one).model_dump() for one in inspection.conflicts.values()])
    if inspection.held:
        raise ChecksHeld(
            held=[{"branch": one.branch, "step": one.step, "item_id": one.item} for one in inspection.held.values()]
        )


def _with(status: CheckStatus, inspection: Inspection, items: Mapping[str, Item]) -> list[str]:
    """Return the items that stand so."""
    return [code for code in items if inspection.checks.get(code, UNCHECKED).value.status == status]


class ReopenInspection(Command):
    """Go on with a completed inspection; if the test counts as passed by it, it does no longer, nor what was passed after it."""

    reason: Text
    allows: ClassVar = STAFF
    refuses: ClassVar = (InspectionNotCompleted,)

    def consults(self, inspection: Inspection, asked: Asked) -> Consults:
        yield PASSPORTS, inspection.team_id
        yield PREREQUISITES, ALL

    def decide(self, inspection: Inspection, asked: Asked) -> Decision:
        if inspection.status != "completed":
            raise InspectionNotCompleted(status=inspection.status)
        yield InspectionReopened(reason=self.reason, by=asked.by.subject, at=asked.at)
        passport, test = asked.seen[PASSPORTS], inspection.inspection_type_id
        if passport.has_passed(test) and passport.approvals[test].inspection_id == asked.id:
            revoked = ApprovalRevoked(
                inspection_type_id=test, inspection_id=asked.id, reason=self.reason, by=asked.by.subject
            )
            yield on(PASSPORTS, inspection.team_id, revoked)
            for fact in reopened(passport, asked.seen[PREREQUISITES], test, inspection.vehicle_class):
                yield on(PASSPORTS, inspection.team_id, fact)


class GiveFeedback(Command):
    """Say, as the team, how it was inspected: 1 (badly) to 5 (well)."""

    score: Annotated[int, Field(ge=1, le=5)]
    comment: Text | None = None
    allows: ClassVar = frozenset({Role.TEAM_LEADER, Role.TEAM_MEMBER})
    refuses: ClassVar = (NotYours, InspectionNotCompleted, FeedbackAlreadyGiven)

    def consults(self, inspection: Inspection, asked: Asked) -> Consults:
        yield TEAMS, inspection.team_id

    def decide(self, inspection: Inspection, asked: Asked) -> Decision:
        if not asked.seen[TEAMS].has_user(asked.by.subject):
            raise NotYours
        if inspection.status != "completed":
            raise InspectionNotCompleted(status=inspection.status)
        if inspection.feedback:
            raise FeedbackAlreadyGiven
        yield FeedbackGiven(score=self.score, by=asked.by.subject, comment=self.comment)
