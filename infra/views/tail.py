"""The live tail: what changed in views, sent to whoever watches, always read from `changes` by position.

There is one feed per organisation and context with subscribers; it queries once per wake-up. A subscriber that is behind
catches up from the store and then goes live, so it misses nothing and gets nothing twice. One that is too slow is reset.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from infra.views.readers import Readers, Served, UnavailableError

log = logging.getLogger(__name__)

MOST_ROWS = 1_000
PAUSE_S = 0.5
MOST_IDLE_S = 10.0

# Each change is shown by the very SQL that shows an item of the list: `t` is the changed row instead of the table's. All
# changes of one position come together, so a position that was reached is complete. A row is read as one of its own view
# only: columns of the same name may have other types elsewhere.
CHANGES = """select c.view, c.position, c.key, c.data::text, c.was::text, coalesce({shown})
    from (select * from {schema}.changes c
           where c.view = any(%(views)s) and c.position > %(after)s and c.position <= %(upto)s
           order by c.position fetch first {most} rows with ties) c
    {laterals}
    order by c.position, c.view, c.key"""
LATERAL = """left join lateral (
        select ({item})::text as shown
          from jsonb_populate_record(null::{schema}.{view}, case when c.view = '{view}'
                   then c.data || jsonb_build_object('tenant_id', c.tenant_id, 'position', c.position) end) t
          {joins}
         where c.view = '{view}' and c.data is not null) v_{view} on true"""
FOREVER = 2**63 - 1


class LiveView(NamedTuple):
    """A view that can be watched: how its rows are shown, as SQL over `t` and the joins."""

    name: str
    context: str
    view: str
    item: str
    joins: str


class Change(NamedTuple):
    """A row that changed: as it is now (None: it is gone), its filter values before, and how it is shown."""

    view: str
    position: int
    key: str
    row: Mapping[str, Any] | None
    was: Mapping[str, Any] | None
    shown: str | None


@dataclass(eq=False)
class Subscriber:
    """Somebody who watches one view: from which build and position on, and what wants to be told.

    `tell` gets the changes until a position, in order; `reset` the reason why it must begin anew. `drained` returns once
    what was told has been sent. `only` is a field and its value: rows that have another one, before and after, are not told.
    """

    view: LiveView
    tenant: UUID
    build: int
    position: int
    tell: Callable[[Sequence[Change], int], None]
    reset: Callable[[str], None]
    drained: Callable[[], Awaitable[None]]
    only: tuple[str, Any] | None = None
    live: bool = False


@dataclass(eq=False)
class _Feed:
    build: int
    position: int
    subscribers: set[Subscriber] = field(default_factory=set)
    running: asyncio.Task[None] | None = None
    moved: bool = False
    asked_at: float = 0.0
    telling: asyncio.Lock = field(default_factory=asyncio.Lock)


class _SortedOut:
    """Changes by view, and by the values of fields, so that hundreds who watch one record each are not told of all of them."""

    def __init__(self, changes: Sequence[Change]) -> None:
        self._by_view: dict[str, list[Change]] = {}
        for change in changes:
            self._by_view.setdefault(change.view, []).append(change)
        self._by_value: dict[tuple[str, str], dict[Any, list[Change]]] = {}

    def of(self, subscriber: Subscriber) -> Sequence[Change]:
        """Return the changes that somebody may have to be told."""
        view, own = subscriber.view.view, self._by_view.get(subscriber.view.view, [])
        if not own or subscriber.only is None:
            return own
        name, value = subscriber.only
        if (view, name) not in self._by_value:
            self._by_value[view, name] = _by_value(own, name)
        found = self._by_value[view, name]
        return found[value] if value in found else found.get(None, [])


def _by_value(changes: Sequence[Change], name: str) -> dict[Any, list[Change]]:
    """Return changes by the values that a field has or had; what a row was that is forgotten, it may have been for anybody."""
    known = {row[name] for change in changes for row in (change.row, change.was) if row is not None}
    found: dict[Any, list[Change]] = {value: [] for value in (*known, None)}
    for change in changes:
        values = {row[name] for row in (change.row, change.was) if row is not None}
        for value in values if values else found:
            found[value].append(change)
    return found


class Tail:
    """Feeds the subscribers of one process; runs in one event loop."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._feeds: dict[tuple[UUID, str], _Feed] = {}
        readers.watch(self._moved)

    async def join(self, subscriber: Subscriber) -> None:
        """Let somebody watch: first what he has missed, then live. He is reset if that is not kept any more."""
        context = subscriber.view.context
        served = self._readers.served(context)
        if subscriber.build != served.build:
            subscriber.reset("another version of the view is served")
            return
        if subscriber.position < served.changes_from:
            subscriber.reset("changes since then are not kept any more")
            return
        feed = self._feeds.setdefault((subscriber.tenant, context), _Feed(served.build, subscriber.position))
        feed.subscribers.add(subscriber)
        while subscriber in feed.subscribers and not subscriber.live:
            async with feed.telling:  # whoever goes live while others are being told would miss what they are told
                if subscriber.position >= feed.position:
                    subscriber.live = True
                    self._wake(subscriber.tenant, context, feed)
                    return
                until = feed.position
            try:
                changes, upto = await self._changes(subscriber.tenant, [subscriber.view], subscriber.position, until)
            except UnavailableError:
                await asyncio.sleep(PAUSE_S)
                continue
            except Exception:
                log.exception("what was missed cannot be shown", extra={"view": subscriber.view.name})
                self._give_up(subscriber)
                return
            subscriber.tell(changes, upto)
            subscriber.position = upto
            await subscriber.drained()

    def leave(self, subscriber: Subscriber) -> None:
        """Let somebody watch no more."""
        key = (subscriber.tenant, subscriber.view.context)
        feed = self._feeds.get(key)
        if feed is not None:
            feed.subscribers.discard(subscriber)
            if not feed.subscribers:
                del self._feeds[key]

    def _give_up(self, subscriber: Subscriber) -> None:
        self.leave(subscriber)
        subscriber.reset("this view cannot be shown")

    @property
    def subscribers(self) -> int:
        """How many subscribers there are."""
        return sum(len(feed.subscribers) for feed in self._feeds.values())

    def _moved(self, served: Served, tenants: Set[UUID] | None) -> None:
        # A feed of whose rows nothing changed is asked now and then, so that its subscribers' positions do not grow old.
        idle_since = asyncio.get_running_loop().time() - MOST_IDLE_S
        for (tenant, context), feed in list(self._feeds.items()):
            if context != served.context:
                continue
            if feed.build != served.build:
                del self._feeds[tenant, context]
                for subscriber in feed.subscribers:
                    subscriber.reset("another version of the view is served")
            elif tenants is None or tenant in tenants or feed.asked_at < idle_since:
                self._wake(tenant, context, feed)

    def _wake(self, tenant: UUID, context: str, feed: _Feed) -> None:
        feed.moved = True
        if feed.running is None:
            feed.running = asyncio.get_running_loop().create_task(self._advance(tenant, context, feed))

    async def _advance(self, tenant: UUID, context: str, feed: _Feed) -> None:
        """Tell the live subscribers of a feed what changed, until nothing more has."""
        try:
            while feed.moved and feed.subscribers:
                feed.moved = False
                feed.asked_at = asyncio.get_running_loop().time()
                try:
                    async with feed.telling:
                        await self._tell(tenant, feed)
                except UnavailableError as error:
                    log.warning("live tail waits for its database", extra={"reason": str(error)})
                    feed.moved = True
                    await asyncio.sleep(PAUSE_S)
                except Exception:
                    # Silence would be taken for "nothing has changed".
                    log.exception("live tail cannot show what changed", extra={"context": context})
                    for subscriber in list(feed.subscribers):
                        self._give_up(subscriber)
        finally:
            feed.running = None

    async def _tell(self, tenant: UUID, feed: _Feed) -> None:
        """Tell the live subscribers of a feed what changed since its position; each only what is new to it."""
        views = sorted({subscriber.view for subscriber in feed.subscribers})
        if not views:  # the last one left meanwhile
            return
        changes, upto = await self._changes(tenant, views, feed.position, FOREVER)
        feed.position = max(feed.position, upto)
        feed.moved |= len(changes) >= MOST_ROWS
        sorted_out = _SortedOut(changes)
        for subscriber in list(feed.subscribers):
            if subscriber.live and subscriber.position < upto:
                known = subscriber.position
                subscriber.tell([change for change in sorted_out.of(subscriber) if change.position > known], upto)
                subscriber.position = upto

    async def _changes(
        self, tenant: UUID, views: Sequence[LiveView], after: int, upto: int
    ) -> tuple[list[Change], int]:
        """Return what changed in views after a position, and until which position that is all."""
        parameters = {"views": [view.view for view in views], "after": after, "upto": upto}
        found = await self._readers.find(tenant, views[0].context, _statement(tuple(views)), parameters)
        changes = [
            Change(
                view,
                position,
                key,
                msgspec.json.decode(data) if data is not None else None,
                msgspec.json.decode(was) if was is not None else None,
                shown,
            )
            for view, position, key, data, was, shown in found.rows
        ]
        if len(changes) >= MOST_ROWS:
            return changes, changes[-1].position
        return changes, min(upto, found.position)


@lru_cache(maxsize=1_000)
def _statement(views: tuple[LiveView, ...]) -> str:
    laterals = [
        LATERAL.replace("{item}", view.item).replace("{joins}", view.joins).replace("{view}", view.view)
        for view in views
    ]
    shown = ", ".join(f"v_{view.view}.shown" for view in views)
    statement = CHANGES.replace("{shown}", shown).replace("{laterals}", "\n".join(laterals))
    return statement.replace("{most}", str(MOST_ROWS))
