"""Follow-ups: what has to be mended, until it is."""

from __future__ import annotations

from commands.inspections.follow_ups import OpenFollowUp, ResolveFollowUp
from domain.inspections.follow_ups import FOLLOW_UPS, FollowUpIsResolved, FollowUpOpened, FollowUpResolved
from domain.roles import Role
from tests.given import given

OPENED = FollowUpOpened(inspection_id="inspection", item="B-1", comment="Leaks")
RESOLVED = FollowUpResolved(note="Sealed")
OPEN = OpenFollowUp(inspection_id="inspection", item="B-1", comment="Leaks")
RESOLVE = ResolveFollowUp(note="Sealed")


def test_a_failed_item_is_followed_up() -> None:
    given(FOLLOW_UPS).when(OPEN).then(OPENED)


def test_it_is_followed_up_once_at_a_time() -> None:
    given(FOLLOW_UPS, OPENED).when(OPEN).then()
    given(FOLLOW_UPS, OPENED, RESOLVED).when(OPEN).then(OPENED)


def test_what_was_mended_is_resolved() -> None:
    given(FOLLOW_UPS, OPENED).when(RESOLVE).then(RESOLVED)


def test_a_second_note_is_not_lost_in_silence() -> None:
    given(FOLLOW_UPS, OPENED, RESOLVED).when(RESOLVE).refused(FollowUpIsResolved)


def test_an_item_that_does_not_fail_any_more_may_have_been_resolved_by_hand_before() -> None:
    given(FOLLOW_UPS, OPENED, RESOLVED).by("fieldlog", Role.SYSTEM).when(ResolveFollowUp()).then()
