"""Attachments: files as evidence, on a booking or on an item of its inspection. Bytes first, then the fact that they are there.

(none) --declare--> declared --complete--> stored
declared --abandon--> abandoned
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Literal

from domain.kernel import Refused, Stream, fact, state


@fact
class AttachmentDeclared:
    """Somebody is about to send a file of this name, size (bytes) and type; its bytes go to `key` and nowhere else."""

    booking_id: str
    team_id: str
    name: str
    size: int
    media_type: str
    sha256: str
    key: str
    complete_by: datetime
    by: str
    item: str | None = None
    parts: int = 1


@fact
class AttachmentStored:
    """The bytes are there for good: of this size, hash and type, as they were found to be."""

    size: int
    sha256: str
    media_type: str


@fact
class AttachmentAbandoned:
    """The bytes did not come in time; what came of them is thrown away."""

    key: str


@state
class Attachment:
    """What was declared, and whether it has come."""

    status: Literal["declared", "stored", "abandoned"] | None = None
    declared: AttachmentDeclared | None = None


def evolve(attachment: Attachment, happened: object) -> Attachment:
    """Return the attachment after what happened."""
    match happened:
        case AttachmentDeclared():
            return replace(attachment, status="declared", declared=happened)
        case AttachmentStored():
            return replace(attachment, status="stored")
        case AttachmentAbandoned():
            return replace(attachment, status="abandoned")
    return attachment


ATTACHMENTS = Stream(
    "attachments",
    Attachment(),
    evolve,
    {
        "attachments.declared.v1": AttachmentDeclared,
        "attachments.stored.v1": AttachmentStored,
        "attachments.abandoned.v1": AttachmentAbandoned,
    },
)


class AttachmentAlreadyDeclared(Refused):
    """An attachment with this id is declared already, otherwise."""


class AttachmentNotDeclared(Refused):
    """This attachment is not waiting for its bytes."""


class AttachmentNotDue(Refused):
    """There is still time for the bytes to come."""


class NothingToAttachTo(Refused):
    """There is no such booking."""
