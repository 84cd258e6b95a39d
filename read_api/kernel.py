"""The words the read API speaks: who asks, how fresh an answer must be, and answers with position, tag and caching rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import Depends, Header, Request, Response
from starlette.datastructures import URL

from domain.roles import Role
from infra.settings import Settings
from infra.views.readers import Found, LaggingError, Readers, UnavailableError
from infra.web.edge import context_of
from infra.web.problems import BUSY, LAGGING, NO_SUCH_RECORD, NOT_ALLOWED, ProblemError, encode, query_problem
from infra.web.tokens import Principal
from read_api.listing import EVERYBODY, MOST_COUNTED, OFFICE, Listing, Paging, Part
from read_api.sealing import padless

AUDIT = frozenset({Role.ADMIN, Role.AUDITOR})
VARY = "Authorization, Accept-Encoding, If-Position-At-Least"


@dataclass(frozen=True)
class Asking:
    """A request to read: by whom, with which conditions on the answer's freshness, over which views."""

    principal: Principal
    readers: Readers
    settings: Settings
    url: URL
    if_none_match: str | None = None
    at_least: int | None = None

    @property
    def tenant(self) -> UUID:
        """The organisation that asks."""
        return self.principal.tenant_id

    @property
    def is_driver_only(self) -> bool:
        """Say whether only what is his own may be shown."""
        return not self.principal.actor.roles & OFFICE

    async def find(self, context: str, statement: str, parameters: Mapping[str, Any], total: str = "null") -> Found:
        """Run one statement, once the views have come as far as was asked for. Raises ProblemError."""
        try:
            if self.at_least is not None:
                await self.readers.wait(context, self.at_least, self.settings.position_wait_seconds)
            found = await self.readers.find(self.tenant, context, statement, parameters, total)
        except LaggingError as error:
            raise lagging(self.at_least or 0, error.position) from error
        except UnavailableError as error:
            raise ProblemError(BUSY, headers={"Retry-After": "1"}) from error
        if self.at_least is not None and found.position < self.at_least:
            raise lagging(self.at_least, found.position)
        return found

    async def rows(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run a statement over tables that belong to no context. Raises ProblemError."""
        try:
            return await self.readers.query(self.tenant, statement, parameters)
        except UnavailableError as error:
            raise ProblemError(BUSY, headers={"Retry-After": "1"}) from error

    def plain(self, document: Any) -> Response:
        """Answer with a document that is true only now."""
        return Response(encode(document), media_type="application/json", headers={"Cache-Control": "no-store"})

    async def own_driver_ids(self) -> list[str]:
        """Return the drivers that the asking subject is."""
        statement = 'select t.id from {schema}.drivers t where t."user" = %(subject)s'
        found = await self.find("trips", statement, {"subject": self.principal.actor.subject})
        return [row[0] for row in found.rows]

    def answer(self, found: Found, body: bytes, etag: str, max_age: int, **headers: str) -> Response:
        """Return an answer with its position, tag and caching rule; 304 without body if the caller has it already."""
        named = {
            "Position": str(found.position),
            "ETag": etag,
            "Cache-Control": f"private, max-age={max_age}, stale-while-revalidate={2 * max_age}",
            "Vary": VARY,
            **headers,
        }
        if self.if_none_match is not None and same_tag(self.if_none_match, etag):
            return Response(status_code=304, headers=named)
        return Response(body, headers=named, media_type="application/json")

    async def one(self, context: str, statement: str, parameters: Mapping[str, Any], max_age: int = 30) -> Response:
        """Answer with a single record: the statement gives its version and its JSON. Raises ProblemError: no such record."""
        found = await self.find(context, statement, parameters)
        if not found.rows:
            raise ProblemError(NO_SUCH_RECORD, headers={"Position": str(found.position)})
        version, document = found.rows[0]
        body = document.encode()
        return self.answer(found, body, f'"{version}.{sha256(body).hexdigest()[:16]}"', max_age)

    async def computed(
        self,
        context: str,
        statement: str,
        parameters: Mapping[str, Any],
        show: Callable[[list[tuple[Any, ...]]], Any],
        max_age: int,
    ) -> Response:
        """Answer with a document made of the rows that a statement finds; its tag is of its content."""
        found = await self.find(context, statement, parameters)
        body = encode(show(found.rows))
        return self.answer(found, body, f'W/"{found.moved}:{sha256(body).hexdigest()[:16]}"', max_age)

    async def page(self, listing: Listing, wanted: Paging, **more: Any) -> Response:
        """Answer with a part of a list, under the conditions of the query and `more`. Raises ProblemError."""
        parameters = {name: value for name, value in listing.conditions(wanted).items() if value is not None} | more
        conditions = ["true", *(listing.filters[name].sql(name) for name in parameters)]
        if listing.own is not None and self.is_driver_only:
            conditions.append(listing.own.sql("own"))
            parameters["own"] = await self.own_driver_ids()
        query_hash = _hash([listing.name, sorted(parameters.items())])
        part = Part(listing, wanted, self.settings.need("cursor_key"), query_hash)
        statement, after = part.statement(conditions)
        matching = f"select from {{schema}}.{listing.view} t where {' and '.join(conditions)} limit {MOST_COUNTED + 1}"
        counted = f"select count(*) from ({matching}) c"
        found = await self.find(listing.context, statement, parameters | after, counted)
        body, links = part.document(found, self.url)
        headers = {"Event-Id": event_id({listing.name: (found.build, found.position)})} | (
            {"Link": links} if links else {}
        )
        # Of the content too: what a list joins, and how long ago something was, changes without the list's own rows.
        tag = _hash([query_hash, wanted.model_dump(), body.decode()])
        return self.answer(found, body, f'W/"{found.build}.{found.moved}:{tag}"', listing.max_age, **headers)


def lagging(wanted: int, position: int) -> ProblemError:
    """Return the problem of a view that has not come in time as far as was asked for."""
    return ProblemError(
        LAGGING,
        f"The view is at position {position}, {wanted - position} behind what was asked for.",
        headers={"Retry-After": "1", "Position": str(position)},
        position=position,
    )


def event_id(positions: Mapping[str, tuple[int, int]]) -> str:
    """Return the opaque id from which a live stream goes on: per view, its build and position."""
    text = ",".join(f"{name}.{build}.{position}" for name, (build, position) in sorted(positions.items()))
    return padless(text.encode())


def _hash(parts: Any) -> str:
    return sha256(msgspec.json.encode(parts)).hexdigest()[:16]


def same_tag(if_none_match: str, etag: str) -> bool:
    """Compare entity tags weakly (RFC 9110, 13.1.2)."""
    tags = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
    return "*" in tags or etag.removeprefix("W/") in tags


async def asking(
    request: Request,
    if_none_match: Annotated[str | None, Header()] = None,
    if_position_at_least: Annotated[int | None, Header(ge=0)] = None,
) -> Asking:
    """Return who asks and under which conditions; the roles are checked by `only`."""
    state = request.app.state
    principal = await state.authenticate(request.scope)
    for name, value in request.query_params.multi_items():
        if "\0" in value:
            raise query_problem(name, "No text holds the character NUL.")
    if any("\0" in str(value) for value in request.path_params.values()):
        raise ProblemError(NO_SUCH_RECORD)
    note_principal(request, principal)
    return Asking(principal, state.readers, state.settings, request.url, if_none_match, if_position_at_least)


def note_principal(request: Request, principal: Principal) -> None:
    """Let the request's log line say who asked."""
    fields = context_of(request.scope).fields
    fields |= {"tenant": principal.tenant, "principal": principal.actor.subject}


def only(roles: frozenset[Role]) -> Any:
    """Depend on a caller who has one of these roles."""

    async def allowed(ask: Annotated[Asking, Depends(asking)]) -> Asking:
        if not ask.principal.actor.roles & roles:
            raise ProblemError(NOT_ALLOWED, f"This is for: {', '.join(sorted(roles))}.")
        return ask

    return Depends(allowed)


Anybody = Annotated[Asking, only(EVERYBODY)]
Office = Annotated[Asking, only(OFFICE)]
Auditor = Annotated[Asking, only(AUDIT)]
