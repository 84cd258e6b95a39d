"""Uploads: `POST /uploads`, `PUT /uploads/{id}/parts/{n}`, `POST /uploads/{id}/complete`; how files come in.

First the bytes are where they stay, then the fact says that they are there: whatever ends in between, there is never a fact
without its bytes. What is sent again changes nothing, and an object is only ever written with the bytes that were declared.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect

from commands.attachments import (
    MOST_PARTS,
    Bytes,
    CompleteAttachment,
    DeclareAttachment,
    ExpectAttachment,
    Expected,
    FileName,
    MediaType,
    Sha256,
)
from commands.kernel import Command, Id, Name
from domain.attachments import AttachmentOverdue, AttachmentStatus
from infra.log.desk import Desk
from infra.log.order import Receipt
from infra.objects import NoObjectError, Objects, ObjectsError, new_key, part_of
from infra.settings import Settings, media_types
from infra.sniffing import sniffed
from infra.web.edge import context_of
from infra.web.limiting import Limits
from infra.web.problems import (
    BUSY,
    FILE_TOO_LARGE,
    MALFORMED_BODY,
    NO_OBJECTS,
    NOT_AS_DECLARED,
    PARTS_MISSING,
    TYPE_NOT_TAKEN,
    Kind,
    ProblemError,
    encode,
    refusal,
)
from infra.web.tokens import Bearer
from write_api.doors import carried_out, receipt_document
from write_api.openapi import ReceiptShown, told_of
from write_api.orders import SENT, Route, must_be_allowed, must_be_id
from write_api.orders import Request as Sending

log = logging.getLogger(__name__)
router = APIRouter(tags=["uploads"])

STREAMED = "/uploads/[^/]+/parts/[^/]+"
ROUTES: dict[type[Command], Route] = {route.command: route for route in SENT.values() if route.command.by_hand}
PartNumber = Annotated[int, Path(ge=1, le=MOST_PARTS)]


class Upload(BaseModel):
    """A file that is about to be sent, as evidence on a booking or on an item of its inspection; its `id` is yours to choose."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Id
    booking_id: Id
    item: Name | None = None
    name: FileName
    size: Bytes
    media_type: MediaType
    sha256: Sha256


class UploadShown(ReceiptShown):
    """What is waited for: so many parts, each of `part_size` bytes (the last one has what is left), sent to `put` in any order
    until then; after the last one, `complete` is asked for.
    """

    model_config = ConfigDict(title="UploadReceipt")

    status: AttachmentStatus
    parts: int
    part_size: int
    put: str = Field(description="URI template (RFC 6570) of the address of part n = 1, 2, ...")
    complete: str
    until: datetime


@dataclass(frozen=True)
class Service:
    """What uploads need of the write API."""

    desk: Callable[[], Desk]
    authenticate: Bearer
    limits: Limits
    objects: Objects
    settings: Settings


class Sender:
    """Whoever sends a request about an upload."""

    def __init__(self, request: Request, service: Service, sending: Sending) -> None:
        self.service, self._sending, self._context = service, sending, context_of(request.scope)

    async def ask(self, id: str, command: Command) -> Receipt:
        """Carry out a command under the conditions of the request's headers. Raises ProblemError."""
        order = self._sending.order(ROUTES[type(command)], id, command)
        return await carried_out(self.service.desk, order, self._context)

    async def expected(self, id: str, part: int | None = None) -> Expected:
        """Return which bytes an attachment waits for. Raises ProblemError."""
        must_be_id(id)
        command = ExpectAttachment(part=part)
        order = self._sending.inquiry(ROUTES[ExpectAttachment], id, command)
        answer = (await carried_out(self.service.desk, order, self._context)).answer
        assert isinstance(answer, Expected)
        return answer

    def new_key(self) -> str:
        """Return where the bytes of another file of this organisation go."""
        return new_key(self._sending.principal.tenant_id)


