"""Checks: what is said of each item, how far each section is, and which items fail most often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from domain.inspections.checklists import Item
from domain.inspections.checks import (
    ConflictFound,
    ConflictResolved,
    DefectCleared,
    DefectFound,
    ItemChecked,
    ItemLocked,
    ItemUnlocked,
)
from domain.inspections.inspections import INSPECTIONS, AdHocItemAdded, ChecklistMigrated, InspectionStarted
from domain.kernel import Recorded
from projections.inspections.sheets import (
    CheckRow,
    SectionRow,
    added,
    check_of,
    inspection_of,
    said,
    sheet,
    shifted,
    weight,
    weights,
)
from projections.kernel import Key, Look, View, at, row


def _item(happened: Recorded[Any], look: Look) -> Iterable[Key]:
    return [(happened.id, happened.fact.item)]


def _ad_hoc_item(happened: Recorded[AdHocItemAdded], look: Look) -> Iterable[Key]:
    return [(happened.id, happened.fact.item.code)]


def _migrated_items(happened: Recorded[ChecklistMigrated], look: Look) -> Iterable[Key]:
    """Name what somebody said something of among the items that are otherwise in one version than in the other."""
    before, after = _sheets(happened, look)
    differing = [code for code in {**before, **after} if before.get(code) != after.get(code)]
    known = (look(CheckRow, happened.id, code) for code in differing)
    return [(happened.id, check.item) for check in known if check is not None]


def _sheets(happened: Recorded[ChecklistMigrated], look: Look) -> tuple[Mapping[str, Item], Mapping[str, Item]]:
    inspection = inspection_of(look, happened.id)
    fact = happened.fact
    return sheet(look, inspection, fact.from_version), sheet(look, inspection, fact.to_version)


def changed(check: CheckRow | None, happened: Recorded[Any], look: Look, key: Key) -> CheckRow:
    return said(check or check_of(look, *key), happened.fact)


def ad_hoc_added(_: CheckRow | None, happened: Recorded[AdHocItemAdded], look: Look, key: Key) -> CheckRow:
    return added(look, inspection_of(look, happened.id), happened.fact.item)


def migrated(check: CheckRow, happened: Recorded[ChecklistMigrated], look: Look, key: Key) -> CheckRow:
    _, after = _sheets(happened, look)
    item = after.get(check.item) or check.ad_hoc
    if item is None:
        return replace(check, on_sheet=False)
    return replace(check, section=item.section, required=item.required, on_sheet=True)


CHECKS_VIEW = View(
    name="checks",
    row=CheckRow,
    key=("inspection_id", "item"),
    filters=("inspection_id", "team_id", "status"),
    indexes=("position", "team_id"),
    folds={
        INSPECTIONS: {
            ChecklistMigrated: at(_migrated_items, migrated),
            AdHocItemAdded: at(_ad_hoc_item, ad_hoc_added),
            ItemChecked: at(_item, changed),
            ConflictFound: at(_item, changed),
            ConflictResolved: at(_item, changed),
            ItemLocked: at(_item, changed),
            ItemUnlocked: at(_item, changed),
            DefectFound: at(_item, changed),
            DefectCleared: at(_item, changed),
        }
    },
)

LAST = 1_000_000  # behind whatever is on a checklist


def _started_sections(happened: Recorded[InspectionStarted], look: Look) -> Iterable[Key]:
    items = sheet(look, inspection_of(look, happened.id), happened.fact.checklist_version)
    return [(happened.id, section) for section in _places(items)]


def _migrated_sections(happened: Recorded[ChecklistMigrated], look: Look) -> Iterable[Key]:
    before, after = _sheets(happened, look)
    known = (look(CheckRow, happened.id, code) for code in {**before, **after})
    ad_hoc = [check.ad_hoc.section for check in known if check is not None and check.ad_hoc is not None]
    return [(happened.id, section) for section in {**_places(before), **_places(after), **dict.fromkeys(ad_hoc)}]


def _section(happened: Recorded[Any], look: Look) -> Iterable[Key]:
    check = check_of(look, happened.id, happened.fact.item)
    return [(happened.id, check.section)] if check.on_sheet else []


def _ad_hoc_section(happened: Recorded[AdHocItemAdded], look: Look) -> Iterable[Key]:
    return [(happened.id, happened.fact.item.section)]


def _places(items: Mapping[str, Item]) -> dict[str, int]:
    """Return where each section begins."""
    places: dict[str, int] = {}
    for place, item in enumerate(items.values()):
        places.setdefault(item.section, place)
    return places


def section_started(
    section: SectionRow | None, happened: Recorded[InspectionStarted], look: Look, key: Key
) -> SectionRow | None:
    items = sheet(look, inspection_of(look, happened.id), happened.fact.checklist_version)
    return _moved(section, {}, items, look, key)


def section_migrated(
    section: SectionRow | None, happened: Recorded[ChecklistMigrated], look: Look, key: Key
) -> SectionRow | None:
    before, after = _sheets(happened, look)
    return _moved(section, before, after, look, key)


def _moved(
    section: SectionRow | None, before: Mapping[str, Item], after: Mapping[str, Item], look: Look, key: Key
) -> SectionRow | None:
    """Return a section after one checklist took the place of another; None if it has no items any more."""
    codes = {**before, **after}
    was, now = (weights(look, key[0], codes, items, key[1]) for items in (before, after))
    place = _places(after).get(key[1], LAST)
    moved = _counted(replace(_known(section, look, key), place=place), was, now)
    return moved if moved.items else None


def section_changed(section: SectionRow | None, happened: Recorded[Any], look: Look, key: Key) -> SectionRow:
    check = check_of(look, happened.id, happened.fact.item)
    after = said(check, happened.fact)
    return _counted(_known(section, look, key), _with_conflicts(check), _with_conflicts(after))


def section_ad_hoc(section: SectionRow | None, happened: Recorded[AdHocItemAdded], look: Look, key: Key) -> SectionRow:
    check = added(look, inspection_of(look, happened.id), happened.fact.item)
    return _counted(_known(section, look, key), Counter(), _with_conflicts(check))


def _known(section: SectionRow | None, look: Look, key: Key) -> SectionRow:
    if section is not None:
        return section
    return SectionRow(inspection_id=key[0], section=key[1], team_id=inspection_of(look, key[0]).team_id, place=LAST)


def _with_conflicts(check: CheckRow) -> Counter[str]:
    return weight(check) + Counter(conflicts=check.conflicts)


def _counted(section: SectionRow, was: Counter[str], now: Counter[str]) -> SectionRow:
    conflicts = section.conflicts + now["conflicts"] - was["conflicts"]
    return replace(shifted(section, was, now), conflicts=conflicts)


SECTIONS_VIEW = View(
    name="sections",
    row=SectionRow,
    key=("inspection_id", "section"),
    filters=("inspection_id", "team_id"),
    folds={
        INSPECTIONS: {
            InspectionStarted: at(_started_sections, section_started),
            ChecklistMigrated: at(_migrated_sections, section_migrated),
            AdHocItemAdded: at(_ad_hoc_section, section_ad_hoc),
            ItemChecked: at(_section, section_changed),
            ConflictFound: at(_section, section_changed),
            ConflictResolved: at(_section, section_changed),
        }
    },
)


@row
class ItemStatsRow:
    """In how many inspections of a type somebody said something of an item, and how often it failed that had not before."""

    inspection_type_id: str
    item: str
    checked: int = 0
    failed: int = 0


def _kind(happened: Recorded[Any], look: Look) -> Iterable[Key]:
    return [(inspection_of(look, happened.id).inspection_type_id, happened.fact.item)]


def _first_check(happened: Recorded[ItemChecked] | Recorded[ConflictResolved], look: Look) -> Iterable[Key]:
    check = check_of(look, happened.id, happened.fact.item)
    return _kind(happened, look) if check.revision < 1 <= happened.fact.revision else []


def counted(stats: ItemStatsRow | None, happened: Recorded[Any], look: Look, key: Key) -> ItemStatsRow:
    known = stats or ItemStatsRow(inspection_type_id=key[0], item=key[1])
    return replace(known, checked=known.checked + 1)


def failed(stats: ItemStatsRow | None, happened: Recorded[DefectFound], look: Look, key: Key) -> ItemStatsRow:
    known = stats or ItemStatsRow(inspection_type_id=key[0], item=key[1])
    return replace(known, failed=known.failed + 1)


ITEM_STATS_VIEW = View(
    name="item_stats",
    row=ItemStatsRow,
    key=("inspection_type_id", "item"),
    folds={
        INSPECTIONS: {
            ItemChecked: at(_first_check, counted),
            ConflictResolved: at(_first_check, counted),
            DefectFound: at(_kind, failed),
        }
    },
)
