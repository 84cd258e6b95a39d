"""Follow-ups: what is to be mended, and was."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Literal

from domain.inspections.follow_ups import FOLLOW_UPS, FollowUpOpened, FollowUpResolved
from domain.kernel import Recorded
from projections.inspections.sheets import inspection_of
from projections.kernel import Look, View, row


@row
class FollowUpRow:
    """What is to be mended after an item failed."""

    id: str
    inspection_id: str
    team_id: str
    inspection_type_id: str
    item: str
    comment: str | None
    status: Literal["open", "resolved"] = "open"
    opened_at: datetime
    resolved_at: datetime | None = None
    note: str | None = None
    version: int = 0


def opened(_: FollowUpRow | None, happened: Recorded[FollowUpOpened], look: Look) -> FollowUpRow:
    fact = happened.fact
    inspection = inspection_of(look, fact.inspection_id)
    return FollowUpRow(
        id=happened.id,
        inspection_id=fact.inspection_id,
        team_id=inspection.team_id,
        inspection_type_id=inspection.inspection_type_id,
        item=fact.item,
        comment=fact.comment,
        opened_at=happened.at,
        version=happened.version,
    )


def resolved(follow_up: FollowUpRow, happened: Recorded[FollowUpResolved], look: Look) -> FollowUpRow:
    return replace(
        follow_up,
        status="resolved",
        resolved_at=happened.at,
        note=happened.fact.note,
        version=happened.version,
    )


FOLLOW_UPS_VIEW = View(
    name="follow_ups",
    row=FollowUpRow,
    key=("id",),
    filters=("status", "team_id", "inspection_id"),
    indexes=("opened_at desc, id desc", "inspection_id"),
    folds={FOLLOW_UPS: {FollowUpOpened: opened, FollowUpResolved: resolved}},
)
