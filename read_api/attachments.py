"""Attachments: `GET /attachments`, `GET /attachments/{id}`, `GET /attachments/{id}/content`."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated
from unicodedata import category
from urllib.parse import quote

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from domain.attachments import AttachmentStatus
from infra.objects import NoObjectError, Objects, ObjectsError
from infra.web.problems import NO_OBJECTS, NO_SUCH_RECORD, NOT_SATISFIABLE, ProblemError, of_kinds
from read_api.kernel import same_tag
from read_api.listing import Filter, Listing, Page, Paging, Shown
from read_api.paddock import PADDOCK, Paddock, named

router = APIRouter(tags=["attachments"])

RANGE = re.compile(r"bytes=(?:([0-9]{1,15})-([0-9]{0,15})|-([0-9]{1,15}))")
UNSAFE = re.compile(r'[/\\:*?"<>|%]')
BYTES = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}
ITEM = f"""json_build_object('id', t.id, 'booking_id', t.booking_id, 'team_id', t.team_id, 'item', t.item, 'name', t.name,
    'size', t.size, 'media_type', t.media_type, 'sha256', t.sha256, 'status', t.status, 'by', t.by,
    'by_name', {named("t.by")}, 'declared_at', t.declared_at, 'stored_at', t.stored_at, 'content',
    case when t.status = 'stored' then '/attachments/' || t.id || '/content' end, 'version', t.version)"""


class Attachment(Shown):
    """A file as evidence on a booking, or on an item of its inspection; its bytes are at `content`, once it is stored."""

    id: str
    booking_id: str
    team_id: str
    item: str | None
    name: str
    size: int
    media_type: str
    sha256: str
    status: AttachmentStatus
    by: str
    by_name: str | None
    declared_at: datetime
    stored_at: datetime | None
    content: str | None
    version: int


class Wanted(Paging):
    """Which attachments."""

    booking: str | None = None
    item: str | None = None
    team: str | None = None
    status: AttachmentStatus | None = None


ATTACHMENTS = Listing(
    name="attachments",
    scope=PADDOCK,
    context="inspections",
    view="attachments",
    wanted=Wanted,
    item=ITEM,
    shown=Attachment,
    order=("t.declared_at", "t.id"),
    filters={
        "booking": Filter("booking_id"),
        "item": Filter("item"),
        "team": Filter("team_id"),
        "status": Filter("status"),
    },
    own=Filter("team_id", "in"),
)


@router.get("/attachments", response_model=Page[Attachment])
async def attachments(ask: Paddock, wanted: Annotated[Wanted, Query()]) -> Response:
    """Attachments in the order in which they were declared; a team sees its own."""
    return await ask.page(ATTACHMENTS, wanted)


@router.get("/attachments/{id}", response_model=Attachment)
async def attachment(ask: Paddock, id: str) -> Response:
    """One attachment; a team sees its own."""
    return await ask.record(ATTACHMENTS, id)


CONTENT = f"""select t.key, t.size, t.media_type, t.sha256, t.name from {{schema}}.attachments t
    where t.id = %(id)s and t.status = 'stored' and (%(all)s or t.team_id in ({PADDOCK.statement}))"""


@router.get(
    "/attachments/{id}/content",
    response_class=Response,
    responses={200: BYTES, 206: BYTES, **of_kinds(NOT_SATISFIABLE, NO_OBJECTS)},
)
async def content(
    ask: Paddock,
    request: Request,
    id: str,
    range: Annotated[str | None, Header()] = None,
    if_range: Annotated[str | None, Header()] = None,
) -> Response:
    """The bytes of an attachment, which never change; a team sees its own. A single range of them may be asked for."""
    whose = {"id": id, "all": ask.sees_all(PADDOCK), "subject": ask.principal.actor.subject}
    found = await ask.find("inspections", CONTENT, whose)
    if not found.rows:
        raise ProblemError(NO_SUCH_RECORD, headers={"Position": str(found.position)})
    key, size, media_type, sha256, name = found.rows[0]
    etag = f'"{sha256}"'
    headers = {
        "ETag": etag,
        "Position": str(found.position),
        "Cache-Control": "private, max-age=31536000, immutable",
        "Vary": "Authorization",
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "sandbox; default-src 'none'",
        "Content-Disposition": disposition(name),
    }
    if ask.if_none_match is not None and same_tag(ask.if_none_match, etag):
        return Response(status_code=304, headers=headers)
    wanted = range_of(range, size) if range is not None and if_range in (None, etag) else None
    start, end = wanted or (0, size)
    headers["Content-Length"] = str(end - start)
    if wanted is not None:
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
    body = await begun(request.app.state.objects, key, start, end)
    return StreamingResponse(body, 200 if wanted is None else 206, headers, media_type)


def range_of(range: str, size: int) -> tuple[int, int] | None:
    """Return the first byte and the one after the last that a Range header asks for (RFC 9110, 14); None for all of them.

    Raises ProblemError if there are none of these.
    """
    found = RANGE.fullmatch(range.strip().lower())
    if found is None:
        return None  # another unit, or several ranges, which may be answered with everything
    first, last, suffix = found.groups()
    start = int(first) if first is not None else max(size - int(suffix), 0)
    end = min(int(last) + 1, size) if last else size
    if last and int(last) < int(first):
        return None
    if start >= size:
        headers = {"Content-Range": f"bytes */{size}"}
        raise ProblemError(NOT_SATISFIABLE, f"There are {size} bytes.", headers=headers)
    return start, end


async def begun(objects: Objects, key: str, start: int, end: int) -> AsyncIterator[bytes]:
    """Return the bytes of an object, the first of which are there already. Raises ProblemError."""
    chunks = objects.read(key, start, end)
    try:
        first = await anext(chunks)
    except (NoObjectError, ObjectsError) as error:
        raise ProblemError(NO_OBJECTS, headers={"Retry-After": "1"}) from error

    async def all_of_them() -> AsyncIterator[bytes]:
        yield first
        async for chunk in chunks:
            yield chunk

    return all_of_them()


def disposition(name: str) -> str:
    """Return the header under which a file of this name is saved, not shown (RFC 6266, RFC 8187)."""
    plain = "".join("_" if category(one) in {"Cc", "Cf", "Cs"} else one for one in UNSAFE.sub("_", name)).strip(" .")
    plain = plain or "file"
    ascii_only = plain.encode("ascii", "replace").decode().replace("?", "_")
    return f"attachment; filename=\"{ascii_only}\"; filename*=UTF-8''{quote(plain, safe='')}"
