"""What readers get to know of inspections: rows after short stories."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from functools import reduce
from typing import Any

import pytest

from domain.inspections.checklists import (
    CHECKLIST_VERSIONS,
    CHECKLISTS,
    ChecklistDrafted,
    ChecklistPublished,
    ChecklistRetired,
    Difference,
    Item,
    ItemDrafted,
    ItemDropped,
    VersionPublished,
)
from domain.inspections.checks import (
    Check,
    CheckHeld,
    CheckValue,
    ConflictFound,
    ConflictResolved,
    DefectCleared,
    DefectFound,
    HeldCheckReleased,
    ItemChecked,
    ItemLocked,
    ItemUnlocked,
)
from domain.inspections.follow_ups import FOLLOW_UPS, FollowUpOpened, FollowUpResolved
from domain.inspections.inspections import (
    INSPECTIONS,
    AdHocItemAdded,
    ChecklistMigrated,
    FeedbackGiven,
    Inspection,
    InspectionCompleted,
    InspectionPrepared,
    InspectionReopened,
    InspectionResumed,
    InspectionStarted,
    InspectionSuspended,
    evolve,
)
from domain.inspections.passports import (
    PASSPORTS,
    ApprovalDenied,
    ApprovalGiven,
    ApprovalReopened,
    ApprovalRevoked,
)
from domain.inspections.reports import CLIENT_REPORTS, ClientAlerted, ClientMeasured
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
from projections.catalog import CONTEXTS
from projections.inspections.checklists import ChecklistRow, ChecklistVersionRow
from projections.inspections.checks import ItemStatsRow
from projections.inspections.conflicts import ConflictRow, HeldCheckRow
from projections.inspections.follow_ups import FollowUpRow
from projections.inspections.passports import ApprovalRow
from projections.inspections.reports import ClientReportRow
from projections.inspections.sheets import COUNTS, CheckRow, InspectionRow, SectionRow
from projections.inspections.types import InspectionTypeRow
from tests.given import NOW, folded, recorded
from tests.views.house import seeded

Story = list[Recorded[Any]]
LATER = NOW + timedelta(minutes=30)
RULES = Rules(name="Mechanical", duration_minutes=60, classes=(ClassRules(vehicle_class="EV"),), lanes=2)
CLEAN = Item(code="A1", section="A", description="Car is clean")
TIGHT = Item(code="A2", section="A", description="Bolts are tight", required=False)
CELLS = Item(code="B1", section="B", description="Cells are covered", vehicle_class="EV")
TANK = Item(code="B2", section="B", description="Tank is tight", vehicle_class="CV")
SEAT = Item(code="C1", section="C", description="Seat is fixed")
NOISE = Item(code="X1", section="Other", description="Strange noise")
VERSION = VersionPublished(checklist_id="mechanical", version=1, items=(CLEAN, TIGHT, CELLS, TANK))
NEXT_VERSION = VersionPublished(checklist_id="mechanical", version=2, items=(replace(CLEAN, section="C"), CELLS, SEAT))
MIGRATED = ChecklistMigrated(from_version=1, to_version=2, difference=Difference())
PREPARED = InspectionPrepared(team_id="team", inspection_type_id="mechanical", vehicle_class="EV")
STARTED = InspectionStarted(checklist_version=1, by="sam", at=NOW)
PASSED, FAILED = CheckValue(status="passed"), CheckValue(status="failed", comment="Loose")
COMPLETED = InspectionCompleted(
    team_id="team",
    inspection_type_id="mechanical",
    result="conditional_pass",
    seconds=1_800,
    by="sam",
    notes="Fine",
    conditions=("Until Sunday",),
    reasons=("A label is missing",),
    next_steps=("Bring the label",),
)
CONFLICT = ConflictFound(
    number=1,
    item="A1",
    clash=("status",),
    base=CheckValue(),
    current=PASSED,
    current_revision=1,
    current_by="sam",
    current_at=NOW,
    incoming=FAILED,
    incoming_by="tea",
    incoming_at=NOW,
    based_on=0,
)
RESOLVED = ConflictResolved(
    number=1, item="A1", resolution="accept_incoming", value=FAILED, revision=2, by="ana", at=LATER
)
KEPT = replace(RESOLVED, resolution="keep_current", value=PASSED, revision=1)
HELD = CheckHeld(branch="tablet", step=2, item="A2", value=FAILED, based_on=0, by="tea", at=NOW, since=LATER)
RELEASED = HeldCheckReleased(branch="tablet", step=2)
ON_SHEET = recorded(CHECKLIST_VERSIONS, VERSION)
STARTED_STORY = [*ON_SHEET, *recorded(INSPECTIONS, PREPARED, STARTED)]


def rows(view: str, *stories: Story) -> dict[Any, Any]:
    """The rows of a view after these stories, by key."""
    return folded(CONTEXTS["inspections"], *stories)[view]


def row(view: str, *stories: Story) -> Any:
    """The only row of a view after these stories."""
    (only,) = rows(view, *stories).values()
    return only


def checked(item: str = "A1", value: CheckValue = PASSED, revision: int = 1, **more: Any) -> ItemChecked:
    """Somebody says something of an item."""
    fact = ItemChecked(item=item, revision=revision, value=value, by="sam", at=LATER, based_on=revision - 1)
    return replace(fact, **more)


def inspected(*facts: object, at: datetime = NOW) -> Story:
    """An inspection that is ongoing, and what happened in it then."""
    return [*STARTED_STORY, *recorded(INSPECTIONS, *facts, at=at)]


def inspection(*facts: object, at: datetime = NOW) -> InspectionRow:
    """The row of an inspection that is ongoing after these facts."""
    found: InspectionRow = row("inspections", inspected(*facts, at=at))
    return found


def check(*facts: object, item: str = "A1") -> CheckRow:
    """What is said of an item of an inspection that is ongoing after these facts."""
    found: CheckRow = rows("checks", inspected(*facts))["inspection", item]
    return found


def sections(*facts: object) -> dict[str, SectionRow]:
    """The sections of an inspection that is ongoing after these facts."""
    return {section: row for (_, section), row in rows("sections", inspected(*facts)).items()}


def counts(row: InspectionRow | SectionRow) -> dict[str, int]:
    """What is counted in a row, without zeros."""
    return {name: count for name in (*COUNTS, "conflicts") if (count := getattr(row, name))}


# Inspection types


def test_a_type_shows_its_rules() -> None:
    assert rows("inspection_types", recorded(INSPECTION_TYPES, InspectionTypeDefined(rules=RULES))) == {
        ("mechanical",): InspectionTypeRow(
            id="mechanical",
            name="Mechanical",
            duration_minutes=60,
            lanes=2,
            buffer_minutes=0,
            notice_minutes=0,
            hold_minutes=15,
            classes=RULES.classes,
            version=1,
        )
    }


def test_a_type_that_was_retired_keeps_so_when_its_rules_change_until_it_is_offered_again() -> None:
    retired = [
        InspectionTypeDefined(rules=RULES),
        InspectionTypeRetired(),
        InspectionTypeRevised(rules=replace(RULES, lanes=3)),
    ]
    shown = row("inspection_types", recorded(INSPECTION_TYPES, *retired))
    assert (shown.status, shown.lanes, shown.version) == ("retired", 3, 3)
    shown = row("inspection_types", recorded(INSPECTION_TYPES, *retired, InspectionTypeOfferedAgain()))
    assert (shown.status, shown.version) == ("offered", 4)


# Checklists


def test_a_checklist_shows_its_draft() -> None:
    drafted = ChecklistDrafted(items=(CLEAN,), source="sheet.csv")
    assert rows("checklists", recorded(CHECKLISTS, drafted)) == {
        ("mechanical",): ChecklistRow(id="mechanical", status="draft", draft=(CLEAN,), source="sheet.csv", version=1)
    }


def test_an_item_is_drafted_in_the_place_of_the_one_with_its_code_and_class() -> None:
    other = replace(CLEAN, vehicle_class="EV")
    draft = ChecklistDrafted(items=(CLEAN, TIGHT))
    shown = row("checklists", recorded(CHECKLISTS, draft, ItemDrafted(item=other)))
    assert shown.draft == (CLEAN, TIGHT, other)
    changed = replace(CLEAN, description="Car is clean and dry")
    shown = row("checklists", recorded(CHECKLISTS, draft, ItemDrafted(item=changed), ItemDropped(code="A2")))
    assert shown.draft == (changed,)


def test_a_published_checklist_says_how_often_it_was_and_when() -> None:
    published = recorded(CHECKLISTS, ChecklistDrafted(items=(CLEAN,)), ChecklistPublished(version=1, items=1))
    shown = row("checklists", published)
    assert (shown.status, shown.versions, shown.published_at) == ("published", 1, NOW)
    assert row("checklists", published, recorded(CHECKLISTS, ChecklistRetired())).status == "retired"
    anew = recorded(CHECKLISTS, ChecklistRetired(), ChecklistDrafted(items=(TIGHT,)))
    assert row("checklists", published, anew).status == "published"


def test_a_version_has_its_items_and_how_many_are_for_each_class() -> None:
    assert rows("checklist_versions", ON_SHEET) == {
        ("mechanical", 1): ChecklistVersionRow(
            checklist_id="mechanical", version=1, items=VERSION.items, ev_items=3, cv_items=3, published_at=NOW
        )
    }


# Inspections


def test_an_inspection_that_is_ready_has_no_items() -> None:
    assert rows("inspections", recorded(INSPECTIONS, replace(PREPARED, rescrutineering=True))) == {
        ("inspection",): InspectionRow(
            id="inspection",
            team_id="team",
            inspection_type_id="mechanical",
            vehicle_class="EV",
            rescrutineering=True,
            prepared_at=NOW,
            version=1,
        )
    }


def test_an_inspection_begins_with_the_items_of_its_version_for_its_car() -> None:
    begun = inspection()
    assert (begun.status, begun.checklist_version, begun.started_at, begun.version) == ("ongoing", 1, NOW, 2)
    assert counts(begun) == {"items": 3, "required": 2, "open": 3, "open_required": 2}


def test_an_inspection_without_a_checklist_begins_with_nothing() -> None:
    story = [*ON_SHEET, *recorded(INSPECTIONS, PREPARED, replace(STARTED, checklist_version=None))]
    assert counts(row("inspections", story)) == {}
    assert rows("sections", story) == {}


def test_an_inspection_waits_and_goes_on() -> None:
    waits = InspectionSuspended(reason="Lunch", at=LATER)
    assert (inspection(waits).status, inspection(waits).suspended_reason) == ("suspended", "Lunch")
    on = inspection(waits, InspectionResumed(at=LATER))
    assert (on.status, on.suspended_reason, on.version) == ("ongoing", None, 4)


def test_a_completed_inspection_shows_its_result_and_what_the_team_says_of_it() -> None:
    shown = inspection(COMPLETED, FeedbackGiven(score=5, by="rita", comment="Quick"), at=LATER)
    assert (shown.status, shown.result, shown.seconds, shown.ended_at) == (
        "completed",
        "conditional_pass",
        1_800,
        LATER,
    )
    assert (shown.notes, shown.conditions, shown.reasons, shown.next_steps) == (
        "Fine",
        ("Until Sunday",),
        ("A label is missing",),
        ("Bring the label",),
    )
    assert (shown.feedback, shown.feedback_comment) == (5, "Quick")


def test_a_reopened_inspection_has_no_result() -> None:
    shown = inspection(COMPLETED, InspectionReopened(reason="Wrong car", by="ana", at=LATER))
    assert (shown.status, shown.result, shown.ended_at, shown.seconds) == ("ongoing", None, None, None)
    assert shown.reopened_reason == "Wrong car"


@pytest.mark.parametrize(
    "fact", [ItemLocked(item="A1", by="sam"), DefectFound(number=1, item="A1", comment=None, by="sam")]
)
def test_every_fact_of_an_inspection_is_in_its_version(fact: object) -> None:
    assert inspection(fact).version == 3


# Checks


def test_nothing_is_shown_of_items_that_nobody_said_anything_of() -> None:
    assert rows("checks", STARTED_STORY) == {}


def test_a_check_shows_what_was_said_last_and_by_whom() -> None:
    assert check(checked(value=FAILED)) == CheckRow(
        inspection_id="inspection",
        item="A1",
        team_id="team",
        section="A",
        required=True,
        revision=1,
        status="failed",
        comment="Loose",
        by="sam",
        at=LATER,
    )
    again = check(checked(value=FAILED), checked(revision=2, by="tea", merge="merged"))
    assert (again.revision, again.status, again.comment, again.by, again.merge) == (2, "passed", None, "tea", "merged")


def test_a_check_counts_in_its_section_and_inspection() -> None:
    expected = {"items": 2, "required": 1, "passed": 1, "open": 1}
    assert counts(sections(checked())["A"]) == expected
    assert counts(sections(checked())["B"]) == {"items": 1, "required": 1, "open": 1, "open_required": 1}
    assert counts(inspection(checked())) == {"items": 3, "required": 2, "passed": 1, "open": 2, "open_required": 1}


def test_a_check_that_is_changed_counts_as_what_it_is_now() -> None:
    changed = [checked("A2", FAILED), checked("A2", CheckValue(status="not_applicable"), revision=2)]
    assert counts(sections(*changed)["A"]) == {
        "items": 2,
        "required": 1,
        "not_applicable": 1,
        "open": 1,
        "open_required": 1,
    }
    withdrawn = [checked(), checked(value=CheckValue(), revision=2)]
    assert counts(inspection(*withdrawn)) == counts(inspection())


def test_a_check_changes_the_same_few_rows_however_long_the_checklist_is() -> None:
    before = folded(CONTEXTS["inspections"], inspected(checked("A2")))
    after = folded(CONTEXTS["inspections"], inspected(checked("A2"), checked()))
    changed = {view: sum(after[view].get(key) != before[view].get(key) for key in after[view]) for view in after}
    assert {view: count for view, count in changed.items() if count} == {
        "inspections": 1,
        "checks": 1,
        "sections": 1,
        "item_stats": 1,
    }


def test_an_item_is_locked_and_unlocked() -> None:
    locked = check(ItemLocked(item="A1", by="ana"))
    assert (locked.locked, locked.locked_by, locked.revision, locked.status) == (True, "ana", 0, "open")
    unlocked = check(ItemLocked(item="A1", by="ana"), ItemUnlocked(item="A1", by="ana"))
    assert (unlocked.locked, unlocked.locked_by) == (False, None)


def test_a_failed_item_names_its_open_defect() -> None:
    defect = DefectFound(number=3, item="A1", comment="Loose", by="sam")
    assert check(checked(value=FAILED), defect).defect == 3
    assert check(checked(value=FAILED), defect, DefectCleared(number=3, item="A1", by="sam")).defect is None


def test_an_ad_hoc_item_is_shown_and_counted_before_anybody_checks_it() -> None:
    added = AdHocItemAdded(item=NOISE, by="sam")
    shown = check(added, item="X1")
    assert (shown.ad_hoc, shown.section, shown.required, shown.revision) == (NOISE, "Other", True, 0)
    assert counts(sections(added)["Other"]) == {"items": 1, "required": 1, "open": 1, "open_required": 1}
    assert (inspection(added).items, inspection(added).ad_hoc) == (4, 1)
    assert counts(sections(added, checked("X1"))["Other"]) == {"items": 1, "required": 1, "passed": 1}


def test_an_ad_hoc_item_may_be_in_a_section_of_the_checklist() -> None:
    shown = sections(AdHocItemAdded(item=replace(NOISE, section="B"), by="sam"))["B"]
    assert (shown.items, shown.place) == (2, 2)


def test_sections_come_in_the_order_of_the_checklist_and_others_behind() -> None:
    shown = sections(AdHocItemAdded(item=NOISE, by="sam"))
    assert sorted(shown, key=lambda section: shown[section].place) == ["A", "B", "Other"]


# Another version of the checklist


def migrated(*facts: object) -> Story:
    """An inspection that goes on by the next version after these facts."""
    return [*inspected(*facts), *recorded(CHECKLIST_VERSIONS, NEXT_VERSION), *recorded(INSPECTIONS, MIGRATED)]


def test_an_inspection_that_is_migrated_counts_the_items_of_the_other_version() -> None:
    story = migrated(checked("A1"), checked("A2", FAILED))
    assert row("inspections", story).checklist_version == 2
    expected = {"items": 3, "required": 3, "passed": 1, "open": 2, "open_required": 2}
    assert counts(row("inspections", story)) == expected
    shown = {section: counts(one) for (_, section), one in rows("sections", story).items()}
    assert shown == {
        "B": {"items": 1, "required": 1, "open": 1, "open_required": 1},
        "C": {"items": 2, "required": 2, "passed": 1, "open": 1, "open_required": 1},
    }


def test_what_was_said_of_an_item_moves_with_it() -> None:
    assert rows("checks", migrated(checked()))["inspection", "A1"].section == "C"


def test_what_was_said_of_an_item_that_is_no_more_stays_and_counts_no_more() -> None:
    story = migrated(checked("A2", FAILED))
    kept = rows("checks", story)["inspection", "A2"]
    assert (kept.on_sheet, kept.status) == (False, "failed")
    again = recorded(INSPECTIONS, checked("A2", revision=2))
    assert counts(row("inspections", story, again)) == counts(row("inspections", story))
    assert rows("sections", story, again) == rows("sections", story)


def test_an_inspection_that_is_migrated_back_counts_as_before() -> None:
    back = recorded(INSPECTIONS, replace(MIGRATED, from_version=2, to_version=1))
    facts = (checked("A1"), checked("A2", FAILED), CONFLICT)
    assert counts(row("inspections", migrated(*facts), back)) == counts(inspection(*facts))
    assert rows("sections", migrated(*facts), back) == rows("sections", inspected(*facts))
    assert rows("checks", migrated(*facts), back) == rows("checks", inspected(*facts))


def test_ad_hoc_items_stay_whatever_version_an_inspection_goes_by() -> None:
    story = migrated(
        AdHocItemAdded(item=NOISE, by="sam"), AdHocItemAdded(item=replace(NOISE, code="X2", section="A"), by="sam")
    )
    shown = {section: one.items for (_, section), one in rows("sections", story).items()}
    assert shown == {"A": 1, "B": 1, "C": 2, "Other": 1}
    assert row("inspections", story).items == 5


def test_an_ad_hoc_item_that_comes_to_be_on_the_checklist_counts_once_as_it_stands_there() -> None:
    added = AdHocItemAdded(item=replace(SEAT, section="Other", required=False), by="sam")
    story = migrated(added, checked("C1"))
    assert counts(row("inspections", story)) == {
        "items": 3,
        "required": 3,
        "passed": 1,
        "open": 2,
        "open_required": 2,
    }
    assert {section: one.passed for (_, section), one in rows("sections", story).items()} == {"B": 0, "C": 1}
    assert rows("checks", story)["inspection", "C1"].section == "C"
    back = recorded(INSPECTIONS, replace(MIGRATED, from_version=2, to_version=1))
    for view in ("checks", "sections"):
        assert rows(view, story, back) == rows(view, inspected(added, checked("C1")))
    assert counts(row("inspections", story, back)) == counts(inspection(added, checked("C1")))


def test_an_inspection_that_had_no_checklist_may_get_one() -> None:
    story = [*ON_SHEET, *recorded(INSPECTIONS, PREPARED, replace(STARTED, checklist_version=None))]
    given = recorded(INSPECTIONS, replace(MIGRATED, from_version=None, to_version=1))
    assert counts(row("inspections", story, given)) == counts(inspection())


# Whatever happens


def on_sheet(inspection: Inspection) -> dict[str, Item]:
    """The items of the version that an inspection goes by."""
    version = VERSION if inspection.checklist_version == 1 else NEXT_VERSION
    return {item.code: item for item in version.items if item.vehicle_class != "CV"}


def something(dice: random.Random, inspection: Inspection) -> object:
    """Anything that may happen in an inspection that is ongoing."""
    code = dice.choice(["A1", "A2", "B1", "C1", "X1"])
    revision = inspection.checks.get(code, Check()).revision
    value = CheckValue(status=dice.choice(["open", "passed", "failed", "not_applicable"]))
    if inspection.conflicts and dice.random() < 0.2:
        number, conflict = dice.choice(list(inspection.conflicts.items()))
        revision = inspection.checks.get(conflict.item, Check()).revision + dice.choice([0, 1])
        return replace(RESOLVED, number=number, item=conflict.item, value=value, revision=revision)
    if dice.random() < 0.2:
        return replace(CONFLICT, number=inspection.conflicts_found + 1, item=code)
    if dice.random() < 0.2 and code not in {*inspection.ad_hoc, *on_sheet(inspection)}:
        item = Item(code=code, section=dice.choice("ABC"), description="", required=dice.random() < 0.5)
        return AdHocItemAdded(item=item, by="sam")
    if dice.random() < 0.2:
        version = inspection.checklist_version
        return replace(MIGRATED, from_version=version, to_version=1 if version == 2 else 2)
    return checked(code, value, revision + 1)


@pytest.mark.parametrize("round", range(20))
def test_whatever_happens_the_counts_are_those_of_all_items_that_count(round: int) -> None:
    dice = seeded()
    dice.seed(dice.random() + round)
    facts: list[object] = [PREPARED, STARTED]
    inspection = reduce(evolve, facts, Inspection())
    for _ in range(60):
        facts.append(something(dice, inspection))
        inspection = evolve(inspection, facts[-1])
    story = [*ON_SHEET, *recorded(CHECKLIST_VERSIONS, NEXT_VERSION), *recorded(INSPECTIONS, *facts)]
    items = {**inspection.ad_hoc, **on_sheet(inspection)}
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for item in items.values():
        status = inspection.checks.get(item.code, Check()).value.status
        for section in (item.section, "all"):
            counted[section].update(["items", status])
            counted[section].update(["required"] * item.required)
            counted[section].update(["open_required"] * (item.required and status == "open"))
    for conflict in inspection.conflicts.values():
        counted["all"].update(["conflicts"])
        if conflict.item in items:
            counted[items[conflict.item].section].update(["conflicts"])
    shown = {section: counts(one) for (_, section), one in rows("sections", story).items()}
    assert shown | {"all": counts(row("inspections", story))} == counted


# Conflicts


def test_a_conflict_shows_both_values_and_who_said_them() -> None:
    assert rows("conflicts", inspected(checked(), CONFLICT, at=LATER)) == {
        ("inspection", 1): ConflictRow(
            inspection_id="inspection",
            number=1,
            team_id="team",
            inspection_type_id="mechanical",
            item="A1",
            clash=("status",),
            base=CheckValue(),
            current=PASSED,
            current_revision=1,
            current_by="sam",
            current_at=NOW,
            incoming=FAILED,
            incoming_by="tea",
            incoming_at=NOW,
            found_at=LATER,
        )
    }


def test_an_open_conflict_counts_and_leaves_the_check_as_it_is() -> None:
    shown = check(checked(), CONFLICT)
    assert (shown.conflicts, shown.status, shown.revision) == (1, "passed", 1)
    assert (sections(checked(), CONFLICT)["A"].conflicts, inspection(checked(), CONFLICT).conflicts) == (1, 1)


@pytest.mark.parametrize(("resolved", "status", "revision"), [(RESOLVED, "failed", 2), (KEPT, "passed", 1)])
def test_a_resolved_conflict_shows_what_was_decided(resolved: ConflictResolved, status: str, revision: int) -> None:
    facts = (checked(), CONFLICT, resolved)
    shown = row("conflicts", inspected(*facts))
    assert (shown.status, shown.resolution, shown.resolved, shown.resolved_by, shown.resolved_at) == (
        "resolved",
        resolved.resolution,
        resolved.value,
        "ana",
        LATER,
    )
    assert (check(*facts).status, check(*facts).revision, check(*facts).conflicts) == (status, revision, 0)
    assert check(*facts).by == ("ana" if revision == 2 else "sam")
    assert (sections(*facts)["A"].conflicts, inspection(*facts).conflicts) == (0, 0)
    assert getattr(sections(*facts)["A"], status) == 1


def test_an_item_that_was_locked_may_have_a_conflict_though_nobody_said_anything_of_it() -> None:
    conflict = replace(
        CONFLICT, clash=("locked",), current=CheckValue(), current_revision=0, current_by=None, current_at=None
    )
    shown = check(ItemLocked(item="A1", by="ana"), conflict)
    assert (shown.locked, shown.conflicts, shown.revision) == (True, 1, 0)


def test_a_conflict_about_an_item_that_is_no_more_still_counts_in_the_inspection() -> None:
    story = migrated(checked("A2"), replace(CONFLICT, item="A2"))
    assert row("inspections", story).conflicts == 1
    assert {one.conflicts for one in rows("sections", story).values()} == {0}
    assert row("inspections", story, recorded(INSPECTIONS, replace(KEPT, item="A2"))).conflicts == 0


# Held checks


def test_a_check_that_waits_is_shown_until_it_is_released() -> None:
    assert rows("held_checks", inspected(HELD)) == {
        ("inspection", "tablet", 2): HeldCheckRow(
            inspection_id="inspection",
            branch="tablet",
            step=2,
            team_id="team",
            item="A2",
            status="failed",
            comment="Loose",
            based_on=0,
            by="tea",
            at=NOW,
            held_at=LATER,
        )
    }
    assert (inspection(HELD).held, inspection(HELD).open) == (1, 3)
    assert rows("held_checks", inspected(HELD, RELEASED)) == {}
    assert inspection(HELD, RELEASED).held == 0


# Hot spots


def test_items_that_fail_are_counted_over_inspections() -> None:
    defect = DefectFound(number=1, item="A1", comment=None, by="sam")
    other = recorded(INSPECTIONS, PREPARED, STARTED, checked(value=FAILED), defect, id="other")
    assert rows("item_stats", inspected(checked(), CONFLICT, KEPT, checked(revision=2)), other) == {
        ("mechanical", "A1"): ItemStatsRow(inspection_type_id="mechanical", item="A1", checked=2, failed=1)
    }


def test_an_item_that_somebody_else_decided_counts_as_looked_at() -> None:
    conflict = replace(CONFLICT, clash=("locked",), current=CheckValue(), current_revision=0)
    accepted = replace(RESOLVED, revision=1)
    assert row("item_stats", inspected(conflict, accepted)).checked == 1
    assert rows("item_stats", inspected(conflict, replace(KEPT, value=CheckValue(), revision=0))) == {}


# Passports


def test_a_passport_shows_how_each_test_stands() -> None:
    given = ApprovalGiven(inspection_type_id="brake", inspection_id="one", result="provisional")
    denied = ApprovalDenied(inspection_type_id="tilt", inspection_id="two")
    assert rows("passports", recorded(PASSPORTS, given, denied)) == {
        ("team", "brake"): ApprovalRow(
            team_id="team",
            inspection_type_id="brake",
            status="passed",
            inspection_id="one",
            at=NOW,
            result="provisional",
        ),
        ("team", "tilt"): ApprovalRow(
            team_id="team", inspection_type_id="tilt", status="failed", inspection_id="two", at=NOW
        ),
    }


def test_a_test_that_is_revoked_says_why_and_what_depends_on_it_because_of_what() -> None:
    given = ApprovalGiven(inspection_type_id="brake", inspection_id="one", result="passed")
    revoked = ApprovalRevoked(inspection_type_id="brake", inspection_id="one", reason="Other wheels", by="ana")
    shown = row("passports", recorded(PASSPORTS, given, revoked))
    assert (shown.status, shown.reason, shown.result) == ("revoked", "Other wheels", None)
    reopened = ApprovalReopened(inspection_type_id="brake", inspection_id="one", because="tilt")
    shown = row("passports", recorded(PASSPORTS, given, reopened))
    assert (shown.status, shown.because) == ("reopened", "tilt")
    shown = row("passports", recorded(PASSPORTS, given, reopened, given))
    assert (shown.status, shown.because, shown.result) == ("passed", None, "passed")


# Follow-ups


def test_a_follow_up_is_open_until_it_is_resolved() -> None:
    opened = FollowUpOpened(inspection_id="inspection", item="A1", comment="Loose")
    assert rows("follow_ups", STARTED_STORY, recorded(FOLLOW_UPS, opened)) == {
        ("inspection.1",): FollowUpRow(
            id="inspection.1",
            inspection_id="inspection",
            team_id="team",
            inspection_type_id="mechanical",
            item="A1",
            comment="Loose",
            opened_at=NOW,
            version=1,
        )
    }
    resolved = recorded(FOLLOW_UPS, opened, FollowUpResolved(note="Tightened"), at=LATER)
    shown = row("follow_ups", STARTED_STORY, resolved)
    assert (shown.status, shown.note, shown.resolved_at, shown.version) == ("resolved", "Tightened", LATER, 2)
    again = row("follow_ups", STARTED_STORY, resolved, recorded(FOLLOW_UPS, opened))
    assert (again.status, again.note, again.resolved_at, again.version) == ("open", None, None, 3)


# Client reports


def test_an_alert_and_a_measurement_are_kept_as_they_were_reported() -> None:
    alert = recorded(CLIENT_REPORTS, ClientAlerted(kind="inspection_failure", error="offline", booking_id="booking"))
    assert row("client_reports", alert) == ClientReportRow(
        id="report", kind="alert", about="inspection_failure", error="offline", booking_id="booking", at=NOW
    )
    measured = ClientMeasured(event="check", action="pass", milliseconds=120)
    assert row("client_reports", recorded(CLIENT_REPORTS, measured)) == ClientReportRow(
        id="report", kind="measurement", about="check", action="pass", milliseconds=120, at=NOW
    )
