"""Boards: what is so for a while only, such as who edits what: one per organisation and kind, told live as it changes.

An entry ends by Redis's own clock, also where nobody takes it down: each script judges that by itself. No key carries a
time to live, so a server whose `maxmemory-policy` is `volatile-lru` makes room by dropping answers and limits, never locks.

What is heard is which board changed; what is so is then read from the board, and compared with what was told before.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple, Protocol
from uuid import UUID

import msgspec

from infra.redis.client import PAUSE_S, AwayError, Script, Shared

Kind = Literal["locks", "presence"]
CHANNEL = "fieldlog:boards"
MOST_ENTRIES = 10_000
LONGEST_WAIT_S = 10.0
AT_LEAST_S = 0.002
# A full board that changes all the time would otherwise be read all the time.
REST, LONGEST_REST_S = 4, 1.0

# An entry is one text: when it ends, its last sign of life, since when it is there (milliseconds), its token, and JSON.
PRELUDE = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function read(key)
    local text = redis.call('HGET', KEYS[1], key)
    if not text then return nil end
    local ends, beat, since, token, rest = string.match(text, '^(%d+) (%d+) (%d+) (%d+) (.*)$')
    if tonumber(ends) <= now then return nil end
    return {text = text, since = tonumber(since), token = tonumber(token), who = cjson.decode(rest)}
end
local function write(key, life, since, token, who)
    local text = string.format('%.0f %.0f %.0f %.0f ', now + life, now, since, token) .. cjson.encode(who)
    redis.call('HSET', KEYS[1], key, text)
    redis.call('PUBLISH', 'fieldlog:boards', KEYS[1])
    return text
end
local function sweep()
    local kept, ended = {}, {}
    local found = redis.call('HGETALL', KEYS[1])
    for i = 1, #found, 2 do
        if tonumber(string.match(found[i + 1], '^%d+')) <= now then
            redis.call('HDEL', KEYS[1], found[i])
        else
            kept[#kept + 1] = found[i]
            kept[#kept + 1] = found[i + 1]
        end
    end
    return kept
end
local function full(most)
    return redis.call('HLEN', KEYS[1]) >= most and #sweep() / 2 >= most
end
"""
READ = Script(PRELUDE + "local one = read(ARGV[1]) return one and one.text or false")
LIST = Script(PRELUDE + "return {string.format('%.0f', now), sweep()}")


class Entry(NamedTuple):
    """What stands on a board under a key, for how long still, and who put it there."""

    key: str
    ends: int
    beat: int
    since: int
    token: int
    who: Mapping[str, Any]

    @classmethod
    def of(cls, key: str, text: bytes) -> Entry:
        """Return an entry as a board holds it."""
        ends, beat, since, token, who = text.split(b" ", 4)
        return cls(key, int(ends), int(beat), int(since), int(token), msgspec.json.decode(who))


def moment(milliseconds: int) -> datetime:
    """Return a time of Redis's clock."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def board_of(kind: Kind, tenant: UUID) -> str:
    """Return the name of an organisation's board, where it is kept."""
    return f"fieldlog:{kind}:{tenant}"


async def entry_of(shared: Shared, kind: Kind, tenant: UUID, key: str) -> Entry | None:
    """Return what stands under a key, if anything does. Raises AwayError."""
    text = await shared.run(READ, [board_of(kind, tenant)], key)
    return Entry.of(key, text) if text is not None else None


async def entries_of(shared: Shared, kind: Kind, tenant: UUID) -> tuple[int, list[Entry]]:
    """Return what time it is for Redis, and all that stands on a board. Raises AwayError."""
    now, flat = await shared.run(LIST, [board_of(kind, tenant)])
    keys = [key.decode() for key in flat[::2]]
    return int(now), [Entry.of(key, text) for key, text in zip(keys, flat[1::2], strict=True)]


class Watcher(Protocol):
    """Somebody who is told what stands on a board: all of it first (`fresh`), and again whenever that may have been missed."""

    def fresh(self, entries: Mapping[str, Entry]) -> None:
        """Take what there is for everything there is."""

    def changed(self, before: Entry | None, now: Entry | None) -> None:
        """Take note of one entry that is new, another one, or no more."""

    def lost(self) -> None:
        """Take note that what there is cannot be told any more, until it is told afresh."""


@dataclass(eq=False)
class _Feed:
    kind: Kind
    tenant: UUID
    watchers: set[Watcher] = field(default_factory=set)
    known: dict[str, Entry] | None = None
    is_lost: bool = False
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    running: asyncio.Task[None] | None = None


class Boards:
    """Tells the watchers of one process what stands on boards; one feed per organisation and kind with watchers."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._feeds: dict[str, _Feed] = {}

    def join(self, kind: Kind, tenant: UUID, watcher: Watcher) -> None:
        """Let somebody watch a board; he is told what stands on it soon."""
        name = board_of(kind, tenant)
        feed = self._feeds.setdefault(name, _Feed(kind, tenant))
        feed.watchers.add(watcher)
        if feed.known is not None:
            watcher.fresh(feed.known)
        elif feed.is_lost:
            watcher.lost()
        if feed.running is None:
            feed.running = asyncio.get_running_loop().create_task(self._follow(feed))

    def leave(self, kind: Kind, tenant: UUID, watcher: Watcher) -> None:
        """Let somebody watch no more."""
        feed = self._feeds.get(board_of(kind, tenant))
        if feed is not None:
            feed.watchers.discard(watcher)
            if not feed.watchers and feed.running is not None:
                del self._feeds[board_of(kind, tenant)]
                feed.running.cancel()

    def heard(self, name: str) -> None:
        """Take note that a board has changed."""
        if feed := self._feeds.get(name):
            feed.changed.set()

    def missed(self) -> None:
        """Take note that any board may have changed."""
        for feed in self._feeds.values():
            feed.changed.set()

    async def _follow(self, feed: _Feed) -> None:
        """Read a board when it has changed, when its next entry ends, and now and then; rest longer than a reading takes."""
        loop = asyncio.get_running_loop()
        while True:
            feed.changed.clear()
            began = loop.time()
            try:
                now, entries = await entries_of(self._shared, feed.kind, feed.tenant)
            except AwayError:
                feed.known = None
                if not feed.is_lost:
                    feed.is_lost = True
                    for watcher in list(feed.watchers):
                        watcher.lost()
                await asyncio.sleep(PAUSE_S)
                continue
            feed.is_lost = False
            self._tell(feed, {one.key: one for one in entries})
            told = loop.time()
            rested = told + min(REST * (told - began), LONGEST_REST_S)
            wait = min([LONGEST_WAIT_S, *((one.ends - now) / 1000 + AT_LEAST_S for one in entries)])
            with suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await feed.changed.wait()
            await asyncio.sleep(rested - loop.time())

    @staticmethod
    def _tell(feed: _Feed, entries: dict[str, Entry]) -> None:
        before, feed.known = feed.known, entries
        for watcher in list(feed.watchers):
            if before is None:
                watcher.fresh(entries)
                continue
            for key in [key for key in before if key not in entries]:
                watcher.changed(before[key], None)
            for key, entry in entries.items():
                if entry != before.get(key):
                    watcher.changed(before.get(key), entry)


@asynccontextmanager
async def open_boards(shared: Shared) -> AsyncIterator[Boards]:
    """Open what tells a process of boards."""
    boards = Boards(shared)
    if not shared.is_set:
        yield boards
        return
    listening = asyncio.create_task(shared.listen(CHANNEL, boards.heard, boards.missed))
    try:
        yield boards
    finally:
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
