"""What may be asked of attachments: by the routes of uploads, with what these know and have found, and by a timer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, ClassVar
from unicodedata import category

from pydantic import AfterValidator, BaseModel, Field
from pydantic_core import PydanticCustomError

from commands.kernel import Asked, Command, Consults, Decision, Id, Name
from domain.attachments import (
    LAST_CALL,
    TIME_TO_COME,
    Attachment,
    AttachmentAbandoned,
    AttachmentAlreadyDeclared,
    AttachmentAlreadyStored,
    AttachmentDeclared,
    AttachmentNotDue,
    AttachmentOverdue,
    AttachmentStatus,
    AttachmentStored,
    NothingToAttachTo,
    PartUnknown,
)
from domain.bookings.bookings import BOOKINGS
from domain.kernel import NotYours
from domain.people import TEAMS, Team
from domain.roles import CREW, Role

SENDERS = CREW | {Role.TEAM_LEADER, Role.TEAM_MEMBER}
MOST_BYTES = 5 * 1024**3
MOST_PARTS = 10_000
UNSEEN = {"Cc", "Cs", "Zl", "Zp"}  # control characters, halves of characters, ends of lines


def _visible(name: str) -> str:
    if any(category(character) in UNSEEN for character in name):
        raise PydanticCustomError("control_character", "A file's name may not contain control characters")
    return name


FileName = Annotated[Name, AfterValidator(_visible)]
Bytes = Annotated[int, Field(ge=1, le=MOST_BYTES, description="Bytes")]
MediaType = Annotated[str, Field(pattern=r"^[a-z]+/[a-z0-9.+-]{1,100}$", description="As its signature says")]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of all bytes, in hexadecimal")]
PartNumber = Annotated[int, Field(ge=1, le=MOST_PARTS)]


def must_be_of(team: Team, asked: Asked) -> None:
    """Raise NotYours unless the crew asks, or somebody of this team."""
    if not asked.by.roles & CREW and not team.has_user(asked.by.subject):
        raise NotYours


class Expected(BaseModel):
    """Which bytes an attachment waits for, where they go, and until when they may be sent."""

    status: AttachmentStatus
    name: str
    size: int
    media_type: str
    sha256: str
    key: str
    parts: int
    until: datetime


def _expected(attachment: Attachment) -> Expected:
    assert attachment.declared is not None
    assert attachment.status is not None
    file = attachment.declared
    return Expected(
        status=attachment.status,
        name=file.name,
        size=file.size,
        media_type=file.media_type,
        sha256=file.sha256,
        key=file.key,
        parts=file.parts,
        until=file.complete_by - LAST_CALL,
    )


class DeclareAttachment(Command):
    """Say which file is about to be sent as evidence on a booking, or on an item of its inspection.

    Where its bytes go, and in how many parts, is not for its sender to say, and no part of what he asks for.
    """

    booking_id: Id
    item: Name | None = None
    name: FileName
    size: Bytes
    media_type: MediaType
    sha256: Sha256
    key: str = Field(max_length=1_000, exclude=True)
    parts: PartNumber = Field(exclude=True)
    allows: ClassVar = SENDERS
    refuses: ClassVar = (NothingToAttachTo, NotYours, AttachmentAlreadyDeclared, AttachmentOverdue)
    creates: ClassVar = True
    by_hand: ClassVar = True
    answers: ClassVar = Expected

    def consults(self, attachment: Attachment, asked: Asked) -> Consults:
        yield BOOKINGS, self.booking_id
        if asked.seen[BOOKINGS].status is not None:
            yield TEAMS, asked.seen[BOOKINGS].team_id

    def decide(self, attachment: Attachment, asked: Asked) -> Decision:
        if asked.seen[BOOKINGS].status is None:
            raise NothingToAttachTo(booking_id=self.booking_id)
        must_be_of(asked.seen[TEAMS], asked)
        if attachment.declared is None:
            yield AttachmentDeclared(
                booking_id=self.booking_id,
                team_id=asked.seen[BOOKINGS].team_id,
                item=self.item,
                name=self.name,
                size=self.size,
                media_type=self.media_type,
                sha256=self.sha256,
                key=self.key,
                parts=self.parts,
                complete_by=asked.now + TIME_TO_COME,
                by=asked.by.subject,
            )
        elif not self._repeats(attachment.declared):
            raise AttachmentAlreadyDeclared
        elif attachment.status == "abandoned":
            raise AttachmentOverdue

    def _repeats(self, file: AttachmentDeclared) -> bool:
        return (self.booking_id, self.item, self.name, self.size, self.media_type, self.sha256) == (
            file.booking_id,
            file.item,
            file.name,
            file.size,
            file.media_type,
            file.sha256,
        )

    def answer(self, state: Any, facts: Sequence[object]) -> Expected:
        return _expected(state)


class ExpectAttachment(Command):
    """Ask which bytes an attachment waits for, before a part is sent, or all of them are looked at; nothing happens by it."""

    part: PartNumber | None = None
    allows: ClassVar = SENDERS
    refuses: ClassVar = (NotYours, PartUnknown, AttachmentAlreadyStored, AttachmentOverdue)
    by_hand: ClassVar = True
    answers: ClassVar = Expected

    def consults(self, attachment: Attachment, asked: Asked) -> Consults:
        yield TEAMS, attachment.team_id

    def decide(self, attachment: Attachment, asked: Asked) -> Decision:
        must_be_of(asked.seen[TEAMS], asked)
        if self.part is not None and self.part > attachment.parts:
            raise PartUnknown(parts=attachment.parts)
        if self.part is not None and attachment.status == "stored":
            raise AttachmentAlreadyStored
        if attachment.status != "stored" and not attachment.may_come(asked.now):
            raise AttachmentOverdue
        yield from ()

    def answer(self, state: Any, facts: Sequence[object]) -> Expected:
        return _expected(state)


class CompleteAttachment(Command):
    """Say that all bytes are there for good, and what they were found to be."""

    size: Bytes
    sha256: Sha256
    media_type: MediaType
    allows: ClassVar = SENDERS
    refuses: ClassVar = (NotYours, AttachmentOverdue)
    by_hand: ClassVar = True

    def consults(self, attachment: Attachment, asked: Asked) -> Consults:
        yield TEAMS, attachment.team_id

    def decide(self, attachment: Attachment, asked: Asked) -> Decision:
        must_be_of(asked.seen[TEAMS], asked)
        if attachment.status == "abandoned":
            raise AttachmentOverdue
        if attachment.status == "declared" and attachment.declared is not None:
            key = attachment.declared.key
            yield AttachmentStored(key=key, size=self.size, sha256=self.sha256, media_type=self.media_type)


class AbandonAttachment(Command):
    """Give up waiting for the bytes of an attachment; what came of them is thrown away."""

    allows: ClassVar = frozenset({Role.SYSTEM})
    refuses: ClassVar = (AttachmentNotDue,)

    def decide(self, attachment: Attachment, asked: Asked) -> Decision:
        if attachment.status != "declared" or attachment.declared is None:
            return
        if asked.now < attachment.declared.complete_by:
            raise AttachmentNotDue(complete_by=attachment.declared.complete_by)
        yield AttachmentAbandoned(key=attachment.declared.key)
