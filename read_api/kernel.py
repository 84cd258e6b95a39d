"""The words the read API speaks: who asks, how fresh an answer must be, and answers with position, tag and caching rule."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import Depends, Header, Request, Response
from starlette.datastructures import URL

from domain.roles import Role
from infra.redis.cache import BYPASS, Cache
from infra.settings import Settings
from infra.views.readers import Found, LaggingError, Readers, UnavailableError
from infra.web.edge import context_of
from infra.web.limiting import Limits
from infra.web.problems import BUSY, LAGGING, NO_SUCH_RECORD, NOT_ALLOWED, ProblemError, encode, query_problem
from infra.web.tokens import Principal
from read_api.listing import EVERYBODY, MOST_COUNTED, Cursors, Listing, Paging, Part, Scope, links
from read_api.sealing import padless

AUDIT = frozenset({Role.ADMIN, Role.AUDITOR})
REVALIDATED = "private, no-cache"  # kept, and shown again only after asking whether it is still so
FOR_EVER = "private, max-age=31536000, immutable"
VARY = "Authorization, Accept-Encoding, If-Position-At-Least"


@dataclass(frozen=True)
class Asking:
    """A request to read: by whom, with which conditions on the answer's freshness, over which views."""

    principal: Principal
    readers: Readers
    cache: Cache
    settings: Settings
    url: URL
    if_none_match: str | None = None
    at_least: int | None = None

    @property
    def tenant(self) -> UUID:
        """The organisation that asks."""
        return self.principal.tenant_id

    def sees_all(self, scope: Scope) -> bool:
        """Say whether all rows may be shown, not only what is his own."""
        return bool(self.principal.actor.roles & scope.everything)

    async def find(self, context: str, statement: str, parameters: Mapping[str, Any], total: str = "null") -> Found:
        """Run one statement, once the views have come as far as was asked for. Raises ProblemError."""
        await self._wait(context)
        found = await self._find(context, statement, parameters, total)
        self._must_reach(found.position)
        return found

    async def _wait(self, context: str) -> None:
        try:
            if self.at_least is not None:
                await self.readers.wait(context, self.at_least, self.settings.position_wait_seconds)
        except LaggingError as error:
            raise lagging(self.at_least or 0, error.position) from error

    async def _find(self, context: str, statement: str, parameters: Mapping[str, Any], total: str = "null") -> Found:
        try:
            return await self.readers.find(self.tenant, context, statement, parameters, total)
        except UnavailableError as error:
            raise ProblemError(BUSY, headers={"Retry-After": "1"}) from error

    def _must_reach(self, position: int) -> None:
        if self.at_least is not None and position < self.at_least:
            raise lagging(self.at_least, position)

    async def _kept(self, context: str, depends_on: Any, max_age: int, make: Callable[[], Awaitable[Made]]) -> Made:
        """Return an answer that others may share, who ask the same where the organisation's rows stand the same.

        `depends_on` is all that it depends on beside those rows and the clock. As no row has moved since, it is also the
        answer at the position that this process has heard of, which is the one it bears.
        """
        await self._wait(context)
        served, moved = self.readers.served(context), self.readers.moved(context, self.tenant)
        if moved is None or self.cache.is_away:
            BYPASS.inc()
            answer = await make()
            self._must_reach(answer.position)
            return answer
        prefix, digest = f"fieldlog:answer:{self.tenant}:{context}", _hash(depends_on)
        known = f"{prefix}:{served.build}:{moved}:{digest}"

        async def made() -> tuple[bytes, list[str]]:
            made = await make()
            exact = f"{prefix}:{made.build}:{made.moved}:{digest}"
            # An organisation whose facts are parked is shown as it was before; then this is no answer for where it is.
            keys = [exact, known] if made.is_of(served.build, moved) and exact != known else [exact]
            return msgspec.msgpack.encode(made), keys

        answer = msgspec.msgpack.decode(await self.cache.find(known, max_age, made), type=Made)
        if answer.is_of(served.build, moved):
            answer.position = max(answer.position, served.position)
        self._must_reach(answer.position)
        return answer

    async def rows(self, statement: str, parameters: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """Run a statement over tables that belong to no context. Raises ProblemError."""
        try:
            return await self.readers.query(self.tenant, statement, parameters)
        except UnavailableError as error:
            raise ProblemError(BUSY, headers={"Retry-After": "1"}) from error

    def plain(self, document: Any) -> Response:
        """Answer with a document that is true only now."""
        return Response(encode(document), media_type="application/json", headers={"Cache-Control": "no-store"})

    async def own_ids(self, scope: Scope) -> list[str]:
        """Return by which ids rows of a scope are the asking subject's own."""
        await self._wait(scope.context)
        found = await self._find(scope.context, scope.statement, {"subject": self.principal.actor.subject})
        return [row[0] for row in found.rows]

    def answer(
        self, position: int, body: bytes, etag: str, max_age: int, caching: str | None = None, **headers: str
    ) -> Response:
        """Return an answer with its position, tag and caching rule; 304 without body if the caller has it already."""
        named = {
            "Position": str(position),
            "ETag": etag,
            "Cache-Control": caching or f"private, max-age={max_age}, stale-while-revalidate={2 * max_age}",
            "Vary": VARY,
            **headers,
        }
        if self.if_none_match is not None and same_tag(self.if_none_match, etag):
            return Response(status_code=304, headers=named)
        return Response(body, headers=named, media_type="application/json")

    async def one(
        self,
        context: str,
        statement: str,
        parameters: Mapping[str, Any],
        max_age: int = 30,
        caching: str | None = None,
    ) -> Response:
        """Answer with a single record: the statement gives its version and its JSON. Raises ProblemError: no such record."""
        found = await self.find(context, statement, parameters)
        if not found.rows:
            raise ProblemError(NO_SUCH_RECORD, headers={"Position": str(found.position)})
        version, document = found.rows[0]
        body = document.encode()
        return self.answer(found.position, body, f'"{version}.{sha256(body).hexdigest()[:16]}"', max_age, caching)

    async def record(self, listing: Listing, id: str) -> Response:
        """Answer with the item of a list that has this id, if it may be shown. Raises ProblemError: no such record."""
        is_limited = listing.own is not None and not self.sees_all(listing.scope)
        own = f'and t."{listing.own.field}" in ({listing.scope.statement})' if listing.own and is_limited else ""
        statement = f"select t.version, ({listing.item})::text from {listing.source} where t.id = %(id)s {own}"
        parameters = {"id": id, "subject": self.principal.actor.subject}
        return await self.one(listing.context, statement, parameters, listing.max_age)

    async def computed(
        self,
        context: str,
        statement: str,
        parameters: Mapping[str, Any],
        show: Callable[[list[tuple[Any, ...]]], Any],
        max_age: int,
        shown_by: Any = None,
        caching: str | None = None,
    ) -> Response:
        """Answer with a document made of the rows that a statement finds; its tag is of its content.

        Others may share it for `max_age` if `shown_by` is given: what `show` depends on beside the rows. `caching` is for
        clients who are told otherwise.
        """

        async def make() -> Made:
            found = await self._find(context, statement, parameters)
            try:
                body = encode(show(found.rows))
            except ProblemError as problem:
                problem.headers["Position"] = str(found.position)
                raise
            # Who asks each time whether it is still so is not to be sent it again because other rows have moved.
            moved = f"{found.moved}:" if caching is None else ""
            return Made.of(found, body, f'W/"{moved}{sha256(body).hexdigest()[:16]}"')

        if shown_by is not None:
            made = await self._kept(context, [statement, sorted(parameters.items()), shown_by], max_age, make)
            return self.answer(made.position, made.body, made.etag, max_age, caching, **made.age())
        await self._wait(context)
        made = await make()
        self._must_reach(made.position)
        return self.answer(made.position, made.body, made.etag, max_age, caching)

    async def page(self, listing: Listing, wanted: Paging, **more: Any) -> Response:
        """Answer with a part of a list, under the conditions of the query and `more`. Raises ProblemError."""
        is_limited = listing.own is not None and not self.sees_all(listing.scope)
        whose = self.principal.actor.subject if is_limited else None
        depends_on = [listing.name, listing.item, listing.source, wanted.model_dump(mode="json"), more, whose]
        made = await self._kept(
            listing.context, depends_on, listing.max_age, lambda: self._part(listing, wanted, own=whose, more=more)
        )
        headers = {"Event-Id": event_id({listing.name: (made.build, made.position)}), **links(self.url, made.cursors)}
        return self.answer(
            made.position, made.body, made.etag, listing.max_age, listing.caching, **headers, **made.age()
        )

    async def _part(self, listing: Listing, wanted: Paging, *, own: str | None, more: Mapping[str, Any]) -> Made:
        given = {name: value for name, value in listing.conditions(wanted).items() if value is not None}
        parameters = {**given, **more}
        conditions = ["true", *(listing.filters[name].sql(name) for name in parameters)]
        if listing.own is not None and own is not None:
            conditions.append(listing.own.sql("own"))
            parameters["own"] = await self.own_ids(listing.scope)
        query_hash = _hash([listing.name, sorted(parameters.items())])
        part = Part(listing, wanted, self.settings.need("cursor_key"), query_hash)
        statement, after = part.statement(conditions)
        matching = f"select from {{schema}}.{listing.view} t where {' and '.join(conditions)} limit {MOST_COUNTED + 1}"
        found = await self._find(listing.context, statement, parameters | after, f"select count(*) from ({matching}) c")
        body, cursors = part.document(found)
        # Of the content too: what a list joins, and how long ago something was, changes without the list's own rows.
        tag = _hash([query_hash, wanted.model_dump(), body.decode()])
        return Made.of(found, body, f'W/"{found.build}.{found.moved}:{tag}"', cursors)


class Made(msgspec.Struct):
    """An answer as it was made: where its build stood and the rows had moved last, when, its content and its cursors."""

    position: int
    build: int
    moved: int
    at: float
    body: bytes
    etag: str
    cursors: Cursors

    @classmethod
    def of(cls, found: Found, body: bytes, etag: str, cursors: Cursors = (None, None)) -> Made:
        """Return an answer that is made now."""
        return cls(found.position, found.build, found.moved, time.time(), body, etag, cursors)

    def is_of(self, build: int, moved: int) -> bool:
        """Say whether it shows all that had moved in a build until a position."""
        return self.build == build and self.position >= moved

    def age(self) -> dict[str, str]:
        """Return the header that says how old it is, where it was not made just now (RFC 9111, 5.1)."""
        seconds = int(time.time() - self.at)
        return {"Age": str(seconds)} if seconds > 0 else {}


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
    return sha256(msgspec.json.encode(parts)).hexdigest()[:32]


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
    principal = await authenticated(request, state.authenticate(request.scope))
    for name, value in request.query_params.multi_items():
        if "\0" in value:
            raise query_problem(name, "No text holds the character NUL.")
    if any("\0" in str(value) for value in request.path_params.values()):
        raise ProblemError(NO_SUCH_RECORD)
    note_principal(request, principal)
    return Asking(
        principal, state.readers, state.cache, state.settings, request.url, if_none_match, if_position_at_least
    )


async def authenticated(request: Request, authentication: Awaitable[Principal]) -> Principal:
    """Return who asks, once that is taken from his quota, or from that of the address of a stranger. Raises ProblemError."""
    limits: Limits = request.app.state.limits
    principal = await limits.recognised(request.scope, authentication)
    await limits.charge(request.scope, principal)
    return principal


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
Auditor = Annotated[Asking, only(AUDIT)]
