"""Attachments, as the crew and teams see them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from domain.attachments import (
    ATTACHMENTS,
    AttachmentAbandoned,
    AttachmentDeclared,
    AttachmentStatus,
    AttachmentStored,
)
from domain.kernel import Recorded
from projections.kernel import Look, View, row


@row
class AttachmentRow:
    """A file on a booking, or on an item of its inspection; its bytes are at `key` once it is stored."""

    id: str
    booking_id: str
    team_id: str
    item: str | None
    name: str
    size: int
    media_type: str
    sha256: str
    key: str
    by: str
    declared_at: datetime
    complete_by: datetime
    stored_at: datetime | None = None
    status: AttachmentStatus = "declared"
    version: int = 0


def declared(_: AttachmentRow | None, happened: Recorded[AttachmentDeclared], look: Look) -> AttachmentRow:
    fact = happened.fact
    return AttachmentRow(
        id=happened.id,
        booking_id=fact.booking_id,
        team_id=fact.team_id,
        item=fact.item,
        name=fact.name,
        size=fact.size,
        media_type=fact.media_type,
        sha256=fact.sha256,
        key=fact.key,
        by=fact.by,
        declared_at=happened.at,
        complete_by=fact.complete_by,
        version=happened.version,
    )


def stored(attachment: AttachmentRow, happened: Recorded[AttachmentStored], look: Look) -> AttachmentRow:
    fact = happened.fact
    return replace(
        attachment,
        status="stored",
        key=fact.key,
        size=fact.size,
        sha256=fact.sha256,
        media_type=fact.media_type,
        stored_at=happened.at,
        version=happened.version,
    )


def abandoned(attachment: AttachmentRow, happened: Recorded[AttachmentAbandoned], look: Look) -> AttachmentRow:
    return replace(attachment, status="abandoned", version=happened.version)


ATTACHMENTS_VIEW = View(
    name="attachments",
    row=AttachmentRow,
    key=("id",),
    filters=("booking_id", "team_id", "item", "status"),
    indexes=("booking_id, declared_at, id",),
    folds={ATTACHMENTS: {AttachmentDeclared: declared, AttachmentStored: stored, AttachmentAbandoned: abandoned}},
)
