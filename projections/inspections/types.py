"""Inspection types, as everybody sees them."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from domain.inspections.types import (
    INSPECTION_TYPES,
    ClassRules,
    InspectionTypeDefined,
    InspectionTypeOfferedAgain,
    InspectionTypeRetired,
    InspectionTypeRevised,
    Rules,
)
from domain.kernel import Recorded
from projections.kernel import Look, View, row


@row
class InspectionTypeRow:
    """A type of inspections, and how they are held; `classes` are the cars that need it, each with what is needed before."""

    id: str
    name: str
    duration_minutes: int
    lanes: int
    buffer_minutes: int
    notice_minutes: int
    hold_minutes: int
    classes: tuple[ClassRules, ...]
    status: Literal["offered", "retired"] = "offered"
    version: int = 0


def defined(_: InspectionTypeRow | None, happened: Recorded[InspectionTypeDefined], look: Look) -> InspectionTypeRow:
    return _ruled(happened.id, happened.fact.rules, happened.version)


def revised(kind: InspectionTypeRow, happened: Recorded[InspectionTypeRevised], look: Look) -> InspectionTypeRow:
    return replace(_ruled(happened.id, happened.fact.rules, happened.version), status=kind.status)


def _ruled(id: str, rules: Rules, version: int) -> InspectionTypeRow:
    return InspectionTypeRow(
        id=id,
        name=rules.name,
        duration_minutes=rules.duration_minutes,
        lanes=rules.lanes,
        buffer_minutes=rules.buffer_minutes,
        notice_minutes=rules.notice_minutes,
        hold_minutes=rules.hold_minutes,
        classes=rules.classes,
        version=version,
    )


def retired(kind: InspectionTypeRow, happened: Recorded[InspectionTypeRetired], look: Look) -> InspectionTypeRow:
    return replace(kind, status="retired", version=happened.version)


def offered_again(
    kind: InspectionTypeRow, happened: Recorded[InspectionTypeOfferedAgain], look: Look
) -> InspectionTypeRow:
    return replace(kind, status="offered", version=happened.version)


INSPECTION_TYPES_VIEW = View(
    name="inspection_types",
    row=InspectionTypeRow,
    key=("id",),
    filters=("status",),
    folds={
        INSPECTION_TYPES: {
            InspectionTypeDefined: defined,
            InspectionTypeRevised: revised,
            InspectionTypeRetired: retired,
            InspectionTypeOfferedAgain: offered_again,
        }
    },
)
