"""Conflicts: where people contradict each other about an item; and checks that wait for earlier ones."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Literal

from domain.inspections.checks import (
    CheckHeld,
    CheckStatus,
    CheckValue,
    Clash,
    ConflictFound,
    ConflictResolved,
    HeldCheckReleased,
    Resolution,
)
from domain.inspections.inspections import INSPECTIONS
from domain.kernel import Recorded
from projections.inspections.sheets import inspection_of
from projections.kernel import Key, Look, View, at, row


@row
class ConflictRow:
    """Two values of an item that exclude each other, and what was decided. `base` is what the later author had seen."""

    inspection_id: str
    number: int
    team_id: str
    inspection_type_id: str
    item: str
    status: Literal["open", "resolved"] = "open"
    clash: tuple[Clash, ...]
    base: CheckValue
    current: CheckValue
    current_revision: int
    current_by: str | None
    current_at: datetime | None
    incoming: CheckValue
    incoming_by: str
    incoming_at: datetime
    found_at: datetime
    resolution: Resolution | None = None
    resolved: CheckValue | None = None
    resolved_by: str | None = None
    resolved_at: datetime | None = None


def _number(happened: Recorded[ConflictFound] | Recorded[ConflictResolved], look: Look) -> Iterable[Key]:
    return [(happened.id, happened.fact.number)]


def found(_: ConflictRow | None, happened: Recorded[ConflictFound], look: Look, key: Key) -> ConflictRow:
    fact, inspection = happened.fact, inspection_of(look, happened.id)
    return ConflictRow(
        inspection_id=happened.id,
        number=fact.number,
        team_id=inspection.team_id,
        inspection_type_id=inspection.inspection_type_id,
        item=fact.item,
        clash=fact.clash,
        base=fact.base,
        current=fact.current,
        current_revision=fact.current_revision,
        current_by=fact.current_by,
        current_at=fact.current_at,
        incoming=fact.incoming,
        incoming_by=fact.incoming_by,
        incoming_at=fact.incoming_at,
        found_at=happened.at,
    )


def resolved(conflict: ConflictRow, happened: Recorded[ConflictResolved], look: Look, key: Key) -> ConflictRow:
    fact = happened.fact
    return replace(
        conflict,
        status="resolved",
        resolution=fact.resolution,
        resolved=fact.value,
        resolved_by=fact.by,
        resolved_at=fact.at,
    )


CONFLICTS_VIEW = View(
    name="conflicts",
    row=ConflictRow,
    key=("inspection_id", "number"),
    filters=("status", "inspection_id", "team_id"),
    indexes=("found_at desc, inspection_id desc, number desc",),
    folds={INSPECTIONS: {ConflictFound: at(_number, found), ConflictResolved: at(_number, resolved)}},
)


@row
class HeldCheckRow:
    """A check that was made offline (a step of its device's branch) and waits for those before it; gone once it is released."""

    inspection_id: str
    branch: str
    step: int
    team_id: str
    item: str
    status: CheckStatus
    comment: str | None
    based_on: int
    by: str
    at: datetime
    held_at: datetime


def _step(happened: Recorded[CheckHeld] | Recorded[HeldCheckReleased], look: Look) -> Iterable[Key]:
    return [(happened.id, happened.fact.branch, happened.fact.step)]


def held(_: HeldCheckRow | None, happened: Recorded[CheckHeld], look: Look, key: Key) -> HeldCheckRow:
    fact = happened.fact
    return HeldCheckRow(
        inspection_id=happened.id,
        branch=fact.branch,
        step=fact.step,
        team_id=inspection_of(look, happened.id).team_id,
        item=fact.item,
        status=fact.value.status,
        comment=fact.value.comment,
        based_on=fact.based_on,
        by=fact.by,
        at=fact.at,
        held_at=fact.since,
    )


def released(_: HeldCheckRow | None, happened: Recorded[HeldCheckReleased], look: Look, key: Key) -> None:
    return None


HELD_CHECKS_VIEW = View(
    name="held_checks",
    row=HeldCheckRow,
    key=("inspection_id", "branch", "step"),
    filters=("inspection_id", "team_id"),
    indexes=("held_at, inspection_id, branch, step",),
    folds={INSPECTIONS: {CheckHeld: at(_step, held), HeldCheckReleased: at(_step, released)}},
)
