"""What may be asked of checklists."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from commands.kernel import Asked, Command, Consults, Decision, Name, Text, on
from domain.inspections.checklists import (
    CHECKLIST_VERSIONS,
    MOST_ITEMS,
    VEHICLE_CLASSES,
    Checklist,
    ChecklistDrafted,
    ChecklistEmpty,
    ChecklistFull,
    ChecklistIsRetired,
    ChecklistPublished,
    ChecklistRetired,
    ChecklistUnchanged,
    Item,
    ItemDrafted,
    ItemDropped,
    ItemNotDrafted,
    ItemsAmbiguous,
    ParentsUnsound,
    VersionPublished,
    fit,
    for_cars,
    key_of,
    version_id,
)
from domain.inspections.types import INSPECTION_TYPES, InspectionTypeUnknown
from domain.people import VehicleClass
from domain.roles import STAFF


class ItemSent(BaseModel):
    """What is looked at; without a class, on every car. `order_index` is its place in its section."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    code: Name
    section: Name
    description: Text
    order_index: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    required: bool = True
    vehicle_class: VehicleClass | None = None
    parent_code: Name | None = None

    def item(self) -> Item:
        """Return the item as it is stored."""
        return Item(
            code=self.code,
            section=self.section,
            description=self.description,
            order_index=self.order_index,
            required=self.required,
            vehicle_class=self.vehicle_class,
            parent_code=self.parent_code,
        )


def _distinct(items: tuple[ItemSent, ...]) -> tuple[ItemSent, ...]:
    if len({(item.code, item.vehicle_class) for item in items}) < len(items):
        raise PydanticCustomError("repeated", "No two items for cars of one class share a code")
    if not fit([item.item() for item in items]):
        raise PydanticCustomError("too_long", "The descriptions of a checklist have at most 1,000,000 characters")
    return items


class DraftChecklist(Command):
    """Begin a draft with these items, instead of all that are in it; a retired checklist is taken up again by it."""

    items: Annotated[tuple[ItemSent, ...], Field(max_length=MOST_ITEMS), AfterValidator(_distinct)]
    source: Text | None = None
    allows: ClassVar = STAFF
    refuses: ClassVar = (InspectionTypeUnknown,)
    creates: ClassVar = True
    respects_lock: ClassVar = True

    def consults(self, checklist: Checklist, asked: Asked) -> Consults:
        yield INSPECTION_TYPES, asked.id

    def decide(self, checklist: Checklist, asked: Asked) -> Decision:
        if asked.seen[INSPECTION_TYPES].status is None:
            raise InspectionTypeUnknown(inspection_type_id=asked.id)
        items = tuple(item.item() for item in self.items)
        if checklist.status in (None, "retired") or items != tuple(checklist.draft.values()):
            yield ChecklistDrafted(items=items, source=self.source)


class DraftItem(Command):
    """Put an item into the draft; it replaces the one with its code and class."""

    item: ItemSent
    allows: ClassVar = STAFF
    refuses: ClassVar = (ChecklistIsRetired, ChecklistFull)
    respects_lock: ClassVar = True

    def decide(self, checklist: Checklist, asked: Asked) -> Decision:
        if checklist.status == "retired":
            raise ChecklistIsRetired
        item = self.item.item()
        if not fit({**checklist.draft, key_of(item): item}.values()):
            raise ChecklistFull
        if checklist.draft.get(key_of(item)) != item:
            yield ItemDrafted(item=item)


class DropItem(Command):
    """Take an item out of the draft."""

    code: Name
    vehicle_class: VehicleClass | None = None
    allows: ClassVar = STAFF
    refuses: ClassVar = (ChecklistIsRetired, ItemNotDrafted)
    respects_lock: ClassVar = True

    def decide(self, checklist: Checklist, asked: Asked) -> Decision:
        if checklist.status == "retired":
            raise ChecklistIsRetired
        if (self.code, self.vehicle_class) not in checklist.draft:
            raise ItemNotDrafted(code=self.code)
        yield ItemDropped(code=self.code, vehicle_class=self.vehicle_class)


class PublishChecklist(Command):
    """Make the draft the next version, which never changes; inspections that start from now on go by it."""

    allows: ClassVar = STAFF
    refuses: ClassVar = (ChecklistIsRetired, ChecklistEmpty, ItemsAmbiguous, ParentsUnsound, ChecklistUnchanged)

    def consults(self, checklist: Checklist, asked: Asked) -> Consults:
        yield CHECKLIST_VERSIONS, version_id(asked.id, checklist.versions)
        yield CHECKLIST_VERSIONS, version_id(asked.id, checklist.versions + 1)

    def decide(self, checklist: Checklist, asked: Asked) -> Decision:
        if checklist.status == "retired":
            raise ChecklistIsRetired
        if not checklist.draft:
            raise ChecklistEmpty
        ambiguous = [code for code, its_class in checklist.draft if its_class and (code, None) in checklist.draft]
        if ambiguous:
            raise ItemsAmbiguous(codes=sorted(set(ambiguous)))
        items = in_order(checklist.draft.values())
        unsound = {code for one in VEHICLE_CLASSES for code in _unsound(for_cars(items, one))}
        if unsound:
            raise ParentsUnsound(codes=sorted(unsound))
        if items == asked.seen[CHECKLIST_VERSIONS, version_id(asked.id, checklist.versions)].items:
            raise ChecklistUnchanged(version=checklist.versions)
        version = checklist.versions + 1
        yield ChecklistPublished(version=version, items=len(items))
        published = VersionPublished(checklist_id=asked.id, version=version, items=items)
        yield on(CHECKLIST_VERSIONS, version_id(asked.id, version), published)


class RetireChecklist(Command):
    """Let no inspection begin with this checklist any more; its versions stay what they are."""

    allows: ClassVar = STAFF

    def decide(self, checklist: Checklist, asked: Asked) -> Decision:
        if checklist.status != "retired":
            yield ChecklistRetired()


def in_order(items: Iterable[Item]) -> tuple[Item, ...]:
    """Return items by section, and by place within it; a section comes right after that which its cars have before it."""
    drafted = list(items)
    sections: list[str] = []
    last: dict[VehicleClass, str] = {}
    for item in drafted:
        cars = VEHICLE_CLASSES if item.vehicle_class is None else (item.vehicle_class,)
        if item.section not in sections:
            before = last.get(cars[0])
            sections.insert(len(sections) if before is None else sections.index(before) + 1, item.section)
        last.update(dict.fromkeys(cars, item.section))
    places = {section: place for place, section in enumerate(sections)}
    return tuple(sorted(drafted, key=lambda item: (places[item.section], item.order_index)))


def _unsound(items: Mapping[str, Item]) -> Iterator[str]:
    """Yield the items that hang from none which has no parent."""
    below: dict[str | None, list[str]] = defaultdict(list)
    for item in items.values():
        below[item.parent_code].append(item.code)
    sound: set[str] = set()
    waiting: list[str | None] = [None]
    while waiting:
        hanging = below[waiting.pop()]
        sound.update(hanging)
        waiting += hanging
    yield from items.keys() - sound
