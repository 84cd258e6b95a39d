"""Checklists: the draft of each, and its published versions, which never change."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime

from domain.inspections.checklists import (
    CHECKLIST_VERSIONS,
    CHECKLISTS,
    ChecklistDrafted,
    ChecklistPublished,
    ChecklistRetired,
    ChecklistStatus,
    Item,
    ItemDrafted,
    ItemDropped,
    VersionPublished,
    key_of,
)
from domain.kernel import Recorded
from domain.people import VehicleClass
from projections.kernel import Key, Look, View, at, row


@row
class ChecklistRow:
    """A checklist: its draft, and how many versions are published; its id is that of its inspection type."""

    id: str
    status: ChecklistStatus
    versions: int = 0
    published_at: datetime | None = None
    draft: tuple[Item, ...] = ()
    source: str | None = None
    version: int = 0


def drafted(checklist: ChecklistRow | None, happened: Recorded[ChecklistDrafted], look: Look) -> ChecklistRow:
    known = checklist or ChecklistRow(id=happened.id, status="draft")
    return replace(
        known,
        status="published" if known.versions else "draft",
        draft=happened.fact.items,
        source=happened.fact.source,
        version=happened.version,
    )


def item_drafted(checklist: ChecklistRow, happened: Recorded[ItemDrafted], look: Look) -> ChecklistRow:
    draft = {key_of(item): item for item in (*checklist.draft, happened.fact.item)}
    return replace(checklist, draft=tuple(draft.values()), version=happened.version)


def item_dropped(checklist: ChecklistRow, happened: Recorded[ItemDropped], look: Look) -> ChecklistRow:
    gone = (happened.fact.code, happened.fact.vehicle_class)
    draft = tuple(item for item in checklist.draft if key_of(item) != gone)
    return replace(checklist, draft=draft, version=happened.version)


def published(checklist: ChecklistRow, happened: Recorded[ChecklistPublished], look: Look) -> ChecklistRow:
    return replace(
        checklist,
        status="published",
        versions=happened.fact.version,
        published_at=happened.at,
        version=happened.version,
    )


def retired(checklist: ChecklistRow, happened: Recorded[ChecklistRetired], look: Look) -> ChecklistRow:
    return replace(checklist, status="retired", version=happened.version)


CHECKLISTS_VIEW = View(
    name="checklists",
    row=ChecklistRow,
    key=("id",),
    filters=("status",),
    folds={
        CHECKLISTS: {
            ChecklistDrafted: drafted,
            ItemDrafted: item_drafted,
            ItemDropped: item_dropped,
            ChecklistPublished: published,
            ChecklistRetired: retired,
        }
    },
)


@row
class ChecklistVersionRow:
    """A published version of a checklist, by section and place, and how many of its items are looked at on cars of a class."""

    checklist_id: str
    version: int
    items: tuple[Item, ...]
    ev_items: int
    cv_items: int
    published_at: datetime

    def of(self, vehicle_class: VehicleClass) -> dict[str, Item]:
        """Return what is looked at on a car of a class, by code, in order."""
        return {item.code: item for item in self.items if item.vehicle_class in (None, vehicle_class)}

    def item(self, code: str, vehicle_class: VehicleClass) -> Item | None:
        """Return one of them."""
        found = (item for item in self.items if item.code == code)
        return next((item for item in found if item.vehicle_class in (None, vehicle_class)), None)


def _version(happened: Recorded[VersionPublished], look: Look) -> Iterable[Key]:
    return [(happened.fact.checklist_id, happened.fact.version)]


def version_published(
    _: ChecklistVersionRow | None, happened: Recorded[VersionPublished], look: Look, key: Key
) -> ChecklistVersionRow:
    fact = happened.fact
    return ChecklistVersionRow(
        checklist_id=fact.checklist_id,
        version=fact.version,
        items=fact.items,
        ev_items=sum(item.vehicle_class != "CV" for item in fact.items),
        cv_items=sum(item.vehicle_class != "EV" for item in fact.items),
        published_at=happened.at,
    )


CHECKLIST_VERSIONS_VIEW = View(
    name="checklist_versions",
    row=ChecklistVersionRow,
    key=("checklist_id", "version"),
    folds={CHECKLIST_VERSIONS: {VersionPublished: at(_version, version_published)}},
)
