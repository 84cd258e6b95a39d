"""Attachments: files as evidence, on a booking or on an item of its inspection. Bytes first, then the fact that they are there.

(none) --declare--> declared --complete--> stored
declared --abandon--> abandoned (the bytes did not come in time)
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal

from domain.kernel import Refused, Stream, fact, state

TIME_TO_COME = timedelta(days=1)
LAST_CALL = timedelta(minutes=10)
AttachmentStatus = Literal["declared", "stored", "abandoned"]


@fact
class AttachmentDeclared:
    """Somebody is about to send a file of this name, size (bytes) and type; its bytes go to `key` and nowhere else.

    It is sent in so many parts of the same size, the last one of what is left. What has not come until `complete_by` is
    thrown away.
    """

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
    """The bytes are there for good, at `key`: of this size, hash and type, as they were found to be."""

    key: str
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

    status: AttachmentStatus | None = None
    declared: AttachmentDeclared | None = None

    @property
    def team_id(self) -> str:
        """Whose it is."""
        return self.declared.team_id if self.declared is not None else ""

    @property
    def parts(self) -> int:
        """In how many parts it is sent."""
        return self.declared.parts if self.declared is not None else 0

    def may_come(self, now: datetime) -> bool:
        """Say whether bytes may still be sent: what is on its way then ends before all of it is thrown away."""
        return self.status == "declared" and self.declared is not None and now < self.declared.complete_by - LAST_CALL


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


class AttachmentAlreadyStored(Refused):
    """The bytes of this attachment are there already."""


class AttachmentOverdue(Refused):
    """The time in which the bytes could come is over; declare another attachment."""


class AttachmentNotDue(Refused):
    """There is still time for the bytes to come."""


class PartUnknown(Refused):
    """This attachment is sent in fewer parts."""


class NothingToAttachTo(Refused):
    """There is no such booking."""
