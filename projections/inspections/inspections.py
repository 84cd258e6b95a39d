"""Inspections, as officials and the inspected team see them."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from domain.inspections.checks import (
    CheckHeld,
    ConflictFound,
    ConflictResolved,
    DefectCleared,
    DefectFound,
    HeldCheckReleased,
    ItemChecked,
    ItemLocked,
    ItemUnlocked,
)
from domain.inspections.inspections import (
    INSPECTIONS,
    AdHocItemAdded,
    ChecklistMigrated,
    FeedbackGiven,
    InspectionCompleted,
    InspectionPrepared,
    InspectionReopened,
    InspectionResumed,
    InspectionStarted,
    InspectionSuspended,
)
from domain.kernel import Recorded
from projections.inspections.sheets import InspectionRow, added, check_of, said, sheet, shifted, weight, weights
from projections.kernel import Look, View


def prepared(_: InspectionRow | None, happened: Recorded[InspectionPrepared], look: Look) -> InspectionRow:
    fact = happened.fact
    return InspectionRow(
        id=happened.id,
        team_id=fact.team_id,
        inspection_type_id=fact.inspection_type_id,
        vehicle_class=fact.vehicle_class,
        rescrutineering=fact.rescrutineering,
        prepared_at=happened.at,
        version=happened.version,
    )


def started(inspection: InspectionRow, happened: Recorded[InspectionStarted], look: Look) -> InspectionRow:
    fact = happened.fact
    begun = replace(
        inspection,
        status="ongoing",
        checklist_version=fact.checklist_version,
        started_at=fact.at,
        version=happened.version,
    )
    return _shifted(begun, None, fact.checklist_version, look)


def migrated(inspection: InspectionRow, happened: Recorded[ChecklistMigrated], look: Look) -> InspectionRow:
    fact = happened.fact
    moved = replace(inspection, checklist_version=fact.to_version, version=happened.version)
    return _shifted(moved, fact.from_version, fact.to_version, look)


def _shifted(inspection: InspectionRow, was: int | None, now: int | None, look: Look) -> InspectionRow:
    before, after = (sheet(look, inspection, version) for version in (was, now))
    codes = {**before, **after}
    return shifted(inspection, weights(look, inspection.id, codes, before), weights(look, inspection.id, codes, after))


def ad_hoc_added(inspection: InspectionRow, happened: Recorded[AdHocItemAdded], look: Look) -> InspectionRow:
    counted = shifted(inspection, Counter(), weight(added(look, inspection, happened.fact.item)))
    return replace(counted, ad_hoc=counted.ad_hoc + 1, version=happened.version)


def checked(inspection: InspectionRow, happened: Recorded[Any], look: Look) -> InspectionRow:
    check = check_of(look, happened.id, happened.fact.item)
    after = said(check, happened.fact)
    return replace(
        shifted(inspection, weight(check), weight(after)),
        conflicts=inspection.conflicts + after.conflicts - check.conflicts,
        version=happened.version,
    )


def held(inspection: InspectionRow, happened: Recorded[CheckHeld], look: Look) -> InspectionRow:
    return replace(inspection, held=inspection.held + 1, version=happened.version)


def released(inspection: InspectionRow, happened: Recorded[HeldCheckReleased], look: Look) -> InspectionRow:
    return replace(inspection, held=inspection.held - 1, version=happened.version)


def noted(inspection: InspectionRow, happened: Recorded[object], look: Look) -> InspectionRow:
    return replace(inspection, version=happened.version)


def suspended(inspection: InspectionRow, happened: Recorded[InspectionSuspended], look: Look) -> InspectionRow:
    return replace(inspection, status="suspended", suspended_reason=happened.fact.reason, version=happened.version)


def resumed(inspection: InspectionRow, happened: Recorded[InspectionResumed], look: Look) -> InspectionRow:
    return replace(inspection, status="ongoing", suspended_reason=None, version=happened.version)


def completed(inspection: InspectionRow, happened: Recorded[InspectionCompleted], look: Look) -> InspectionRow:
    fact = happened.fact
    return replace(
        inspection,
        status="completed",
        suspended_reason=None,
        ended_at=happened.at,
        seconds=fact.seconds,
        result=fact.result,
        notes=fact.notes,
        conditions=fact.conditions,
        reasons=fact.reasons,
        next_steps=fact.next_steps,
        version=happened.version,
    )


def reopened(inspection: InspectionRow, happened: Recorded[InspectionReopened], look: Look) -> InspectionRow:
    return replace(
        inspection,
        status="ongoing",
        ended_at=None,
        seconds=None,
        result=None,
        reopened_reason=happened.fact.reason,
        version=happened.version,
    )


def feedback(inspection: InspectionRow, happened: Recorded[FeedbackGiven], look: Look) -> InspectionRow:
    fact = happened.fact
    return replace(inspection, feedback=fact.score, feedback_comment=fact.comment, version=happened.version)


INSPECTIONS_VIEW = View(
    name="inspections",
    row=InspectionRow,
    key=("id",),
    filters=("id", "status", "team_id", "inspection_type_id"),
    indexes=("prepared_at desc, id desc", "team_id, prepared_at desc, id desc", "status, prepared_at desc, id desc"),
    folds={
        INSPECTIONS: {
            InspectionPrepared: prepared,
            InspectionStarted: started,
            ChecklistMigrated: migrated,
            AdHocItemAdded: ad_hoc_added,
            ItemChecked: checked,
            ConflictFound: checked,
            ConflictResolved: checked,
            CheckHeld: held,
            HeldCheckReleased: released,
            ItemLocked: noted,
            ItemUnlocked: noted,
            DefectFound: noted,
            DefectCleared: noted,
            InspectionSuspended: suspended,
            InspectionResumed: resumed,
            InspectionCompleted: completed,
            InspectionReopened: reopened,
            FeedbackGiven: feedback,
        }
    },
)