async def _sender(request: Request) -> Sender:
    service: Service = request.app.state.uploads
    principal = await service.limits.recognised(request.scope, service.authenticate(request.scope))
    await service.limits.charge(request.scope, principal)
    must_be_allowed(ROUTES[DeclareAttachment], principal)
    return Sender(request, service, Sending(request.scope, context_of(request.scope), principal))


Sends = Annotated[Sender, Depends(_sender)]


@router.post(
    "/uploads",
    status_code=201,
    response_model=UploadShown,
    **told_of(DeclareAttachment, FILE_TOO_LARGE, TYPE_NOT_TAKEN),
)
async def declare(sender: Sends, sent: Upload) -> Response:
    """Declare a file; the answer says in how many parts its bytes are sent, where to, and until when."""
    settings = sender.service.settings
    if sent.size > settings.upload_bytes:
        raise _wrong(FILE_TOO_LARGE, "size", f"A file has at most {settings.upload_bytes} bytes.")
    types = media_types(settings.upload_types)
    if sent.media_type not in types:
        raise _not_taken(sent.media_type, types)
    parts = -(-sent.size // settings.upload_part_bytes)
    command = DeclareAttachment(**sent.model_dump(exclude={"id"}), key=sender.new_key(), parts=parts)
    receipt = await sender.ask(sent.id, command)
    file = receipt.answer
    assert isinstance(file, Expected)
    place = f"/uploads/{sent.id}"
    shown = UploadShown(
        **receipt_document(Receipt(receipt.id, receipt.version, receipt.position, receipt.facts)),
        status=file.status,
        parts=file.parts,
        part_size=_size_of(file, 1),
        put=f"{place}/parts/{{n}}",
        complete=f"{place}/complete",
        until=file.until,
    )
    return _answer(201, receipt, shown.model_dump(mode="json"))


@router.put(
    "/uploads/{id}/parts/{n}",
    status_code=204,
    response_class=Response,
    openapi_extra={"requestBody": {"content": {"application/octet-stream": {}}, "required": True}},
    **told_of(ExpectAttachment, FILE_TOO_LARGE, NOT_AS_DECLARED, MALFORMED_BODY, NO_OBJECTS),
)
async def part(sender: Sends, request: Request, id: str, n: PartNumber) -> Response:
    """Send the bytes of a part, as they are; sent again, they replace what was sent before."""
    file = await sender.expected(id, part=n)
    objects, size = sender.service.objects, _size_of(file, n)
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) != size:
        raise _not_so_large(int(length), size)
    async with _kept_in_time(file):
        await objects.put(part_of(file.key, n), _whole(request, size))
        if await objects.size(file.key) is not None:  # it was completed meanwhile, and the parts were thrown away
            await objects.forget_parts(file.key)
    return Response(status_code=204)


@router.post(
    "/uploads/{id}/complete",
    response_model=ReceiptShown,
    **told_of(CompleteAttachment, PARTS_MISSING, TYPE_NOT_TAKEN, NOT_AS_DECLARED, NO_OBJECTS),
)
async def complete(sender: Sends, id: str) -> Response:
    """Say that all parts are sent; they are put together if they are what was declared. Repeated, it changes nothing."""
    file = await sender.expected(id)
    objects = sender.service.objects
    if file.status == "declared":
        async with _kept_in_time(file):
            await _bring_together(objects, file, media_types(sender.service.settings.upload_types))
    command = CompleteAttachment(size=file.size, sha256=file.sha256, media_type=file.media_type)
    receipt = await sender.ask(id, command)
    with suppress(ObjectsError):  # what is left is thrown away when this is repeated, or by the reactor
        await objects.forget_parts(file.key)
    return _answer(200, receipt, receipt_document(receipt))


def _answer(status: int, receipt: Receipt, document: dict[str, Any]) -> Response:
    headers = {"ETag": f'"{receipt.version}"', "Position": str(receipt.position)}
    return Response(encode(document), status, headers, "application/json")


