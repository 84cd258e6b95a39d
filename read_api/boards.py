"""What is so for a while only, and is no fact: who holds a record's edit lock, and who is there. Redis has it, not the log."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from domain.catalog import STREAMS, STREAMS_BY_CONTEXT
from domain.roles import Role
from infra.log.identity import RECORD_ID, RECORD_ID_SHAPE
from infra.redis.boards import Entry, Kind, entries_of, moment
from infra.redis.client import AwayError, Shared
from infra.web.problems import INVALID_INPUT, NO_SHARED_STATE, NO_SUCH_RECORD, NOT_ALLOWED, NOT_FOUND, ProblemError
from read_api.kernel import Asking
from read_api.listing import Filter, Scope, Shown, Watchable
from read_api.live import LIVE

T = TypeVar("T")
Activity = Literal["viewing", "editing", "idle"]


class Person(Shown):
    """Somebody by the subject of his tokens, with the name that they bear, if they bear one."""

    by: str
    name: str


class Lock(Shown):
    """Who edits a record, and until when nobody else may; `beat_at` is the last time that the lock was asked for or extended.

    `taken_from` is who held it when it was taken over.
    """

    stream: str
    id: str
    locked_by: str
    name: str
    locked_at: datetime
    beat_at: datetime
    seconds_since_beat: int
    expires_at: datetime
    taken_from: Person | None


class Present(Shown):
    """Somebody at a record; he is gone when he is not heard of until `expires_at`."""

    stream: str
    id: str
    by: str
    name: str
    activity: Activity
    page: str | None
    since: datetime
    seen_at: datetime
    expires_at: datetime


class LocksWanted(BaseModel):
    """Which locks."""

    model_config = ConfigDict(extra="forbid")

    stream: str | None = Field(None, max_length=64)
    id: str | None = Field(None, max_length=128)
    by: str | None = Field(None, max_length=255, description="Whose, by the subject of his tokens")


class PresenceWanted(LocksWanted):
    """Whose presence, and where."""


@dataclass(frozen=True, kw_only=True)
class Board(Watchable):
    """A board as readers see it: `show` makes an item of an entry, `filters` are conditions on items."""

    name: Kind
    show: Callable[[Entry], Mapping[str, Any]]


def lock_shown(entry: Entry) -> dict[str, Any]:
    """Return a lock as it is shown to everybody, without its token."""
    stream, _, id = entry.key.partition("/")
    return {
        "stream": stream,
        "id": id,
        "locked_by": entry.who["by"],
        "name": entry.who["name"],
        "locked_at": moment(entry.since),
        "beat_at": moment(entry.beat),
        "seconds_since_beat": max(0, int(time.time() - entry.beat / 1000)),
        "expires_at": moment(entry.ends),
        "taken_from": entry.who.get("taken_from"),
    }


def present_shown(entry: Entry) -> dict[str, Any]:
    """Return somebody's presence as it is shown."""
    stream, id, _ = entry.key.split("/", 2)
    return {
        "stream": stream,
        "id": id,
        "by": entry.who["by"],
        "name": entry.who["name"],
        "activity": entry.who["activity"],
        "page": entry.who["page"] or None,
        "since": moment(entry.since),
        "seen_at": moment(entry.beat),
        "expires_at": moment(entry.ends),
    }


RECORD = {"stream": Filter("stream"), "id": Filter("id")}
LOCKS = Board(
    name="locks", shown=Lock, wanted=LocksWanted, filters=RECORD | {"by": Filter("locked_by")}, show=lock_shown
)
PRESENCE = Board(
    name="presence", shown=Present, wanted=PresenceWanted, filters=RECORD | {"by": Filter("by")}, show=present_shown
)
BOARDS: Mapping[str, Board] = {board.name: board for board in (LOCKS, PRESENCE)}
# Of streams that have a list, its scope; of others, that of the lists of their context.
SCOPES: Mapping[str, Scope] = {
    stream.name: listing.scope for listing in LIVE.values() for stream in STREAMS_BY_CONTEXT[listing.context]
} | {name: listing.scope for name, listing in LIVE.items()}
OVERSEERS = frozenset[Role]().union(*(scope.everything for scope in SCOPES.values()))


async def listed(ask: Asking, shared: Shared, board: Board, conditions: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return what stands on a board and meets the conditions, by key. Raises ProblemError."""
    await must_see(ask, conditions)
    _, entries = await there(shared, entries_of(shared, board.name, ask.tenant))
    items = [board.show(entry) for entry in sorted(entries, key=lambda entry: entry.key)]
    return [
        item for item in items if all(board.filters[name].matches(item, value) for name, value in conditions.items())
    ]


async def there(shared: Shared, answer: Awaitable[T]) -> T:
    """Return what Redis answers. Raises ProblemError if it does not."""
    try:
        return await answer
    except AwayError:
        raise not_there(shared) from None


def not_there(shared: Shared) -> ProblemError:
    """Return the problem of a Redis that does not answer, or is not set."""
    detail = "Redis does not answer now." if shared.is_set else "This installation has no Redis: REDIS_URL is not set."
    return ProblemError(NO_SHARED_STATE, detail, headers={"Retry-After": "1" if shared.is_set else "3600"})


def must_be_record(stream: str, id: str) -> None:
    """Raise ProblemError unless a record can have this name; it need not be there yet."""
    if stream not in STREAMS:
        raise ProblemError(NOT_FOUND, f"There are no records of {stream!r}; there are: {', '.join(STREAMS)}.")
    if not RECORD_ID.fullmatch(id):
        errors = [{"parameter": "id", "code": "id", "detail": RECORD_ID_SHAPE}]
        raise ProblemError(INVALID_INPUT, RECORD_ID_SHAPE, errors=errors)


async def must_see(ask: Asking, conditions: Mapping[str, Any]) -> None:
    """Raise ProblemError unless what is asked about may be seen: a board, what it has of a stream, or of one record.

    All of a board is for whoever sees everything in any scope, as it shows who is where, and nothing of what records hold; a
    stream is for whoever sees all of its records, and a record for whoever sees it.
    """
    stream, roles = conditions.get("stream", ""), ask.principal.actor.roles
    if roles & overseers(stream):
        return
    listing = LIVE.get(stream) if stream in STREAMS else None
    if "id" not in conditions or listing is None or not roles & listing.readers:
        allowed = ", ".join(sorted(overseers(stream)))
        detail = f"This is for: {allowed}. Others name the stream and id of a record that they may see."
        raise ProblemError(NOT_ALLOWED, detail)
    if listing.own is not None:
        statement = f"select from {{schema}}.{listing.view} t where t.id = %(id)s and {listing.own.sql('own')}"
        own = await ask.own_ids(listing.scope)
        found = await ask.find(
            listing.context, f"select true from ({statement}) s", {"id": conditions["id"], "own": own}
        )
        if not found.rows:
            raise ProblemError(NO_SUCH_RECORD)


def overseers(stream: str) -> frozenset[Role]:
    """Return who sees all records of a stream; of one in no scope, such as organisations, whoever sees everything in any."""
    scope = SCOPES.get(stream)
    return OVERSEERS if scope is None else scope.everything
