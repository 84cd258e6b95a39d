"""Edit locks: `GET /locks`, and `GET` and `POST /locks/{stream}/{id}`, `.../extend`, `.../release`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from domain.roles import Role
from infra.redis.boards import Entry, moment
from infra.redis.client import Shared
from infra.redis.locks import Acquired, Locks
from infra.web.problems import (
    BUSY,
    INVALID_INPUT,
    LOCKED,
    MALFORMED_BODY,
    NO_SHARED_STATE,
    NO_SUCH_RECORD,
    NOT_ALLOWED,
    NOT_FOUND,
    TOO_LARGE,
    TOO_MANY,
    ProblemError,
    locked,
    of_kinds,
)
from read_api.boards import LOCKS, Lock, LocksWanted, listed, lock_shown, must_be_record, must_see, overseers, there
from read_api.kernel import Anybody, Asking, only
from read_api.listing import Shown

router = APIRouter(tags=["locks"])

SUPERVISORS = frozenset({Role.ADMIN, Role.DISPATCHER, Role.INSPECTION_RESPONSIBLE})
EDITORS = SUPERVISORS | {Role.DRIVER, Role.SCRUTINEER, Role.TEAM_LEADER}
MOST_TOKEN = 10**15 - 1
READING = of_kinds(BUSY, NOT_ALLOWED, NOT_FOUND, NO_SUCH_RECORD, INVALID_INPUT, NO_SHARED_STATE)
HOLDING = of_kinds(
    MALFORMED_BODY, BUSY, NOT_ALLOWED, NOT_FOUND, NO_SUCH_RECORD, TOO_LARGE, INVALID_INPUT, LOCKED, NO_SHARED_STATE
)
Editor = Annotated[Asking, only(EDITORS)]


class LocksShown(Shown):
    """The locks that are held now, by record."""

    items: list[Lock]


class LockState(Shown):
    """The lock of a record, if somebody holds it."""

    stream: str
    id: str
    lock: Lock | None


class Held(Lock):
    """A lock that is yours. Send `token` as `Lock-Token` with what you save; it is greater than that of every earlier holder."""

    token: int


class Wish(BaseModel):
    """Whence the lock is wanted (a browser's tab, say; each is a holder of its own), and whether to take it from its holder."""

    model_config = ConfigDict(extra="forbid")

    place: str = Field("", max_length=100, pattern=r"^[\x20-\x7e]*$")
    take_over: bool = False


class Holding(BaseModel):
    """The token of a lock that is yours."""

    model_config = ConfigDict(extra="forbid")

    token: int = Field(ge=0, le=MOST_TOKEN)


def _shared(request: Request) -> Shared:
    shared: Shared = request.app.state.shared
    return shared


def _locks(request: Request, ask: Anybody) -> Locks:
    return Locks(request.app.state.shared, ask.settings.lock_seconds)


AllShared = Annotated[Shared, Depends(_shared)]
AllLocks = Annotated[Locks, Depends(_locks)]


@router.get("/locks", response_model=LocksShown, responses=READING)
async def locks(ask: Anybody, shared: AllShared, wanted: Annotated[LocksWanted, Query()]) -> Response:
    """Which records are being edited, and by whom; who sees only his own records names one of them."""
    return ask.plain({"items": await listed(ask, shared, LOCKS, wanted.model_dump(exclude_none=True))})


@router.get("/locks/{stream}/{id}", response_model=LockState, responses=READING)
async def lock(ask: Anybody, shared: AllShared, all_locks: AllLocks, stream: str, id: str) -> Response:
    """Who edits this record, if anybody does."""
    await _must_be_seen(ask, stream, id)
    found = await there(shared, all_locks.find(ask.tenant, stream, id))
    return ask.plain({"stream": stream, "id": id, "lock": None if found is None else lock_shown(found)})


@router.post("/locks/{stream}/{id}", response_model=Held, responses=HOLDING | of_kinds(TOO_MANY))
async def acquire(
    ask: Editor, shared: AllShared, all_locks: AllLocks, stream: str, id: str, wish: Annotated[Wish, Body()] = Wish()
) -> Response:
    """Get the lock of a record; asked again by its holder, it is the same lock, with the same token, from now on.

    With `take_over`, admins, dispatchers and those responsible for inspections take it from anybody, each where they see all
    records; and everybody from himself in another place.
    """
    await _must_be_seen(ask, stream, id)
    principal = ask.principal
    takes = "0" if not wish.take_over else "1" if principal.actor.roles & SUPERVISORS & overseers(stream) else "own"
    wanted = all_locks.acquire(ask.tenant, stream, id, principal.actor.subject, principal.name, wish.place, takes=takes)
    acquired = await there(shared, wanted)
    if acquired.lock is None:
        raise ProblemError(TOO_MANY, "This organisation holds as many locks as there may be.")
    return ask.plain(_held(acquired))


@router.post("/locks/{stream}/{id}/extend", response_model=Held, responses=HOLDING)
async def extend(
    ask: Editor, shared: AllShared, all_locks: AllLocks, stream: str, id: str, holding: Holding
) -> Response:
    """Hold on to a lock; do so every 60 seconds while its record is edited."""
    must_be_record(stream, id)
    by = ask.principal.actor.subject
    return ask.plain(_held(await there(shared, all_locks.extend(ask.tenant, stream, id, by, holding.token))))


@router.post("/locks/{stream}/{id}/release", status_code=204, response_class=Response, responses=HOLDING)
async def release(
    ask: Editor, shared: AllShared, all_locks: AllLocks, stream: str, id: str, holding: Holding
) -> Response:
    """Give a lock back, when what was edited is saved or left; done again, it changes nothing."""
    must_be_record(stream, id)
    by = ask.principal.actor.subject
    released = await there(shared, all_locks.release(ask.tenant, stream, id, by, holding.token))
    if not released.granted:
        raise _locked(released.lock)
    return Response(status_code=204)


async def _must_be_seen(ask: Asking, stream: str, id: str) -> None:
    must_be_record(stream, id)
    await must_see(ask, {"stream": stream, "id": id})


def _held(acquired: Acquired) -> Mapping[str, Any]:
    if not acquired.granted or acquired.lock is None:
        raise _locked(acquired.lock)
    return lock_shown(acquired.lock) | {"token": acquired.lock.token}


def _locked(lock: Entry | None) -> ProblemError:
    return locked(None, None, None) if lock is None else locked(lock.who["by"], lock.who["name"], moment(lock.ends))
