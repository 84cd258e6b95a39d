"""Watching: `GET /stream?view=trips&status=started`, as server-sent events (C-7).

Events: `row` (a row that matches, as its list shows it), `leave` (it matched before, no longer does), `gone` (it is no more),
`reset` (begin anew: read the list again). The id of the last event of a position is what to go on from; it is moved on by
keep-alives too.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from prometheus_client import Counter, Gauge

from domain.roles import Actor, Role
from infra.settings import Settings
from infra.views.tail import Change, LiveView, Subscriber, Tail
from infra.web.framework import DRAIN
from infra.web.problems import NOT_ALLOWED, UNAUTHENTICATED, ProblemError, encode, header_problem, query_problem
from infra.web.tokens import Principal
from read_api.kernel import Anybody, Asking, asking, event_id, note_principal
from read_api.listing import Filter, Listing, Shown
from read_api.live import LIVE
from read_api.sealing import opened, sealed, unpadded

router = APIRouter(tags=["live"])

KEEP_ALIVE_S = 10.0
RETRY_MS, RETRY_JITTER_MS = 3_000, 2_000
MOST_WAITING_BYTES = 1_000_000
MOST_VIEWS = 10
TICKET_S = 60
CHALLENGE = {"WWW-Authenticate": "Bearer"}
OWN_PARAMETERS = frozenset({"view", "after", "last_event_id", "ticket"})
CONNECTIONS = Gauge("sse_connections", "Live streams that are open")
RESETS = Counter("sse_resets_total", "Live streams that were told to begin anew")


class Watched:
    """One view on a connection: its conditions, and how far it has come."""

    def __init__(self, listing: Listing, conditions: Sequence[tuple[Filter, Any]], build: int, position: int) -> None:
        self.listing, self._conditions, self.build, self.position = listing, conditions, build, position
        self._own = next((value for one, value in conditions if one is listing.own), None)

    def matches(self, row: Mapping[str, Any] | None) -> bool:
        """Say whether a row is among those that are watched."""
        return row is not None and all(one.matches(row, value) for one, value in self._conditions)

    def events(self, changes: Iterable[Change]) -> Iterator[str]:
        """Yield the events that changes lead to, without their ids."""
        for change in changes:
            head = f'{{"view":"{self.listing.name}","key":{encode(change.key).decode()}'
            if change.row is None:
                # What it was may have been forgotten; whoever sees his own rows alone is told of those that bear his name.
                if self.matches(change.was) or (change.was is None and (self._own is None or change.key in self._own)):
                    yield f"event: gone\ndata: {head}}}\n"
            elif self.matches(change.row):
                if change.shown is None:  # there is nothing to show yet, as of an organisation that has not opened
                    continue
                yield f'event: row\ndata: {head},"position":{change.position},"row":{change.shown}}}\n'
            elif self.matches(change.was):
                yield f"event: leave\ndata: {head}}}\n"


class Connection:
    """One live stream: what waits to be sent is bounded; a client that does not keep up is reset."""

    def __init__(self, watched: Mapping[str, Watched], expires: float) -> None:
        self._watched, self._expires = watched, expires
        self._waiting: list[str] = []
        self._size = 0
        self._ended = False
        self._something = asyncio.Event()
        self._sent = asyncio.Event()

    async def drained(self) -> None:
        """Wait until nothing waits to be sent."""
        while self._waiting:
            self._sent.clear()
            await self._sent.wait()

    def tell(self, name: str, changes: Sequence[Change], upto: int) -> None:
        """Queue what changes of a view lead to; all of them until a position."""
        watched = self._watched[name]
        texts: list[str] = []
        for position, together in groupby(changes, key=attrgetter("position")):
            watched.position = position
            if events := list(watched.events(together)):
                events[-1] = f"id: {self._id()}\n{events[-1]}"
                texts.append("\n".join(events) + "\n")
        watched.position = upto
        if not texts or self._ended:
            return
        text = "".join(texts)
        if self._waiting and self._size + len(text) > MOST_WAITING_BYTES:
            self.reset(name, "this connection does not keep up")
            return
        self._size += len(text)
        self._waiting.append(text)
        self._something.set()

    def reset(self, name: str, reason: str) -> None:
        """Tell the client to begin anew, and end; what still waits is dropped."""
        if not self._ended:
            RESETS.inc()
            self._waiting = [f"event: reset\ndata: {encode({'view': name, 'reason': reason}).decode()}\n\n"]
            self._ended = True
            self._something.set()

    def end(self) -> None:
        """End the stream once what waits is sent, as when this process is about to stop; the client comes back."""
        self._ended = True
        self._something.set()

    async def events(self) -> AsyncIterator[str]:
        """Yield what is to be sent, and keep the connection alive, until it ends or its token expires."""
        retry = RETRY_MS + random.randrange(RETRY_JITTER_MS)  # so that not all clients come back at once after a deploy
        positions = {name: watched.position for name, watched in self._watched.items()}
        yield f"retry: {retry}\nevent: ready\nid: {self._id()}\ndata: {encode(positions).decode()}\n\n"
        while time.time() < self._expires:
            try:
                async with asyncio.timeout(min(KEEP_ALIVE_S, self._expires - time.time())):
                    await self._something.wait()
            except TimeoutError:
                if time.time() < self._expires:
                    yield f"id: {self._id()}\n\n"
                continue
            self._something.clear()
            waiting, self._waiting, self._size = self._waiting, [], 0
            yield "".join(waiting)
            self._sent.set()
            if self._ended and not self._waiting:
                return

    def _id(self) -> str:
        return event_id({name: (watched.build, watched.position) for name, watched in self._watched.items()})


class TicketShown(Shown):
    """What a browser's EventSource sends as `ticket`, since it can send no header; good for one connection's beginning."""

    ticket: str
    expires_at: datetime


@router.post("/stream/tickets", response_model=TicketShown)
async def make_ticket(ask: Anybody) -> Response:
    """Get a ticket for `GET /stream?ticket=...`; it lives for 60 seconds."""
    expires = int(time.time()) + TICKET_S
    principal = ask.principal
    claims = [expires, principal.expires, principal.tenant, principal.actor.subject, list(principal.roles)]
    ticket = sealed(ask.settings.need("cursor_key"), "ticket", encode(claims))
    return ask.plain({"ticket": ticket, "expires_at": datetime.fromtimestamp(expires, UTC)})


async def watching(request: Request, ticket: str | None = None) -> Asking:
    """Return who watches: by a ticket, or by the bearer token."""
    if ticket is None:
        return await asking(request)
    state = request.app.state
    principal = _ticket_holder(state.settings, ticket)
    note_principal(request, principal)
    return Asking(principal, state.readers, state.settings, request.url)


def _ticket_holder(settings: Settings, ticket: str) -> Principal:
    payload = opened(settings.need("cursor_key"), "ticket", ticket)
    if payload is None:
        raise ProblemError(UNAUTHENTICATED, "This is no ticket of ours.", headers=CHALLENGE)
    expires, token_expires, tenant, subject, roles = msgspec.json.decode(payload)
    if time.time() > expires:
        detail = "The ticket has expired; get a new one with POST /stream/tickets."
        raise ProblemError(UNAUTHENTICATED, detail, headers=CHALLENGE)
    return Principal.of(Actor(subject, frozenset(map(Role, roles))), UUID(tenant), None, token_expires)


@router.get("/stream", response_class=StreamingResponse, responses={200: {"content": {"text/event-stream": {}}}})
async def watch(
    request: Request,
    ask: Annotated[Asking, Depends(watching)],
    view: Annotated[list[str], Query(min_length=1, max_length=MOST_VIEWS)],
    after: Annotated[
        int | None, Query(ge=0, description="Go on after this position, as a list's answer has it")
    ] = None,
    last_event_id: Annotated[str | None, Query(max_length=2_000, description="Go on after this event")] = None,
    last_event_id_header: Annotated[str | None, Header(alias="Last-Event-ID", max_length=2_000)] = None,
) -> Response:
    """Watch views: rows that match the filters, as they change. A filter is a parameter `name`, or `view.name` for one view."""
    listings = [_listing(ask, name) for name in dict.fromkeys(view)]
    conditions = await _conditions(ask, listings, request)
    by_header = last_event_id_header is not None
    resumed = _resumed(last_event_id_header if by_header else last_event_id, by_header=by_header)
    watched: dict[str, Watched] = {}
    for listing in listings:
        found = await ask.find(listing.context, "select true", {})
        build, position = resumed.get(listing.name, (found.build, found.position if after is None else after))
        position = min(position, found.position)  # nobody can have seen what has not happened
        watched[listing.name] = Watched(listing, conditions[listing.name], build, position)
    connection = Connection(watched, ask.principal.expires)
    return StreamingResponse(
        _streamed(request.app.state.tail, ask, watched, connection),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _streamed(
    tail: Tail, ask: Asking, watched: Mapping[str, Watched], connection: Connection
) -> AsyncIterator[str]:
    """Yield the events of a connection; its views are joined once it has begun, and left when it ends."""
    subscribers = [
        Subscriber(
            view=LiveView(one.listing.name, one.listing.context, one.listing.view, one.listing.item, one.listing.joins),
            tenant=ask.tenant,
            build=one.build,
            position=one.position,
            tell=partial(connection.tell, name),
            reset=partial(connection.reset, name),
            drained=connection.drained,
        )
        for name, one in watched.items()
    ]
    CONNECTIONS.inc()
    joining = asyncio.gather(*(tail.join(subscriber) for subscriber in subscribers))
    joining.add_done_callback(_settled)
    try:
        with DRAIN.ending(connection.end):
            async for event in connection.events():
                yield event
    finally:
        joining.cancel()
        for subscriber in subscribers:
            tail.leave(subscriber)
        CONNECTIONS.dec()


def _settled(joining: asyncio.Future[list[None]]) -> None:
    """Take note of the end of joining: each subscriber was told by himself, or has hung up."""
    if not joining.cancelled():
        joining.exception()


def _listing(ask: Asking, name: str) -> Listing:
    listing = LIVE.get(name)
    if listing is None:
        raise query_problem("view", f"There is no view {name!r} to watch; there are: {', '.join(LIVE)}.")
    if not ask.principal.actor.roles & listing.readers:
        raise ProblemError(NOT_ALLOWED, f"{name} is for: {', '.join(sorted(listing.readers))}.")
    return listing


async def _conditions(
    ask: Asking, listings: Sequence[Listing], request: Request
) -> dict[str, list[tuple[Filter, Any]]]:
    """Return the conditions of each view: the filters that were asked for, and the one that a driver cannot remove."""
    given: dict[str, dict[str, str]] = {listing.name: {} for listing in listings}
    sent_as: dict[str, dict[str, str]] = {listing.name: {} for listing in listings}
    for parameter, value in request.query_params.multi_items():
        if parameter in OWN_PARAMETERS:
            continue
        name, _, filter_name = parameter.rpartition(".")
        matching = [one for one in listings if name in ("", one.name) and filter_name in one.filters]
        if not matching:
            allowed = ", ".join(sorted({filter for one in listings for filter in one.filters}))
            raise query_problem(parameter, f"None of these views has this filter; there are: {allowed or 'none'}.")
        for listing in matching:
            given[listing.name][filter_name] = value
            sent_as[listing.name][filter_name] = parameter
    own = await ask.own_driver_ids() if ask.is_driver_only and any(one.own for one in listings) else []
    conditions = {}
    for listing in listings:
        values = listing.validated(given[listing.name], sent_as[listing.name])
        conditions[listing.name] = [(listing.filters[name], value) for name, value in values.items()]
        if listing.own is not None and ask.is_driver_only:
            conditions[listing.name].append((listing.own, own))
    return conditions


def _resumed(event: str | None, *, by_header: bool) -> dict[str, tuple[int, int]]:
    """Return the build and position of each view in an event id. Raises ProblemError."""
    if not event:
        return {}
    try:
        parts = [part.split(".") for part in unpadded(event).decode("ascii").split(",")]
        return {name: (int(build), int(position)) for name, build, position in parts}
    except ValueError:
        problem = header_problem if by_header else query_problem
        raise problem("Last-Event-ID" if by_header else "last_event_id", "This is no event id of ours.") from None
