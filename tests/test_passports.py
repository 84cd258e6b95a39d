"""Passports: what was passed on the strength of a test that counts no more is open again."""

from __future__ import annotations

from commands.inspections.passports import RevokeApproval
from domain.inspections.passports import (
    PASSPORTS,
    ApprovalDenied,
    ApprovalGiven,
    ApprovalReopened,
    ApprovalRevoked,
    NothingToRevoke,
)
from domain.inspections.types import PREREQUISITES
from domain.people import TEAMS, TeamRegistered
from tests.given import given
from tests.test_inspection_types import declared

ORDER = (
    declared("mechanical", EV=(), CV=()),
    declared("tilt", EV=("mechanical",), CV=("mechanical",)),
    declared("noise", CV=("tilt",)),
    declared("rain", EV=("tilt",)),
    declared("brake", EV=("rain",), CV=("noise",)),
)
REVOKE = RevokeApproval(inspection_type_id="mechanical", reason="A new wishbone")


def passed(type_id: str) -> ApprovalGiven:
    """That a test was passed in an inspection of its own."""
    return ApprovalGiven(inspection_type_id=type_id, inspection_id=f"{type_id}-1", result="passed")


def revoked(type_id: str) -> ApprovalRevoked:
    """That a test counts no more."""
    return ApprovalRevoked(inspection_type_id=type_id, inspection_id=f"{type_id}-1", reason="A new wishbone", by="ada")


def reopened(type_id: str) -> ApprovalReopened:
    """That a test is open again, because of the mechanical one."""
    return ApprovalReopened(inspection_type_id=type_id, inspection_id=f"{type_id}-1", because="mechanical")


ELECTRIC = given(TEAMS, TeamRegistered(name="Volts", code="V", vehicle_class="EV")).given(PREREQUISITES, *ORDER)
COMBUSTION = given(TEAMS, TeamRegistered(name="Pistons", code="P", vehicle_class="CV")).given(PREREQUISITES, *ORDER)


def test_all_that_was_passed_after_a_revoked_test_is_open_again() -> None:
    story = ELECTRIC.given(PASSPORTS, *map(passed, ("mechanical", "tilt", "rain", "brake")))
    story.when(REVOKE).then(revoked("mechanical"), reopened("tilt"), reopened("rain"), reopened("brake"))


def test_what_was_not_passed_is_not_opened_again() -> None:
    failed = ApprovalDenied(inspection_type_id="rain", inspection_id="rain-1")
    ELECTRIC.given(PASSPORTS, passed("mechanical"), passed("tilt"), failed).when(REVOKE).then(
        revoked("mechanical"), reopened("tilt")
    )


def test_what_follows_is_by_the_class_of_the_teams_car() -> None:
    COMBUSTION.given(PASSPORTS, *map(passed, ("mechanical", "tilt", "noise", "rain"))).when(REVOKE).then(
        revoked("mechanical"), reopened("tilt"), reopened("noise")
    )


def test_what_came_before_still_counts() -> None:
    story = ELECTRIC.given(PASSPORTS, *map(passed, ("mechanical", "tilt")))
    story.when(REVOKE.model_copy(update={"inspection_type_id": "tilt"})).then(revoked("tilt"))


def test_only_what_counts_is_revoked() -> None:
    story = ELECTRIC.given(PASSPORTS, passed("mechanical"), passed("tilt"), revoked("mechanical"), reopened("tilt"))
    story.when(REVOKE).refused(NothingToRevoke, inspection_type_id="mechanical")
    story.when(REVOKE.model_copy(update={"inspection_type_id": "tilt"})).refused(NothingToRevoke)
    story.when(REVOKE.model_copy(update={"inspection_type_id": "brake"})).refused(NothingToRevoke)
