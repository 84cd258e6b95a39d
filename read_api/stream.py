"""Watching: `GET /stream?view=trips&status=started`, as server-sent events (C-7).

Events: `row` (a row that matches, as its list shows it), `leave` (it matched before, no longer does), `gone` (it is no more),
`reset` (begin anew: read the list again). The id of the last event of a position is what to go on from; it is moved on by
keep-alives too. Boards (locks, presence) have no positions: `fresh` (what there is follows), `lost` (it cannot be told).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
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
from infra.redis.boards import Boards
from infra.settings import Settings
from infra.views.tail import Change, LiveView, Subscriber, Tail
from infra.web.drain import DRAIN
from infra.web.problems import NOT_ALLOWED, UNAUTHENTICATED, ProblemError, encode, header_problem, query_problem
from infra.web.tokens import Principal
from read_api.boards import BOARDS, Board, must_see, not_there
from read_api.kernel import Anybody, Asking, asking, authenticated, event_id, note_principal
from read_api.listing import Filter, Listing, Scope, Shown, Watchable
from read_api.live import LIVE
from read_api.sealing import opened, sealed, unpadded
from read_api.watching import Watched, WatchedBoard

router = APIRouter(tags=["live"])

KEEP_ALIVE_S = 10.0
RETRY_MS, RETRY_JITTER_MS = 3_000, 2_000
SOON_MS, SOON_JITTER_MS = 500, 1_000
MOST_WAITING_BYTES = 1_000_000
MOST_VIEWS = 10
TICKET_S = 60
CHALLENGE = {"WWW-Authenticate": "Bearer"}
OWN_PARAMETERS = frozenset({"view", "after", "last_event_id", "ticket"})
CONNECTIONS = Gauge("sse_connections", "Live streams that are open")
RESETS = Counter("sse_resets_total", "Live streams that were told to begin anew")


class Connection:
    """One live stream: what waits to be sent is bounded; a client that does not keep up is reset."""

    def __init__(self, watched: Mapping[str, Watched], boards: Sequence[str], expires: float) -> None:
        self._watched, self._boards, self._expires = watched, boards, expires
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
        self.say(name, "".join(texts))

    def say(self, name: str, text: str) -> None:
        """Queue events of a view or board as they are."""
        if not text or self._ended:
            return
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
        """End the stream once what waits is sent, as this process is about to stop; the client may come back soon."""
        if not self._ended:
            self._waiting.append(f"retry: {SOON_MS + random.randrange(SOON_JITTER_MS)}\n\n")
            self._ended = True
            self._something.set()

    async def events(self) -> AsyncIterator[str]:
        """Yield what is to be sent, and keep the connection alive, until it ends or its token expires."""
        retry = RETRY_MS + random.randrange(RETRY_JITTER_MS)  # so that not all clients come back at once after a deploy
        positions = {name: watched.position for name, watched in self._watched.items()} | dict.fromkeys(self._boards)
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
    principal = await authenticated(request, _ticket_holder(state.settings, ticket))
    note_principal(request, principal)
    return Asking(principal, state.readers, state.cache, state.settings, request.url)


async def _ticket_holder(settings: Settings, ticket: str) -> Principal:
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
    watchables = [_watchable(ask, name) for name in dict.fromkeys(view)]
    conditions = await _conditions(ask, watchables, request)
    listings = [one for one in watchables if isinstance(one, Listing)]
    boards = [one for one in watchables if isinstance(one, Board)]
    if boards and not request.app.state.shared.is_set:
        raise not_there(request.app.state.shared)
    by_header = last_event_id_header is not None
    resumed = _resumed(last_event_id_header if by_header else last_event_id, by_header=by_header)
    watched: dict[str, Watched] = {}
    for listing in listings:
        found = await ask.find(listing.context, "select true", {})
        build, position = resumed.get(listing.name, (found.build, found.position if after is None else after))
        position = min(position, found.position)  # nobody can have seen what has not happened
        watched[listing.name] = Watched(listing, conditions[listing.name], build, position)
    connection = Connection(watched, [board.name for board in boards], ask.principal.expires)
    watchers = [WatchedBoard(board, conditions[board.name], connection.say) for board in boards]
    return StreamingResponse(
        _streamed(request.app.state, ask, watched, watchers, connection),
        media_type="text/event-stream",
        headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"},
    )


async def _streamed(
    state: Any, ask: Asking, watched: Mapping[str, Watched], watchers: Sequence[WatchedBoard], connection: Connection
) -> AsyncIterator[str]:
    """Yield the events of a connection; its views and boards are joined once it has begun, and left when it ends."""
    tail: Tail = state.tail
    boards: Boards = state.boards
    subscribers = [
        Subscriber(
            view=LiveView(one.listing.name, one.listing.context, one.listing.view, one.listing.item, one.listing.joins),
            tenant=ask.tenant,
            build=one.build,
            position=one.position,
            tell=partial(connection.tell, name),
            reset=partial(connection.reset, name),
            drained=connection.drained,
            only=one.only,
        )
        for name, one in watched.items()
    ]
    CONNECTIONS.inc()
    joining = asyncio.gather(*(tail.join(subscriber) for subscriber in subscribers))
    joining.add_done_callback(_settled)
    for watcher in watchers:
        boards.join(watcher.board.name, ask.tenant, watcher)
    try:
        with DRAIN.ending(connection.end):
            async for event in connection.events():
                yield event
    finally:
        joining.cancel()
        for subscriber in subscribers:
            tail.leave(subscriber)
        for watcher in watchers:
            boards.leave(watcher.board.name, ask.tenant, watcher)
        CONNECTIONS.dec()


def _settled(joining: asyncio.Future[list[None]]) -> None:
    """Take note of the end of joining: each subscriber was told by himself, or has hung up."""
    if not joining.cancelled():
        joining.exception()


def _watchable(ask: Asking, name: str) -> Watchable:
    watchable = LIVE.get(name) or BOARDS.get(name)
    if watchable is None:
        raise query_problem("view", f"There is no view {name!r} to watch; there are: {', '.join((*LIVE, *BOARDS))}.")
    if not ask.principal.actor.roles & watchable.readers:
        raise ProblemError(NOT_ALLOWED, f"{name} is for: {', '.join(sorted(watchable.readers))}.")
    return watchable


async def _conditions(
    ask: Asking, watchables: Sequence[Watchable], request: Request
) -> dict[str, list[tuple[Filter, Any]]]:
    """Return the conditions of each view: the filters that were asked for, and the one that cannot be removed."""
    given: dict[str, dict[str, str]] = {one.name: {} for one in watchables}
    sent_as: dict[str, dict[str, str]] = {one.name: {} for one in watchables}
    for parameter, value in request.query_params.multi_items():
        if parameter in OWN_PARAMETERS:
            continue
        name, _, filter_name = parameter.rpartition(".")
        matching = [one for one in watchables if name in ("", one.name) and filter_name in one.filters]
        if not matching:
            allowed = ", ".join(sorted({filter for one in watchables for filter in one.filters}))
            raise query_problem(parameter, f"None of these views has this filter; there are: {allowed or 'none'}.")
        for one in matching:
            given[one.name][filter_name] = value
            sent_as[one.name][filter_name] = parameter
    own: dict[Scope, list[str]] = {}
    conditions = {}
    for one in watchables:
        values = one.validated(given[one.name], sent_as[one.name])
        conditions[one.name] = [(one.filters[name], value) for name, value in values.items()]
        if isinstance(one, Board):
            await must_see(ask, values)
        elif isinstance(one, Listing) and one.own is not None and not ask.sees_all(one.scope):
            if one.scope not in own:
                own[one.scope] = await ask.own_ids(one.scope)
            conditions[one.name].append((one.own, own[one.scope]))
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
