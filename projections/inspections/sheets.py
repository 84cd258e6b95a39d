"""The sheet of an inspection: the rows of inspections, their items and sections, and what an item counts for in them.

What is counted is counted up and down, so that a check changes the same few rows however long the checklist is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from domain.inspections.checklists import Item
from domain.inspections.checks import (
    CheckStatus,
    ConflictFound,
    ConflictResolved,
    DefectCleared,
    DefectFound,
    ItemChecked,
    ItemLocked,
    ItemUnlocked,
    Merge,
)
from domain.inspections.inspections import InspectionStatus
from domain.inspections.passports import Result
from domain.people import VehicleClass
from projections.inspections.checklists import ChecklistVersionRow
from projections.kernel import Look, row


@row
class InspectionRow:
    """An inspection and how far it is: its items by what is said of them, its open conflicts, the checks that are held."""

    id: str
    team_id: str
    inspection_type_id: str
    vehicle_class: VehicleClass
    status: InspectionStatus = "ready"
    rescrutineering: bool = False
    checklist_version: int | None = None
    prepared_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    seconds: int | None = None
    suspended_reason: str | None = None
    reopened_reason: str | None = None
    result: Result | None = None
    notes: str | None = None
    conditions: tuple[str, ...] = ()
    reasons: tuple[str, ...] = ()
    next_steps: tuple[str, ...] = ()
    items: int = 0
    required: int = 0
    passed: int = 0
    failed: int = 0
    not_applicable: int = 0
    open: int = 0
    open_required: int = 0
    ad_hoc: int = 0
    conflicts: int = 0
    held: int = 0
    feedback: int | None = None
    feedback_comment: str | None = None
    version: int = 0


@row
class CheckRow:
    """What is said of an item of an inspection; there is none as long as nobody said anything, unless it is `ad_hoc`.

    `conflicts` are its open ones, `defect` the number of its open defect. What is not `on_sheet` was said before the
    inspection went on by another version of its checklist, which does not have the item.
    """

    inspection_id: str
    item: str
    team_id: str
    section: str
    required: bool
    on_sheet: bool = True
    revision: int = 0
    status: CheckStatus = "open"
    comment: str | None = None
    by: str | None = None
    at: datetime | None = None
    merge: Merge | None = None
    locked: bool = False
    locked_by: str | None = None
    conflicts: int = 0
    defect: int | None = None
    ad_hoc: Item | None = None


@row
class SectionRow:
    """How far a section of an inspection's checklist is; `place` is where it begins."""

    inspection_id: str
    section: str
    team_id: str
    place: int
    items: int = 0
    required: int = 0
    passed: int = 0
    failed: int = 0
    not_applicable: int = 0
    open: int = 0
    open_required: int = 0
    conflicts: int = 0


def said(check: CheckRow, fact: object) -> CheckRow:
    """Return what is said of an item after a fact about it."""
    match fact:
        case ItemChecked(revision=revision, value=value, by=by, at=at, merge=merge):
            return replace(
                check, revision=revision, status=value.status, comment=value.comment, by=by, at=at, merge=merge
            )
        case ConflictFound():
            return replace(check, conflicts=check.conflicts + 1)
        case ConflictResolved(revision=revision, value=value, by=by, at=at):
            left = replace(check, conflicts=check.conflicts - 1)
            if revision <= check.revision:
                return left
            return replace(
                left, revision=revision, status=value.status, comment=value.comment, by=by, at=at, merge=None
            )
        case ItemLocked(by=by):
            return replace(check, locked=True, locked_by=by)
        case ItemUnlocked():
            return replace(check, locked=False, locked_by=None)
        case DefectFound(number=number):
            return replace(check, defect=number)
        case DefectCleared():
            return replace(check, defect=None)
    return check


def inspection_of(look: Look, id: str) -> InspectionRow:
    """Return an inspection, which is there before anything happens in it. Raises KeyError."""
    found = look(InspectionRow, id)
    if found is None:
        raise KeyError(f"inspection {id} was never prepared")
    return found


def check_of(look: Look, inspection_id: str, code: str) -> CheckRow:
    """Return what is said of an item, also where nobody has said anything yet."""
    known = look(CheckRow, inspection_id, code)
    if known is not None:
        return known
    inspection = inspection_of(look, inspection_id)
    version = _version(look, inspection, inspection.checklist_version)
    item = version.item(code, inspection.vehicle_class) if version is not None else None
    return CheckRow(
        inspection_id=inspection_id,
        item=code,
        team_id=inspection.team_id,
        section=item.section if item is not None else "",
        required=item is not None and item.required,
        on_sheet=item is not None,
    )


def added(look: Look, inspection: InspectionRow, item: Item) -> CheckRow:
    """Return the row of an item that is looked at though it is not on the checklist."""
    known = look(CheckRow, inspection.id, item.code) or CheckRow(
        inspection_id=inspection.id, item=item.code, team_id=inspection.team_id, section="", required=False
    )
    return replace(known, section=item.section, required=item.required, on_sheet=True, ad_hoc=item)


def sheet(look: Look, inspection: InspectionRow, version: int | None) -> Mapping[str, Item]:
    """Return the items of a version of an inspection's checklist for its car, by code, in order."""
    found = _version(look, inspection, version)
    return found.of(inspection.vehicle_class) if found is not None else {}


def _version(look: Look, inspection: InspectionRow, version: int | None) -> ChecklistVersionRow | None:
    return look(ChecklistVersionRow, inspection.inspection_type_id, version) if version is not None else None


COUNTS = ("items", "required", "passed", "failed", "not_applicable", "open", "open_required")
Counted = TypeVar("Counted", InspectionRow, SectionRow)


def weight(check: CheckRow) -> Counter[str]:
    """Return what an item counts for."""
    return _weight(check.required, check.status) if check.on_sheet else Counter()


def weights(
    look: Look, inspection_id: str, codes: Iterable[str], items: Mapping[str, Item], section: str | None = None
) -> Counter[str]:
    """Return what these items count for together by a checklist, with their open conflicts; those of a section, if named.

    What it does not have counts only as an ad-hoc item.
    """
    total = Counter[str]()
    for code in codes:
        check = look(CheckRow, inspection_id, code)
        item = items.get(code) or (check.ad_hoc if check is not None else None)
        if item is not None and section in (None, item.section):
            status, conflicts = (check.status, check.conflicts) if check is not None else ("open", 0)
            total += _weight(item.required, status) + Counter(conflicts=conflicts)
    return total


def _weight(required: bool, status: CheckStatus) -> Counter[str]:
    return Counter({"items": 1, "required": int(required), "open_required": int(required and status == "open")}) + (
        Counter([status])
    )


def shifted(row: Counted, was: Counter[str], now: Counter[str]) -> Counted:
    """Return a row that counts something for what it counts for now, instead of what it did."""
    counts: dict[str, Any] = {name: getattr(row, name) + now[name] - was[name] for name in COUNTS}
    return replace(row, **counts)
