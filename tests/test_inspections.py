"""Inspections: from the car that has come to a result, and back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from commands.inspections.inspections import (
    AddAdHocItem,
    CompleteInspection,
    GiveFeedback,
    MigrateChecklist,
    Migrated,
    PrepareInspection,
    ReopenInspection,
    ResumeInspection,
    StartInspection,
    SuspendInspection,
)
from commands.kernel import Command
from domain.inspections.checklists import (
    CHECKLIST_VERSIONS,
    CHECKLISTS,
    ChecklistDrafted,
    ChecklistPublished,
    ChecklistRetired,
    Difference,
    Item,
    VersionPublished,
    VersionUnknown,
)
from domain.inspections.checks import (
    OPEN,
    CheckHeld,
    CheckStatus,
    CheckValue,
    ConflictFound,
    ItemAlreadyThere,
    ItemChecked,
)
from domain.inspections.inspections import (
    INSPECTIONS,
    AdHocItemAdded,
    AlreadyMigrated,
    ChecklistMigrated,
    ChecksHeld,
    ConflictsOpen,
    FeedbackAlreadyGiven,
    FeedbackGiven,
    InspectionAlreadyPrepared,
    InspectionCompleted,
    InspectionNotCompleted,
    InspectionNotOngoing,
    InspectionNotReady,
    InspectionNotSuspended,
    InspectionOver,
    InspectionPrepared,
    InspectionReopened,
    InspectionResumed,
    InspectionStarted,
    InspectionSuspended,
    ItemsFailed,
    ItemsOpen,
    ReasonsMissing,
)
from domain.inspections.passports import (
    PASSPORTS,
    ApprovalDenied,
    ApprovalGiven,
    ApprovalReopened,
    ApprovalRevoked,
    PrerequisitesMissing,
)
from domain.inspections.types import PREREQUISITES, ClassRules, PrerequisitesDeclared
from domain.kernel import NotYours
from domain.people import TEAMS, MemberEnlisted, TeamRegistered
from domain.roles import Role
from tests.given import NOW, Given, given, on

PREPARE = PrepareInspection(team_id="team", inspection_type_id="mechanical", vehicle_class="EV")
PREPARED = InspectionPrepared(team_id="team", inspection_type_id="mechanical", vehicle_class="EV")
STARTED = InspectionStarted(checklist_version=1, by="vera", at=NOW)
SUSPENDED = InspectionSuspended(reason="Rain", at=NOW + timedelta(minutes=10))
RESUMED = InspectionResumed(at=NOW + timedelta(minutes=30))
REOPENED = InspectionReopened(reason="Belt seen loose", by="rita", at=NOW)
TEAM = TeamRegistered(name="Ljubljana", code="LJU", vehicle_class="EV")
ANA = MemberEnlisted(person_id="ana-1", user="ana", roles=("team_leader",))

BELT = Item(code="belt", section="Belts", description="Belt is sound")
BOLT = Item(code="bolt", section="Belts", description="Bolt is tight", order_index=1)
STICKER = Item(code="sticker", section="Looks", description="Sticker is there", required=False)
EXHAUST = Item(code="exhaust", section="Noise", description="Exhaust is tight", vehicle_class="CV")
WING = Item(code="wing", section="Aero", description="Wing does not move")
VERSION = VersionPublished(checklist_id="mechanical", version=1, items=(BELT, BOLT, STICKER, EXHAUST))
NEXT = VersionPublished(
    checklist_id="mechanical", version=2, items=(replace(BELT, required=False), STICKER, EXHAUST, WING)
)

PUBLISHED = given(CHECKLISTS, ChecklistDrafted(items=VERSION.items), ChecklistPublished(version=1, items=4)).given(
    CHECKLIST_VERSIONS, VERSION
)
READY = PUBLISHED.given(INSPECTIONS, PREPARED).by("vera", Role.SCRUTINEER)
ONGOING = READY.given(INSPECTIONS, STARTED)
WAITING = ONGOING.given(INSPECTIONS, SUSPENDED)


def checked(item: str, status: CheckStatus = "passed", revision: int = 1) -> ItemChecked:
    """Somebody said how an item stands."""
    value = CheckValue(status=status)
    return ItemChecked(item=item, revision=revision, value=value, by="vera", at=NOW, based_on=revision - 1)


def completed(result: Any = "passed", **more: Any) -> InspectionCompleted:
    """The inspection came to a result."""
    fields = {"seconds": 0, "by": "vera", "open_items": 1, **more}
    return InspectionCompleted(team_id="team", inspection_type_id="mechanical", result=result, **fields)


def approval(result: Any = "passed", test: str = "mechanical", inspection: str = "inspection") -> ApprovalGiven:
    """The car passed a test."""
    return ApprovalGiven(inspection_type_id=test, inspection_id=inspection, result=result)


def needs(test: str, *before: str) -> PrerequisitesDeclared:
    """A test comes after others."""
    return PrerequisitesDeclared(
        inspection_type_id=test, classes=(ClassRules(vehicle_class="EV", prerequisites=before),)
    )


CHECKED = ONGOING.given(INSPECTIONS, checked("belt"), checked("bolt"))
DENIED = ApprovalDenied(inspection_type_id="mechanical", inspection_id="inspection")
TILTED = ApprovalReopened(inspection_type_id="tilt", inspection_id="tilted", because="mechanical")
BRAKED = ApprovalReopened(inspection_type_id="brake", inspection_id="braked", because="mechanical")
ON_THE_STRENGTH_OF_IT = (
    CHECKED.given(PREREQUISITES, needs("tilt", "mechanical"), needs("brake", "tilt"), needs("noise"))
    .given(PASSPORTS, approval(inspection="former"), approval(test="tilt", inspection="tilted"))
    .given(PASSPORTS, approval(test="brake", inspection="braked"), approval(test="noise", inspection="heard"))
)
DONE = CHECKED.given(INSPECTIONS, completed()).given(TEAMS, TEAM, ANA)


def test_the_inspection_of_a_car_that_has_come_is_prepared_once() -> None:
    PUBLISHED.when(PREPARE).then(PREPARED)
    READY.when(PREPARE).refused(InspectionAlreadyPrepared)


def test_an_inspection_starts_by_the_newest_version_of_its_checklist() -> None:
    READY.when(StartInspection()).then(STARTED)
    READY.given(CHECKLISTS, ChecklistPublished(version=2, items=4)).when(StartInspection()).then(
        replace(STARTED, checklist_version=2)
    )


def test_an_inspection_starts_by_what_is_published_while_another_version_is_drafted() -> None:
    READY.given(CHECKLISTS, ChecklistDrafted(items=(BELT,))).when(StartInspection()).then(STARTED)


@pytest.mark.parametrize(
    "story",
    [
        given(INSPECTIONS, PREPARED),
        given(INSPECTIONS, PREPARED).given(CHECKLISTS, ChecklistDrafted(items=(BELT,))),
        READY.given(CHECKLISTS, ChecklistRetired()),
    ],
    ids=["there is none", "none is published", "it is retired"],
)
def test_an_inspection_starts_without_a_checklist(story: Given) -> None:
    story.by("vera", Role.SCRUTINEER).when(StartInspection()).then(replace(STARTED, checklist_version=None))


def test_an_inspection_starts_once() -> None:
    ONGOING.when(StartInspection()).refused(InspectionNotReady, status="ongoing")


def test_an_inspection_goes_on_by_another_version_and_shows_what_is_different() -> None:
    outcome = ONGOING.given(CHECKLIST_VERSIONS, NEXT, id="mechanical.2").when(MigrateChecklist(version=2))
    outcome.then(
        ChecklistMigrated(
            from_version=1,
            to_version=2,
            difference=Difference(added=("wing",), removed=("bolt",), changed=("belt",)),
        )
    )
    assert outcome.answer == Migrated(from_version=1, to_version=2, added=["wing"], removed=["bolt"], changed=["belt"])


def test_an_inspection_that_had_no_checklist_goes_on_by_one() -> None:
    bare = READY.given(INSPECTIONS, replace(STARTED, checklist_version=None))
    bare.when(MigrateChecklist(version=1)).then(
        ChecklistMigrated(from_version=None, to_version=1, difference=Difference(added=("belt", "bolt", "sticker")))
    )


def test_an_inspection_goes_on_by_versions_that_there_are() -> None:
    ONGOING.when(MigrateChecklist(version=1)).refused(AlreadyMigrated)
    ONGOING.when(MigrateChecklist(version=2)).refused(VersionUnknown, version=2)


def test_what_was_said_of_items_that_are_gone_does_not_count() -> None:
    torn = ONGOING.given(INSPECTIONS, checked("bolt", "failed"), checked("belt"))
    torn.when(CompleteInspection(result="passed")).refused(ItemsFailed, items=["bolt"])
    migrated = torn.given(CHECKLIST_VERSIONS, NEXT, id="mechanical.2").given(
        INSPECTIONS,
        ChecklistMigrated(from_version=1, to_version=2, difference=Difference(removed=("bolt",))),
        checked("wing"),
    )
    migrated.when(CompleteInspection(result="passed")).then(completed(), on(PASSPORTS, approval()))


def test_officials_look_at_what_is_not_on_the_sheet() -> None:
    ask = AddAdHocItem(code="wing", section="Aero", description="Wing does not move")
    added = AdHocItemAdded(item=WING, by="vera")
    ONGOING.when(ask).then(added)
    CHECKED.given(INSPECTIONS, added).when(CompleteInspection(result="passed")).refused(
        ItemsOpen, items=["wing"], count=1
    )
    ONGOING.given(INSPECTIONS, added).when(ask).refused(ItemAlreadyThere, item="wing")
    ONGOING.when(ask.model_copy(update={"code": "belt"})).refused(ItemAlreadyThere, item="belt")


def test_an_inspection_waits_and_goes_on() -> None:
    ONGOING.when(SuspendInspection(reason="Rain")).then(replace(SUSPENDED, at=NOW))
    WAITING.when(SuspendInspection(reason="Rain")).refused(InspectionNotOngoing, status="suspended")
    WAITING.when(ResumeInspection()).then(InspectionResumed(at=NOW))
    ONGOING.when(ResumeInspection()).refused(InspectionNotSuspended, status="ongoing")


@pytest.mark.parametrize(
    "command",
    [
        MigrateChecklist(version=2),
        AddAdHocItem(code="wing", section="Aero", description="Wing"),
        SuspendInspection(reason="Rain"),
        CompleteInspection(result="passed"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_there_is_a_time_for_everything(command: Command) -> None:
    READY.when(command).refused(InspectionNotOngoing, status="ready")
    DONE.when(command).refused(InspectionOver)


def test_a_passed_inspection_goes_into_the_passport() -> None:
    CHECKED.when(CompleteInspection(result="passed", notes="Well done")).then(
        completed(notes="Well done"), on(PASSPORTS, approval())
    )


def test_the_time_that_an_inspection_waited_does_not_count() -> None:
    rained = CHECKED.given(INSPECTIONS, SUSPENDED, RESUMED).moment(NOW + timedelta(minutes=35))
    rained.when(CompleteInspection(result="passed")).then(completed(seconds=15 * 60), on(PASSPORTS, approval()))


def test_a_suspended_inspection_is_not_completed() -> None:
    WAITING.when(CompleteInspection(result="failed")).refused(InspectionNotOngoing, status="suspended")


@pytest.mark.parametrize("result", ["passed", "conditional_pass", "provisional"])
def test_required_items_that_nobody_checked_refuse_completion(result: Any) -> None:
    ONGOING.given(INSPECTIONS, checked("belt")).when(CompleteInspection(result=result)).refused(
        ItemsOpen, items=["bolt"], count=1
    )


def test_no_more_than_a_hundred_open_items_are_named() -> None:
    many = replace(VERSION, items=tuple(replace(BELT, code=f"item-{number}") for number in range(300)))
    refusal = ONGOING.given(CHECKLIST_VERSIONS, many).when(CompleteInspection(result="passed")).refusal
    assert isinstance(refusal, ItemsOpen)
    assert (len(refusal.details["items"]), refusal.details["count"]) == (100, 300)  # type: ignore[arg-type]


def test_a_required_item_that_failed_is_not_passed_in_full() -> None:
    torn = CHECKED.given(INSPECTIONS, checked("belt", "failed", 2))
    torn.when(CompleteInspection(result="passed")).refused(ItemsFailed, items=["belt"])
    torn.when(CompleteInspection(result="conditional_pass", conditions=("New belt",))).then(
        completed("conditional_pass", conditions=("New belt",), failed_items=("belt",)),
        on(PASSPORTS, approval("conditional_pass")),
    )


def test_an_item_that_is_not_required_may_fail() -> None:
    CHECKED.given(INSPECTIONS, checked("sticker", "failed")).when(CompleteInspection(result="passed")).then(
        completed(failed_items=("sticker",), open_items=0), on(PASSPORTS, approval())
    )


@pytest.mark.parametrize(
    ("result", "missing"),
    [("failed", "reasons"), ("conditional_pass", "conditions"), ("provisional", "next_steps")],
)
def test_a_result_says_why(result: Any, missing: str) -> None:
    CHECKED.when(CompleteInspection(result=result)).refused(ReasonsMissing, missing=missing)


def test_a_provisional_pass_is_one_for_now() -> None:
    CHECKED.when(CompleteInspection(result="provisional", next_steps=("Show the sticker",))).then(
        completed("provisional", next_steps=("Show the sticker",)), on(PASSPORTS, approval("provisional"))
    )


def test_a_car_that_failed_is_not_looked_at_to_the_end() -> None:
    ONGOING.given(INSPECTIONS, checked("belt", "failed")).when(CompleteInspection(result="failed")).then(
        completed("failed", failed_items=("belt",), open_items=2), on(PASSPORTS, DENIED)
    )
    ONGOING.when(CompleteInspection(result="failed", reasons=("Not ready",))).then(
        completed("failed", reasons=("Not ready",), open_items=3), on(PASSPORTS, DENIED)
    )


def test_open_conflicts_refuse_completion_and_are_told() -> None:
    conflict = ConflictFound(
        number=1,
        item="belt",
        clash=("status",),
        base=OPEN,
        current=CheckValue(status="passed"),
        current_revision=1,
        current_by="vera",
        current_at=NOW,
        incoming=CheckValue(status="failed", comment="Torn"),
        incoming_by="otto",
        incoming_at=NOW,
        based_on=0,
    )
    CHECKED.given(INSPECTIONS, conflict).when(CompleteInspection(result="failed")).refused(
        ConflictsOpen,
        conflicts=[
            {
                "number": 1,
                "item_id": "belt",
                "base": {"status": "open", "comment": None},
                "current": {"status": "passed", "comment": None},
                "incoming": {"status": "failed", "comment": "Torn"},
                "modified_by": "vera",
                "modified_at": NOW,
            }
        ],
    )


def test_held_checks_refuse_completion_and_are_told() -> None:
    held = CheckHeld(branch="tablet", step=2, item="belt", value=OPEN, based_on=0, by="otto", at=NOW, since=NOW)
    CHECKED.given(INSPECTIONS, held).when(CompleteInspection(result="failed")).refused(
        ChecksHeld, held=[{"branch": "tablet", "step": 2, "item_id": "belt"}]
    )


def test_a_test_that_is_not_passed_any_more_opens_what_was_passed_after_it() -> None:
    fail = CompleteInspection(result="failed", reasons=("Belt torn",))
    ON_THE_STRENGTH_OF_IT.when(fail).then(
        completed("failed", reasons=("Belt torn",)),
        on(PASSPORTS, DENIED),
        on(PASSPORTS, TILTED),
        on(PASSPORTS, BRAKED),
    )
    ON_THE_STRENGTH_OF_IT.given(PASSPORTS, DENIED).when(fail).then(
        completed("failed", reasons=("Belt torn",)), on(PASSPORTS, DENIED)
    )


def test_no_approval_rests_on_one_that_was_revoked_while_the_car_was_inspected() -> None:
    revoked = ApprovalRevoked(inspection_type_id="papers", inspection_id="read", reason="Forged", by="rita")
    story = CHECKED.given(PREREQUISITES, needs("mechanical", "papers")).given(
        PASSPORTS, approval(test="papers", inspection="read")
    )
    story.when(CompleteInspection(result="passed")).then(completed(), on(PASSPORTS, approval()))
    story = story.given(PASSPORTS, revoked)
    for result in (
        CompleteInspection(result="passed"),
        CompleteInspection(result="conditional_pass", conditions=("Mirror",)),
    ):
        story.when(result).refused(PrerequisitesMissing, missing=["papers"])
    failed = CompleteInspection(result="failed", reasons=("Papers are missing",))
    story.when(failed).then(completed("failed", reasons=("Papers are missing",)), on(PASSPORTS, DENIED))


def test_an_ad_hoc_item_does_not_take_over_what_was_said_of_a_dropped_one() -> None:
    without = VersionPublished(checklist_id="mechanical", version=2, items=(BOLT, STICKER))
    dropped = ChecklistMigrated(from_version=1, to_version=2, difference=Difference(removed=("belt",)))
    CHECKED.given(CHECKLIST_VERSIONS, without, id="mechanical.2").given(INSPECTIONS, dropped).when(
        AddAdHocItem(code="belt", section="Belts", description="Another belt")
    ).refused(ItemAlreadyThere, item="belt")


def test_a_completed_inspection_goes_on_and_its_approval_is_revoked() -> None:
    (
        ON_THE_STRENGTH_OF_IT.given(INSPECTIONS, completed())
        .given(PASSPORTS, approval())
        .by("rita", Role.INSPECTION_RESPONSIBLE)
        .when(ReopenInspection(reason="Belt seen loose"))
        .then(
            REOPENED,
            on(
                PASSPORTS,
                ApprovalRevoked(
                    inspection_type_id="mechanical",
                    inspection_id="inspection",
                    reason="Belt seen loose",
                    by="rita",
                ),
            ),
            on(PASSPORTS, TILTED),
            on(PASSPORTS, BRAKED),
        )
    )


def test_an_approval_by_another_inspection_stays() -> None:
    rita = ON_THE_STRENGTH_OF_IT.given(INSPECTIONS, completed()).by("rita", Role.INSPECTION_RESPONSIBLE)
    rita.when(ReopenInspection(reason="Belt seen loose")).then(REOPENED)


def test_only_a_completed_inspection_is_reopened() -> None:
    ONGOING.when(ReopenInspection(reason="Belt")).refused(InspectionNotCompleted, status="ongoing")


def test_a_reopened_inspection_comes_to_another_result_after_more_time() -> None:
    again = CHECKED.given(INSPECTIONS, completed(seconds=600), REOPENED).moment(NOW + timedelta(minutes=5))
    again.when(CompleteInspection(result="passed")).then(completed(seconds=900), on(PASSPORTS, approval()))


def test_the_team_says_once_how_it_was_inspected() -> None:
    ana = DONE.by("ana", Role.TEAM_LEADER)
    feedback = FeedbackGiven(score=4, by="ana", comment="Quick")
    ana.when(GiveFeedback(score=4, comment="Quick")).then(feedback)
    ana.given(INSPECTIONS, feedback).when(GiveFeedback(score=5)).refused(FeedbackAlreadyGiven)


def test_feedback_is_the_own_teams_and_comes_at_the_end() -> None:
    DONE.by("ben", Role.TEAM_MEMBER).when(GiveFeedback(score=1)).refused(NotYours)
    CHECKED.given(TEAMS, TEAM, ANA).by("ana", Role.TEAM_LEADER).when(GiveFeedback(score=1)).refused(
        InspectionNotCompleted, status="ongoing"
    )