def _size_of(file: Expected, n: int) -> int:
    """Return how many bytes a part has."""
    each = -(-file.size // file.parts)
    return each if n < file.parts else file.size - each * (file.parts - 1)


async def _whole(request: Request, size: int) -> AsyncIterator[bytes]:
    """Yield the body as it comes. Raises ProblemError if it is larger or smaller than it should be, or breaks off."""
    came = 0
    try:
        async for chunk in request.stream():
            came += len(chunk)
            if came > size:
                raise _not_so_large(came, size)
            if chunk:
                yield chunk
    except ClientDisconnect:
        raise ProblemError(MALFORMED_BODY, "The connection ended before the body did.") from None
    if came < size:
        raise _not_so_large(came, size)


async def _bring_together(objects: Objects, file: Expected, types: Collection[str]) -> None:
    """Let the whole file be under its key, if it is what was declared. Raises ProblemError, NoObjectError, ObjectsError."""
    there = await objects.size(file.key)
    if there is not None:  # whoever put it there did not come to say so
        async for _ in _checked(objects.read(file.key, 0, there), file, types):
            pass
        return
    sizes = {n: _size_of(file, n) for n in range(1, file.parts + 1)}
    missing = [n for n, size in sizes.items() if await objects.size(part_of(file.key, n)) != size]
    if missing:
        raise ProblemError(PARTS_MISSING, f"{len(missing)} of {file.parts} parts have not come.", missing=missing)

    async def parts() -> AsyncIterator[bytes]:
        for n, size in sizes.items():
            async for chunk in objects.read(part_of(file.key, n), 0, size):
                yield chunk

    await objects.put(file.key, _checked(parts(), file, types))


async def _checked(chunks: AsyncIterator[bytes], file: Expected, types: Collection[str]) -> AsyncIterator[bytes]:
    """Yield the bytes of a file. Raises ProblemError, before they end, if they are not what was declared, or not taken."""
    digest, size = sha256(), 0
    async for chunk in chunks:
        if not size:
            _must_be(file.media_type, sniffed(chunk), types)
        size += len(chunk)
        await asyncio.to_thread(digest.update, chunk)
        yield chunk
    if size != file.size:
        raise _wrong(NOT_AS_DECLARED, "size", f"{size} bytes came.")
    if digest.hexdigest() != file.sha256:
        raise _wrong(NOT_AS_DECLARED, "sha256", f"What came has the SHA-256 {digest.hexdigest()}.")


def _must_be(declared: str, found: str | None, types: Collection[str]) -> None:
    if found not in types:
        raise _not_taken(found, types)
    if found != declared:
        raise _wrong(NOT_AS_DECLARED, "media_type", f"By its signature, the file is {found}.")


@asynccontextmanager
async def _kept_in_time(file: Expected) -> AsyncIterator[None]:
    """Work on the bytes of an attachment while they may come: what works on them ends before they are thrown away.

    Raises ProblemError.
    """
    try:
        async with asyncio.timeout((file.until - datetime.now(UTC)).total_seconds()):
            yield
    except TimeoutError:
        raise refusal(AttachmentOverdue()) from None
    except NoObjectError as error:  # it was completed meanwhile, and the parts were thrown away
        raise ProblemError(BUSY, headers={"Retry-After": "1"}) from error
    except ObjectsError as error:
        log.warning("objects do not answer", extra={"reason": str(error)})
        raise ProblemError(NO_OBJECTS, headers={"Retry-After": "1"}) from error


def _not_so_large(came: int, size: int) -> ProblemError:
    """Return the problem of a part that is larger or smaller than it should be."""
    kind = FILE_TOO_LARGE if came > size else NOT_AS_DECLARED
    return ProblemError(kind, f"This part has {size} bytes.", headers={"Connection": "close"})


def _not_taken(found: str | None, types: Collection[str]) -> ProblemError:
    """Return the problem of a file of a type that is not taken."""
    said = found or "of a type that is not known"
    return _wrong(TYPE_NOT_TAKEN, "media_type", f"The file is {said}.", allowed=sorted(types))


def _wrong(kind: Kind, field: str, detail: str, **members: Any) -> ProblemError:
    """Return the problem of one field of what was declared."""
    errors = [{"pointer": f"#/{field}", "code": kind.code, "detail": detail}]
    return ProblemError(kind, detail, errors=errors, **members)
