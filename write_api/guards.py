"""Edit locks in front of commands: who sends the token of a lock has his command carried out only while he holds it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

from prometheus_client import Counter

from infra.log.order import BarredError
from infra.redis.boards import Entry, moment
from infra.redis.client import AwayError
from infra.redis.locks import Locks
from infra.web.problems import NO_SHARED_STATE, ProblemError, locked
from infra.web.tokens import Principal
from write_api.orders import Route

Guard = Callable[[], Awaitable[BarredError | None]]
UNCHECKED = Counter(
    "lock_unavailable_total", "Commands that went on without a look at the lock, as Redis did not answer"
)


class Guards:
    """Says which commands are barred by the lock of their record, as often as they are decided."""

    def __init__(self, locks: Locks) -> None:
        self._locks = locks

    def of(self, principal: Principal, route: Route, id: str, token: int | None) -> Guard | None:
        """Return what looks at the lock of a command's record; None if nothing depends on it.

        Without a token, only what replaces a value that somebody may be editing waits for him; what has an intent of its
        own (start, complete, record) goes on.
        """
        tenant, stream, subject = principal.tenant_id, route.stream.name, principal.actor.subject
        if token is not None:
            return lambda: self._must_be_held(tenant, stream, id, subject, token)
        if route.command.respects_lock or route.command.needs_version:
            return lambda: self._must_not_be_anothers(tenant, stream, id, subject)
        return None

    async def _must_be_held(self, tenant: UUID, stream: str, id: str, subject: str, token: int) -> BarredError | None:
        try:
            lock = await self._locks.find(tenant, stream, id)
        except AwayError:
            detail = "Whether you still hold this lock cannot be told now; ask again, or without the token."
            return BarredError(ProblemError(NO_SHARED_STATE, detail, headers={"Retry-After": "1"}))
        held = lock is not None and (lock.token, lock.who["by"]) == (token, subject)
        return None if held else _locked(lock)

    async def _must_not_be_anothers(self, tenant: UUID, stream: str, id: str, subject: str) -> BarredError | None:
        try:
            lock = await self._locks.find(tenant, stream, id)
        except AwayError:
            UNCHECKED.inc()
            return None
        return _locked(lock) if lock is not None and lock.who["by"] != subject else None


def _locked(lock: Entry | None) -> BarredError:
    if lock is None:
        return BarredError(locked(None, None, None))
    return BarredError(locked(lock.who["by"], lock.who["name"], moment(lock.ends)))
