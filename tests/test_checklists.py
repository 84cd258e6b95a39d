"""Checklists: drafted, published as versions that never change, retired."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from pydantic import ValidationError

from commands.inspections.checklists import (
    DraftChecklist,
    DraftItem,
    DropItem,
    ItemSent,
    PublishChecklist,
    RetireChecklist,
)
from domain.inspections.checklists import (
    CHECKLIST_VERSIONS,
    CHECKLISTS,
    MOST_CHARACTERS,
    MOST_ITEMS,
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
)
from domain.inspections.types import INSPECTION_TYPES, InspectionTypeDefined, InspectionTypeUnknown
from domain.people import VehicleClass
from tests.given import Given, given, on
from tests.test_inspection_types import kept


def item(
    code: str, section: str = "Brakes", *, at: int = 0, its: VehicleClass | None = "EV", below: str | None = None
) -> Item:
    """An item as it is kept."""
    text = f"[T6] {code}\n\nAs in the rules."
    return Item(code=code, section=section, description=text, order_index=at, vehicle_class=its, parent_code=below)


def sent(one: Item) -> ItemSent:
    """An item as it is sent."""
    return ItemSent(
        code=one.code,
        section=one.section,
        description=one.description,
        order_index=one.order_index,
        required=one.required,
        vehicle_class=one.vehicle_class,
        parent_code=one.parent_code,
    )


def draft(items: Iterable[Item]) -> DraftChecklist:
    """A draft as it is sent."""
    return DraftChecklist(items=tuple(map(sent, items)), source="Rules 2026")


def drafted(*items: Item) -> ChecklistDrafted:
    """That a draft was begun."""
    return ChecklistDrafted(items=items, source="Rules 2026")


def published(version: int, *items: Item) -> tuple[object, object]:
    """That a draft became a version."""
    return ChecklistPublished(version=version, items=len(items)), on(
        CHECKLIST_VERSIONS,
        VersionPublished(checklist_id="mechanical", version=version, items=items),
        id=f"mechanical.{version}",
    )


def of(*items: Item) -> Given:
    """A story with a draft."""
    return KNOWN.given(CHECKLISTS, drafted(*items))


PEDAL, DISC = item("MECH 1_22"), item("MECH 1_23", at=1)
KNOWN = given(INSPECTION_TYPES, InspectionTypeDefined(rules=kept(EV=(), CV=())))
DRAFTED = of(PEDAL, DISC)
ONCE = DRAFTED.given(CHECKLISTS, ChecklistPublished(version=1, items=2)).given(
    CHECKLIST_VERSIONS, VersionPublished(checklist_id="mechanical", version=1, items=(PEDAL, DISC))
)
RETIRED = ONCE.given(CHECKLISTS, ChecklistRetired())


def test_a_draft_is_begun_with_items() -> None:
    KNOWN.when(draft([PEDAL, DISC])).then(drafted(PEDAL, DISC))


def test_only_what_is_inspected_has_a_checklist() -> None:
    given(CHECKLISTS).when(draft([PEDAL])).refused(InspectionTypeUnknown, inspection_type_id="mechanical")


def test_a_draft_is_begun_anew_unless_it_is_the_same() -> None:
    DRAFTED.when(draft([DISC])).then(drafted(DISC))
    DRAFTED.when(draft([PEDAL, DISC])).then()
    DRAFTED.when(draft([DISC, PEDAL])).then(drafted(DISC, PEDAL))


def test_an_item_is_added_or_replaced() -> None:
    changed = replace(PEDAL, required=False)
    DRAFTED.when(DraftItem(item=sent(changed))).then(ItemDrafted(item=changed))
    DRAFTED.when(DraftItem(item=sent(PEDAL))).then()


def test_an_item_is_dropped() -> None:
    DRAFTED.when(DropItem(code=PEDAL.code, vehicle_class="EV")).then(ItemDropped(code=PEDAL.code, vehicle_class="EV"))


def test_only_what_is_there_for_that_class_is_dropped() -> None:
    DRAFTED.when(DropItem(code=PEDAL.code, vehicle_class="CV")).refused(ItemNotDrafted, code=PEDAL.code)


def test_a_draft_becomes_a_version() -> None:
    DRAFTED.when(PublishChecklist()).then(*published(1, PEDAL, DISC))


def test_what_follows_is_the_next_version_and_the_former_stays() -> None:
    ONCE.given(CHECKLISTS, ItemDropped(code=DISC.code, vehicle_class="EV")).when(PublishChecklist()).then(
        *published(2, PEDAL)
    )


def test_what_was_published_last_is_not_published_again() -> None:
    ONCE.when(PublishChecklist()).refused(ChecklistUnchanged, version=1)


def test_an_empty_checklist_is_not_published() -> None:
    of().when(PublishChecklist()).refused(ChecklistEmpty)


def test_items_are_published_by_section_and_place() -> None:
    frame, wheel = item("F", "Frame"), item("W", "Brakes", at=2)
    of(DISC, frame, wheel, PEDAL).when(PublishChecklist()).then(*published(1, PEDAL, DISC, wheel, frame))


def test_a_section_of_one_class_comes_where_its_cars_have_it() -> None:
    electric = [item(f"E{n}", section) for n, section in enumerate(("Start", "Frame", "End"))]
    burning = [item(f"C{n}", section, its="CV") for n, section in enumerate(("Start", "Frame", "Fuel", "End"))]
    expected = (electric[0], burning[0], electric[1], burning[1], burning[2], electric[2], burning[3])
    of(*electric, *burning).when(PublishChecklist()).then(*published(1, *expected))


def test_an_item_for_every_car_shares_its_code_with_none() -> None:
    of(PEDAL, replace(PEDAL, vehicle_class=None), DISC).when(PublishChecklist()).refused(
        ItemsAmbiguous, codes=[PEDAL.code]
    )
    of(PEDAL, replace(PEDAL, vehicle_class="CV")).when(PublishChecklist()).then(
        *published(1, PEDAL, replace(PEDAL, vehicle_class="CV"))
    )


@pytest.mark.parametrize(
    ("items", "codes"),
    [
        ([item("a", below="missing")], ["a"]),
        ([item("a", below="b"), item("b", its="CV")], ["a"]),
        ([item("a", its=None, below="b"), item("b")], ["a"]),
        ([item("a", below="a")], ["a"]),
        ([item("a", below="b"), item("b", below="a"), item("c", below="b"), item("d")], ["a", "b", "c"]),
    ],
)
def test_a_parent_is_there_for_the_same_cars_and_not_below_itself(items: list[Item], codes: list[str]) -> None:
    of(*items).when(PublishChecklist()).refused(ParentsUnsound, codes=codes)


def test_items_hang_from_items() -> None:
    items = item("a", its=None), item("b", below="a"), item("c", below="b")
    of(*items).when(PublishChecklist()).then(*published(1, *items))


def test_a_checklist_is_retired_once() -> None:
    ONCE.when(RetireChecklist()).then(ChecklistRetired())
    RETIRED.when(RetireChecklist()).then()


@pytest.mark.parametrize(
    "command", [DraftItem(item=sent(PEDAL)), DropItem(code=PEDAL.code, vehicle_class="EV"), PublishChecklist()]
)
def test_a_retired_checklist_is_left_alone(command: DraftItem | DropItem | PublishChecklist) -> None:
    RETIRED.when(command).refused(ChecklistIsRetired)


def test_a_retired_checklist_is_taken_up_again_by_drafting_it_anew() -> None:
    RETIRED.when(draft([PEDAL, DISC])).then(drafted(PEDAL, DISC))
    again = RETIRED.given(CHECKLISTS, drafted(PEDAL))
    again.when(PublishChecklist()).then(*published(2, PEDAL))


def test_a_draft_is_not_edited_under_somebody_elses_hands() -> None:
    assert all(command.respects_lock for command in (DraftChecklist, DraftItem, DropItem))


def test_a_draft_names_each_item_once_for_a_class() -> None:
    with pytest.raises(ValidationError, match="share a code"):
        draft([PEDAL, replace(PEDAL, section="Frame")])


def test_a_checklist_has_so_many_items_and_no_more() -> None:
    full = [item(f"I{n}") for n in range(MOST_ITEMS)]
    draft(full)
    with pytest.raises(ValidationError):
        draft([*full, PEDAL])
    of(*full).when(DraftItem(item=sent(PEDAL))).refused(ChecklistFull)
    of(*full).when(DraftItem(item=sent(replace(full[0], required=False)))).then(
        ItemDrafted(item=replace(full[0], required=False))
    )


def test_a_checklist_is_so_long_and_no_longer() -> None:
    full = [replace(item(f"I{n}"), description="x" * 2_000) for n in range(MOST_CHARACTERS // 2_000)]
    draft(full)
    with pytest.raises(ValidationError, match="characters"):
        draft([*full, PEDAL])
    of(*full).when(DraftItem(item=sent(PEDAL))).refused(ChecklistFull)
