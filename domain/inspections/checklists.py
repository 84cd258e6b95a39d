"""Checklists: what is looked at in an inspection of a type; a template's id is that of its inspection type.

(none) --draft, import--> draft --change, drop, move--> draft --publish--> published (version 1, 2, ... never changed)
draft, published --retire--> retired
A published version is a record of its own, `<template>.<version>`, that inspections are pinned to.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import field, replace
from typing import Literal, get_args

from domain.kernel import Refused, Stream, fact, state
from domain.people import VehicleClass


@fact
class Item:
    """What is looked at; without a class, on every car. `order_index` is its place in its section."""

    code: str
    section: str
    description: str
    order_index: int = 0
    required: bool = True
    vehicle_class: VehicleClass | None = None
    parent_code: str | None = None


VEHICLE_CLASSES: tuple[VehicleClass, ...] = get_args(VehicleClass)
ChecklistStatus = Literal["draft", "published", "retired"]
ItemKey = tuple[str, VehicleClass | None]
MOST_ITEMS, MOST_CHARACTERS = 2_000, 1_000_000


def key_of(item: Item) -> ItemKey:
    """Return what no two items of a checklist share: code and class."""
    return item.code, item.vehicle_class


def fit(items: Collection[Item]) -> bool:
    """Say whether so many items, with so long descriptions, fit on one checklist."""
    return len(items) <= MOST_ITEMS and sum(len(item.description) for item in items) <= MOST_CHARACTERS


@fact
class ChecklistDrafted:
    """A draft was begun, or begun anew, with these items and no others; `source` says where they are from."""

    items: tuple[Item, ...]
    source: str | None = None


@fact
class ItemDrafted:
    """This item is in the draft; it replaces the one with its code and class."""

    item: Item


@fact
class ItemDropped:
    """This item is not in the draft any more."""

    code: str
    vehicle_class: VehicleClass | None = None


@fact
class ChecklistPublished:
    """The draft became this version, which never changes."""

    version: int
    items: int


@fact
class ChecklistRetired:
    """No inspection begins with this checklist any more."""


@state
class Checklist:
    """The draft, by code and class, and how many versions are published."""

    status: ChecklistStatus | None = None
    draft: Mapping[ItemKey, Item] = field(default_factory=dict)
    versions: int = 0


def evolve(checklist: Checklist, happened: object) -> Checklist:
    """Return the checklist after what happened."""
    match happened:
        case ChecklistDrafted(items=items):
            status: ChecklistStatus = "published" if checklist.versions else "draft"
            return replace(checklist, status=status, draft={key_of(item): item for item in items})
        case ItemDrafted(item=item):
            return replace(checklist, draft={**checklist.draft, key_of(item): item})
        case ItemDropped(code=code, vehicle_class=vehicle_class):
            gone = (code, vehicle_class)
            return replace(checklist, draft={key: item for key, item in checklist.draft.items() if key != gone})
        case ChecklistPublished(version=version):
            return replace(checklist, status="published", versions=version)
        case ChecklistRetired():
            return replace(checklist, status="retired")
    return checklist


CHECKLISTS = Stream(
    "checklist-templates",
    Checklist(),
    evolve,
    {
        "checklist-templates.drafted.v1": ChecklistDrafted,
        "checklist-templates.item-drafted.v1": ItemDrafted,
        "checklist-templates.item-dropped.v1": ItemDropped,
        "checklist-templates.published.v1": ChecklistPublished,
        "checklist-templates.retired.v1": ChecklistRetired,
    },
)


@fact
class VersionPublished:
    """A version of a checklist as it will always be, ordered by section and place."""

    checklist_id: str
    version: int
    items: tuple[Item, ...]


@state
class ChecklistVersion:
    """The items of a version; by class and code too, as every check looks for one."""

    items: tuple[Item, ...] = ()
    by_class: Mapping[VehicleClass, Mapping[str, Item]] = field(default_factory=dict)

    def of(self, vehicle_class: VehicleClass) -> Mapping[str, Item]:
        """Return what is looked at on a car of a class, by code."""
        return self.by_class.get(vehicle_class, {})


def evolve_version(version: ChecklistVersion, happened: object) -> ChecklistVersion:
    """Return the version after what happened."""
    match happened:
        case VersionPublished(items=items):
            return replace(version, items=items, by_class={name: for_cars(items, name) for name in VEHICLE_CLASSES})
    return version


def for_cars(items: tuple[Item, ...], vehicle_class: VehicleClass) -> dict[str, Item]:
    """Return what of these items is looked at on a car of a class, by code."""
    return {item.code: item for item in items if item.vehicle_class in (None, vehicle_class)}


CHECKLIST_VERSIONS = Stream(
    "checklist-versions",
    ChecklistVersion(),
    evolve_version,
    {"checklist-versions.published.v1": VersionPublished},
)


def version_id(checklist_id: str, version: int) -> str:
    """Return the id of a published version's record."""
    return f"{checklist_id}.{version}"


@fact
class Difference:
    """What one version has otherwise than another, by item codes."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()


def difference(before: Mapping[str, Item], after: Mapping[str, Item]) -> Difference:
    """Return what changes for a car from one version's items to another's."""
    return Difference(
        added=_sorted(after.keys() - before.keys()),
        removed=_sorted(before.keys() - after.keys()),
        changed=_sorted(code for code in before.keys() & after.keys() if before[code] != after[code]),
    )


def _sorted(codes: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(codes))


class ChecklistEmpty(Refused):
    """A checklist without items is not published."""


class ChecklistFull(Refused):
    """A checklist has at most 2,000 items, and 1,000,000 characters of description."""


class ChecklistUnchanged(Refused):
    """The draft is what was published last."""


class ChecklistIsRetired(Refused):
    """This checklist is retired; drafting it anew offers it again."""


class ChecklistNotPublished(Refused):
    """No version of this checklist is published."""


class ItemsAmbiguous(Refused):
    """Items for cars of one class share a code, or have that of an item for every car."""


class ParentsUnsound(Refused):
    """The parents of these items, or theirs in turn, are not there for the same cars or are below the items themselves."""


class ItemNotDrafted(Refused):
    """The draft has no such item."""


class VersionUnknown(Refused):
    """No such version of this checklist is published."""
