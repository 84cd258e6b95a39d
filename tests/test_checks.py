"""Checks: many hands on one checklist; what they say of one item, from what each of them saw."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from commands.inspections.checks import (
    CheckItem,
    CheckTaken,
    ConflictShown,
    HeldShown,
    ItemNow,
    LockItem,
    ReleaseHeldChecks,
    ResolveConflict,
    UnlockItem,
    ValueShown,
)
from commands.kernel import Command
from domain.inspections.checklists import CHECKLIST_VERSIONS, Difference, Item, VersionPublished
from domain.inspections.checks import (
    HELD_AT_MOST,
    MOST_HELD,
    OPEN,
    CheckHeld,
    CheckValue,
    CommentsTooLong,
    ConflictFound,
    ConflictResolved,
    ConflictUnknown,
    DefectCleared,
    DefectFound,
    HeldCheckReleased,
    ItemChangedSince,
    ItemChecked,
    ItemIsLocked,
    ItemLocked,
    ItemUnknown,
    ItemUnlocked,
    NoSuchHeldChecks,
    RevisionUnknown,
    StepTaken,
    TooManyHeld,
)
from domain.inspections.inspections import (
    INSPECTIONS,
    AdHocItemAdded,
    ChecklistMigrated,
    InspectionCompleted,
    InspectionNotOngoing,
    InspectionOver,
    InspectionPrepared,
    InspectionStarted,
    InspectionSuspended,
)
from domain.roles import Role
from tests.given import NOW, Given, given

PASSED = CheckValue(status="passed")
FAILED = CheckValue(status="failed", comment="Torn")
PREPARED = InspectionPrepared(team_id="team", inspection_type_id="mechanical", vehicle_class="EV")
STARTED = InspectionStarted(checklist_version=1, by="vera", at=NOW)
SUSPENDED = InspectionSuspended(reason="Rain", at=NOW)
COMPLETED = InspectionCompleted(
    team_id="team", inspection_type_id="mechanical", result="failed", seconds=1, by="vera", reasons=("Torn",)
)
ITEMS = tuple(Item(code=code, section="Belts", description=code) for code in ("belt", "bolt", "bar"))
VERSION = VersionPublished(
    checklist_id="mechanical",
    version=1,
    items=(*ITEMS, Item(code="exhaust", section="Noise", description="Exhaust", vehicle_class="CV")),
)
READY = given(CHECKLIST_VERSIONS, VERSION).given(INSPECTIONS, PREPARED).by("vera", Role.SCRUTINEER)
ONGOING = READY.given(INSPECTIONS, STARTED)
LOCKED = ItemLocked(item="belt", by="vera")


def check(value: CheckValue, based_on: int = 0, item: str = "belt", **more: Any) -> CheckItem:
    """What somebody says of the belt."""
    return CheckItem(item=item, status=value.status, comment=value.comment, based_on=based_on, **more)


def offline(step: int, value: CheckValue = PASSED, based_on: int = 0, item: str = "belt") -> CheckItem:
    """What Otto says on his tablet, which is offline."""
    return check(value, based_on, item, branch="tablet", step=step)


def checked(value: CheckValue, revision: int = 1, by: str = "vera", based_on: int = 0, **more: Any) -> ItemChecked:
    """The belt has a value."""
    fields = {"item": "belt", "at": NOW, **more}
    return ItemChecked(revision=revision, value=value, by=by, based_on=based_on, **fields)


def stepped(step: int, value: CheckValue = PASSED, revision: int = 1, by: str = "vera", **more: Any) -> ItemChecked:
    """The belt has a value by a step of the tablet."""
    return checked(value, revision, by, branch="tablet", step=step, **more)


def held(step: int, value: CheckValue = PASSED, item: str = "belt", **more: Any) -> CheckHeld:
    """A step of the tablet waits."""
    fields = {"based_on": 0, "by": "vera", "at": NOW, "since": NOW, **more}
    return CheckHeld(branch="tablet", step=step, item=item, value=value, **fields)


def released(step: int, *, forced: bool = False) -> HeldCheckReleased:
    """A step of the tablet takes its turn."""
    return HeldCheckReleased(branch="tablet", step=step, forced=forced)


def found(number: int = 1, comment: str | None = "Torn", by: str = "vera") -> DefectFound:
    """The belt failed."""
    return DefectFound(number=number, item="belt", comment=comment, by=by)


OTTO = ONGOING.by("otto", Role.SCRUTINEER)
TORN = OTTO.given(INSPECTIONS, checked(FAILED), found())
CLASH = ConflictFound(
    number=1,
    item="belt",
    clash=("status",),
    base=OPEN,
    current=FAILED,
    current_revision=1,
    current_by="vera",
    current_at=NOW,
    incoming=PASSED,
    incoming_by="otto",
    incoming_at=NOW,
    based_on=0,
)
CLASHED = TORN.given(INSPECTIONS, CLASH).by("rita", Role.INSPECTION_RESPONSIBLE)
TIMER = ONGOING.by("fieldlog", Role.SYSTEM)


def resolved(resolution: str, value: CheckValue, revision: int = 2) -> ConflictResolved:
    """Rita decided."""
    return ConflictResolved(
        number=1,
        item="belt",
        resolution=resolution,  # type: ignore[arg-type]
        value=value,
        revision=revision,
        by="rita",
        at=NOW,
    )


def test_an_item_is_checked_and_its_answer_says_how_it_stands() -> None:
    outcome = ONGOING.when(check(PASSED)).then(checked(PASSED))
    assert outcome.answer == CheckTaken(
        item="belt", revision=1, status="passed", comment=None, outcome="recorded", conflicts=[], held=None
    )


def test_a_check_is_changed_by_who_saw_it() -> None:
    ONGOING.given(INSPECTIONS, checked(PASSED)).when(check(CheckValue(status="not_applicable"), 1)).then(
        checked(CheckValue(status="not_applicable"), 2, based_on=1)
    )


def test_the_same_said_again_by_who_saw_it_leads_to_nothing() -> None:
    outcome = ONGOING.given(INSPECTIONS, checked(PASSED)).when(check(PASSED, 1)).then()
    assert outcome.answer.outcome == "unchanged"


def test_two_people_on_different_items_do_not_disturb_each_other() -> None:
    OTTO.given(INSPECTIONS, checked(FAILED), found()).when(check(PASSED, item="bolt")).then(
        checked(PASSED, by="otto", item="bolt")
    )


def test_an_item_that_is_not_on_the_sheet_is_not_checked() -> None:
    ONGOING.when(check(PASSED, item="wing")).refused(ItemUnknown, item="wing")


def test_an_item_for_cars_of_another_class_is_not_checked() -> None:
    ONGOING.when(check(PASSED, item="exhaust")).refused(ItemUnknown, item="exhaust")


def test_an_ad_hoc_item_is_checked_without_any_checklist() -> None:
    wing = AdHocItemAdded(item=Item(code="wing", section="Aero", description="Wing"), by="vera")
    (
        READY.given(INSPECTIONS, replace(STARTED, checklist_version=None), wing)
        .when(check(PASSED, item="wing"))
        .then(checked(PASSED, item="wing"))
    )


def test_a_check_is_not_based_on_a_revision_that_is_yet_to_come() -> None:
    ONGOING.when(check(PASSED, 1)).refused(RevisionUnknown, revision=0)


def test_nothing_is_checked_before_the_start_nor_after_the_end() -> None:
    READY.when(check(PASSED)).refused(InspectionNotOngoing, status="ready")
    ONGOING.given(INSPECTIONS, COMPLETED).when(check(PASSED)).refused(InspectionOver)


def test_a_check_that_happened_before_a_suspension_is_taken_after_it() -> None:
    waiting, before = ONGOING.given(INSPECTIONS, SUSPENDED), NOW - timedelta(seconds=1)
    waiting.when(check(PASSED)).refused(InspectionNotOngoing, status="suspended")
    waiting.moment(before).when(check(PASSED)).then(checked(PASSED, at=before))


def test_branch_and_step_are_sent_together() -> None:
    with pytest.raises(ValidationError, match="branch_and_step"):
        check(PASSED, branch="tablet")


def test_who_says_the_same_unseen_is_recorded_as_equal() -> None:
    outcome = TORN.when(check(FAILED)).then(checked(FAILED, 2, "otto", merge="equal"))
    assert (outcome.answer.outcome, outcome.answer.revision) == ("equal", 2)


def test_who_adds_a_comment_unseen_is_merged() -> None:
    said, both = CheckValue(comment="Belt 2"), CheckValue(status="failed", comment="Torn\nBelt 2")
    outcome = TORN.when(check(said)).then(checked(both, 2, "otto", merge="merged", sent=said))
    assert (outcome.answer.outcome, outcome.answer.comment) == ("merged", "Torn\nBelt 2")


def test_who_contradicts_unseen_is_in_conflict_and_what_was_said_first_holds_meanwhile() -> None:
    outcome = TORN.when(check(PASSED)).then(CLASH)
    assert outcome.answer == CheckTaken(
        item="belt",
        revision=1,
        status="failed",
        comment="Torn",
        outcome="conflict",
        conflicts=[
            ConflictShown(
                number=1,
                item_id="belt",
                base=ValueShown(status="open", comment=None),
                current=ValueShown(status="failed", comment="Torn"),
                incoming=ValueShown(status="passed", comment=None),
                modified_by="vera",
                modified_at=NOW,
            )
        ],
        held=None,
    )


def test_who_saw_it_may_contradict() -> None:
    TORN.when(check(PASSED, 1)).then(
        checked(PASSED, 2, "otto", based_on=1), DefectCleared(number=1, item="belt", by="otto")
    )


def test_a_failed_item_is_a_defect_once_and_a_new_one_when_it_fails_again() -> None:
    ONGOING.when(check(FAILED)).then(checked(FAILED), found())
    worse = replace(FAILED, comment="Torn apart")
    TORN.when(check(worse, 1)).then(checked(worse, 2, "otto", based_on=1))
    mended = TORN.given(INSPECTIONS, checked(PASSED, 2), DefectCleared(number=1, item="belt", by="vera"))
    mended.when(check(FAILED, 2)).then(checked(FAILED, 3, "otto", based_on=2), found(2, by="otto"))


def test_the_current_value_is_kept() -> None:
    outcome = CLASHED.when(ResolveConflict(number=1, resolution="keep_current")).then(
        resolved("keep_current", FAILED, revision=1)
    )
    assert outcome.answer == ItemNow(item="belt", revision=1, status="failed", comment="Torn")


def test_the_incoming_value_is_accepted() -> None:
    CLASHED.when(ResolveConflict(number=1, resolution="accept_incoming")).then(
        resolved("accept_incoming", PASSED), DefectCleared(number=1, item="belt", by="rita")
    )


def test_merged_the_stricter_status_holds() -> None:
    CLASHED.when(ResolveConflict(number=1, resolution="merge")).then(resolved("merge", FAILED, revision=1))


def test_merged_in_ones_own_words() -> None:
    value = CheckValue(status="not_applicable", comment="No belt")
    CLASHED.when(ResolveConflict(number=1, resolution="merge", status="not_applicable", comment="No belt")).then(
        resolved("merge", value), DefectCleared(number=1, item="belt", by="rita")
    )


def test_own_words_are_for_merging() -> None:
    with pytest.raises(ValidationError, match="own_words"):
        ResolveConflict(number=1, resolution="keep_current", status="passed")


def test_comments_that_are_too_long_together_are_not_merged() -> None:
    long = CLASHED.given(INSPECTIONS, replace(CLASH, number=2, incoming=replace(PASSED, comment="x" * 2_000)))
    long.when(ResolveConflict(number=2, resolution="merge")).refused(CommentsTooLong, item="belt")


def test_a_conflict_is_resolved_once() -> None:
    (
        CLASHED.given(INSPECTIONS, resolved("keep_current", FAILED, revision=1))
        .when(ResolveConflict(number=1, resolution="keep_current"))
        .refused(ConflictUnknown, number=1)
    )


def test_a_conflict_is_resolved_by_who_saw_what_holds_now() -> None:
    moved = CLASHED.given(INSPECTIONS, checked(CheckValue(status="not_applicable"), 2, based_on=1))
    accept = ResolveConflict(number=1, resolution="accept_incoming")
    moved.when(accept).refused(ItemChangedSince, item="belt", revision=2, by="vera")
    moved.when(accept.model_copy(update={"based_on": 3})).refused(RevisionUnknown, revision=2)
    outcome = moved.when(accept.model_copy(update={"based_on": 2}))
    assert outcome.facts[0].fact == resolved("accept_incoming", PASSED, revision=3)


def test_a_locked_item_is_not_checked_until_it_is_unlocked() -> None:
    locked = ONGOING.given(INSPECTIONS, LOCKED)
    locked.when(check(PASSED)).refused(ItemIsLocked, item="belt")
    locked.when(check(PASSED, item="bolt")).then(checked(PASSED, item="bolt"))
    locked.when(LockItem(item="belt")).then()
    locked.when(UnlockItem(item="belt")).then(ItemUnlocked(item="belt", by="vera"))
    locked.given(INSPECTIONS, ItemUnlocked(item="belt", by="rita")).when(check(PASSED)).then(checked(PASSED))


def test_an_item_is_locked_once_it_is_there() -> None:
    ONGOING.when(LockItem(item="belt")).then(LOCKED)
    ONGOING.when(LockItem(item="wing")).refused(ItemUnknown, item="wing")
    ONGOING.when(UnlockItem(item="belt")).then()


@pytest.mark.parametrize("command", [LockItem(item="belt"), UnlockItem(item="belt")])
def test_items_are_locked_and_unlocked_while_somebody_inspects(command: Command) -> None:
    READY.when(command).refused(InspectionNotOngoing, status="ready")
    ONGOING.given(INSPECTIONS, COMPLETED).when(command).refused(InspectionOver)


def test_the_first_step_of_a_branch_is_taken() -> None:
    ONGOING.when(offline(1)).then(stepped(1))


def test_a_step_waits_for_those_before_it_and_is_shown() -> None:
    outcome = ONGOING.given(INSPECTIONS, stepped(1)).when(offline(4, item="bolt")).then(held(4, item="bolt"))
    assert outcome.answer.outcome == "held"
    assert outcome.answer.held == HeldShown(branch="tablet", step=4, waits_for=2)


def test_held_steps_follow_the_one_they_waited_for_in_order() -> None:
    waiting = ONGOING.given(INSPECTIONS, held(3, item="bar"), held(2, item="bolt"), held(5))
    outcome = waiting.when(offline(1)).then(
        stepped(1), released(2), stepped(2, item="bolt"), released(3), stepped(3, item="bar")
    )
    assert outcome.answer.outcome == "recorded"


def test_each_held_step_is_judged_by_what_the_one_before_led_to() -> None:
    waiting = ONGOING.given(INSPECTIONS, held(2, FAILED), held(3, PASSED))
    waiting.when(offline(1)).then(
        stepped(1),
        released(2),
        stepped(2, FAILED, revision=2),
        found(),
        released(3),
        stepped(3, revision=3),
        DefectCleared(number=1, item="belt", by="vera"),
    )


def test_a_repeated_step_leads_to_nothing_even_after_the_end() -> None:
    outcome = ONGOING.given(INSPECTIONS, stepped(1), COMPLETED).when(offline(1)).then()
    assert outcome.answer.outcome == "unchanged"
    ONGOING.given(INSPECTIONS, held(2)).when(offline(2)).then()


def test_a_step_that_waits_is_not_replaced() -> None:
    ONGOING.given(INSPECTIONS, held(2)).when(offline(2, FAILED)).refused(StepTaken, branch="tablet", step=2)


def test_a_finding_under_a_step_that_has_arrived_is_refused_and_not_taken_for_a_repetition() -> None:
    arrived = ONGOING.given(INSPECTIONS, stepped(1))
    for other in (offline(1, FAILED), offline(1, item="bolt")):
        arrived.when(other).refused(StepTaken, branch="tablet", step=1)
    merged = TORN.given(INSPECTIONS, stepped(1, FAILED, 2, "otto", merge="merged", sent=CheckValue(comment="Torn")))
    merged.when(offline(1, CheckValue(comment="Torn"))).then()
    merged.when(offline(1, FAILED)).refused(StepTaken, branch="tablet", step=1)


def test_a_step_that_changes_nothing_is_recorded_so_that_the_next_one_need_not_wait() -> None:
    said = ONGOING.given(INSPECTIONS, checked(PASSED))
    said.when(offline(1, based_on=1)).then(stepped(1, revision=2, based_on=1, merge="equal"))


def test_as_many_steps_are_held_as_may_be() -> None:
    many = [held(step) for step in range(2, MOST_HELD + 2)]
    ONGOING.given(INSPECTIONS, *many).when(offline(MOST_HELD + 2)).refused(TooManyHeld)


def test_whoever_works_offline_builds_on_his_own_words() -> None:
    second = replace(FAILED, comment="Torn\nLeft")
    said = OTTO.given(INSPECTIONS, stepped(1, FAILED, by="otto"), found())
    said.when(offline(2, second)).then(stepped(2, second, revision=2, by="otto"))


def test_whoever_works_offline_does_not_build_on_the_words_of_others_under_the_same_branch() -> None:
    said = OTTO.given(INSPECTIONS, stepped(1, FAILED), found())
    said.when(offline(2, PASSED)).then(replace(CLASH, branch="tablet", step=2))


def test_whoever_works_offline_has_not_seen_what_was_merged_under_his_own_words() -> None:
    remark, both = CheckValue(comment="Left"), CheckValue(status="failed", comment="Torn\nLeft")
    merged = TORN.given(INSPECTIONS, stepped(1, both, 2, "otto", merge="merged", sent=remark))
    passed = replace(remark, status="passed")
    merged.when(offline(2, passed)).then(
        replace(
            CLASH,
            base=remark,
            current=both,
            current_revision=2,
            current_by="otto",
            incoming=passed,
            branch="tablet",
            step=2,
        )
    )


def test_whoever_works_offline_builds_on_what_he_said_in_a_conflict_too() -> None:
    clashed = TORN.given(INSPECTIONS, replace(CLASH, branch="tablet", step=1))
    remark = replace(PASSED, comment="Left")
    clashed.when(offline(2, remark)).then(
        stepped(2, replace(FAILED, comment="Torn\nLeft"), 2, "otto", merge="merged", sent=remark)
    )


def test_what_was_said_offline_of_an_item_that_is_locked_is_a_conflict() -> None:
    locked = OTTO.given(INSPECTIONS, LOCKED)
    nobody = {"current": OPEN, "current_revision": 0, "current_by": None, "current_at": None}
    locked.when(offline(1)).then(replace(CLASH, clash=("locked",), branch="tablet", step=1, **nobody))


def test_what_was_said_offline_of_an_item_that_was_dropped_is_kept() -> None:
    migrated = ChecklistMigrated(from_version=2, to_version=1, difference=Difference(removed=("wing",)))
    dropped = ONGOING.given(INSPECTIONS, migrated)
    dropped.when(offline(1, item="wing")).then(stepped(1, item="wing"))
    dropped.when(check(PASSED, item="wing")).refused(ItemUnknown, item="wing")


def test_held_steps_are_released_without_those_they_waited_for() -> None:
    waiting = ONGOING.given(INSPECTIONS, held(2), held(4, item="bolt"), held(5, item="bar"))
    waiting.by("rita", Role.INSPECTION_RESPONSIBLE).when(ReleaseHeldChecks()).then(
        released(2, forced=True),
        stepped(2),
        released(4, forced=True),
        stepped(4, item="bolt"),
        released(5),
        stepped(5, item="bar"),
    )


def test_the_held_steps_of_one_branch_are_released() -> None:
    waiting = ONGOING.given(INSPECTIONS, held(2), replace(held(2), branch="phone"))
    waiting.when(ReleaseHeldChecks(branch="tablet")).then(released(2, forced=True), stepped(2))
    waiting.when(ReleaseHeldChecks(branch="watch")).refused(NoSuchHeldChecks, branch="watch")


def test_fieldlog_itself_releases_what_was_held_for_an_hour_and_all_before_and_right_after_it() -> None:
    waiting = TIMER.given(
        INSPECTIONS,
        held(2, since=NOW - timedelta(minutes=1)),
        held(4, item="bolt", since=NOW - HELD_AT_MOST),
        held(5, item="bar"),
        held(7),
    )
    waiting.when(ReleaseHeldChecks()).then(
        released(2, forced=True),
        stepped(2),
        released(4, forced=True),
        stepped(4, item="bolt"),
        released(5),
        stepped(5, item="bar"),
    )


def test_fieldlog_itself_releases_nothing_before_its_time() -> None:
    TIMER.given(INSPECTIONS, held(2, since=NOW - HELD_AT_MOST + timedelta(seconds=1))).when(ReleaseHeldChecks()).then()
    TIMER.when(ReleaseHeldChecks()).then()


LATE = ONGOING.given(INSPECTIONS, held(3), released(3, forced=True), stepped(3))


def test_after_a_forced_release_the_branch_goes_on_from_there() -> None:
    LATE.when(offline(4, FAILED)).then(stepped(4, FAILED, revision=2), found())


def test_a_step_that_comes_after_a_forced_release_is_not_lost() -> None:
    LATE.when(offline(2, item="bolt")).then(stepped(2, item="bolt"))
    LATE.given(INSPECTIONS, stepped(2, item="bolt")).when(offline(2, item="bolt")).then()


def test_a_step_that_comes_too_late_does_not_undo_a_later_one() -> None:
    outcome = LATE.when(offline(2, FAILED))
    assert [type(one.fact) for one in outcome.facts] == [ConflictFound]
    assert outcome.answer.conflicts[0].current == ValueShown(status="passed", comment=None)


def test_what_is_released_early_may_contradict_others_though_it_is_what_was_there_before() -> None:
    """Otto saw it failed, said passed in a step that is missing, and then failed again; Vera says passed, unseen."""
    said = OTTO.given(INSPECTIONS, checked(FAILED), checked(PASSED, 2, based_on=1), held(2, FAILED, based_on=1))
    [_, conflict] = [one.fact for one in said.when(ReleaseHeldChecks()).facts]
    assert (conflict.current, conflict.incoming) == (PASSED, FAILED)


def story_of(seed: Given, *commands: Command) -> list[str]:
    """What becomes of commands, one after another."""
    outcomes = []
    for command in commands:
        outcome = seed.when(command)
        outcomes.append(outcome.answer.outcome)
        seed = seed.given(INSPECTIONS, *(one.fact for one in outcome.facts))
    return outcomes


def test_a_tablet_that_comes_back_step_by_step_in_any_order() -> None:
    steps = [offline(1), offline(2, FAILED), offline(3, item="bolt")]
    assert story_of(ONGOING, *steps) == ["recorded"] * 3
    assert story_of(ONGOING, *reversed(steps)) == ["held", "held", "recorded"]
    assert story_of(ONGOING, steps[1], steps[1], steps[0], steps[0], steps[2]) == [
        "held",
        "unchanged",
        "recorded",
        "unchanged",
        "recorded",
    ]
