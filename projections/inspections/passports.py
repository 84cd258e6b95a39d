"""Passports: how each team's car stands in each test."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from domain.inspections.passports import (
    PASSPORTS,
    STATUS,
    ApprovalDenied,
    ApprovalGiven,
    ApprovalReopened,
    ApprovalRevoked,
    ApprovalStatus,
    Result,
)
from domain.kernel import Recorded
from projections.kernel import Key, Look, View, at, row

Judged = ApprovalGiven | ApprovalDenied | ApprovalRevoked | ApprovalReopened


@row
class ApprovalRow:
    """How a team's car stands in a test, by the inspection that this rests on; `because` is the test before it that is not
    passed any more.
    """

    team_id: str
    inspection_type_id: str
    status: ApprovalStatus
    inspection_id: str
    at: datetime
    result: Result | None = None
    reason: str | None = None
    because: str | None = None


def _test(happened: Recorded[Judged], look: Look) -> Iterable[Key]:
    return [(happened.id, happened.fact.inspection_type_id)]


def judged(_: ApprovalRow | None, happened: Recorded[Judged], look: Look, key: Key) -> ApprovalRow:
    fact = happened.fact
    return ApprovalRow(
        team_id=happened.id,
        inspection_type_id=fact.inspection_type_id,
        status=STATUS[type(fact)],
        inspection_id=fact.inspection_id,
        at=happened.at,
        result=fact.result if isinstance(fact, ApprovalGiven) else None,
        reason=fact.reason if isinstance(fact, ApprovalRevoked) else None,
        because=fact.because if isinstance(fact, ApprovalReopened) else None,
    )


PASSPORTS_VIEW = View(
    name="passports",
    row=ApprovalRow,
    key=("team_id", "inspection_type_id"),
    filters=("team_id", "inspection_type_id", "status"),
    folds={
        PASSPORTS: {
            ApprovalGiven: at(_test, judged),
            ApprovalDenied: at(_test, judged),
            ApprovalRevoked: at(_test, judged),
            ApprovalReopened: at(_test, judged),
        }
    },
)
