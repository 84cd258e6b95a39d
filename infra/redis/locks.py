"""Edit locks: one holder per record, for a while, with a token by which a save proves that nobody else held it since.

**The token grows** from each holder of a record to the next, for ever: it is Redis's clock in hundred-thousandths of a
second (15 digits, the most that a number in a header has), and where the clock has not moved on, one more than the last
token of the organisation. The clock alone carries it over a Redis that has lost everything, as long as it is not set back
by more than Redis was away.

**The holder** is a person and the place (a browser's tab, say) where he edits; asking again from there gives the same
lock with the same token, so an answer that was lost is simply asked for again. Another tab of the same person is another
holder, who may take the lock over.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

import msgspec

from infra.redis.boards import MOST_ENTRIES, PRELUDE, Entry, board_of, entry_of
from infra.redis.client import Script, Shared


def lock_key(stream: str, id: str) -> str:
    """Return the key of a record's lock on its board."""
    return f"{stream}/{id}"


class Acquired(NamedTuple):
    """What became of the wish for a lock: whether it is the caller's now, and who holds it; None: there is room for no more."""

    granted: bool
    lock: Entry | None


# ARGV: key, who (JSON: by, name, place), life in ms, whether it may be taken from anybody, most locks.
ACQUIRE = Script(
    PRELUDE
    + """
local held, who = read(ARGV[1]), cjson.decode(ARGV[2])
if held and held.who.by == who.by and held.who.place == who.place then
    who.taken_from = held.who.taken_from
    return {1, write(ARGV[1], ARGV[3], held.since, held.token, who)}
end
local takes = ARGV[4] == '1' or ARGV[4] == 'own' and held and held.who.by == who.by
if held and not takes then return {0, held.text} end
if not held and full(tonumber(ARGV[5])) then return {0, false} end
if held then who.taken_from = {by = held.who.by, name = held.who.name} end
local last = tonumber(redis.call('GET', KEYS[2]) or 0)
local token = math.max(last + 1, time[1] * 100000 + math.floor(time[2] / 10))
redis.call('SET', KEYS[2], string.format('%.0f', token))
return {1, write(ARGV[1], ARGV[3], now, token, who)}
"""
)
# ARGV: key, by, token, life in ms.
EXTEND = Script(
    PRELUDE
    + """
local held = read(ARGV[1])
if not held then return {0, false} end
if held.who.by ~= ARGV[2] or held.token ~= tonumber(ARGV[3]) then return {0, held.text} end
return {1, write(ARGV[1], ARGV[4], held.since, held.token, held.who)}
"""
)
RELEASE = Script(
    PRELUDE
    + """
local held = read(ARGV[1])
if not held then return {1, false} end
if held.who.by ~= ARGV[2] or held.token ~= tonumber(ARGV[3]) then return {0, held.text} end
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('PUBLISH', 'fieldlog:boards', KEYS[1])
return {1, false}
"""
)


class Locks:
    """The edit locks of all organisations."""

    def __init__(self, shared: Shared, life_s: int) -> None:
        self._shared, self._life_ms = shared, life_s * 1000

    async def find(self, tenant: UUID, stream: str, id: str) -> Entry | None:
        """Return the lock of a record, if somebody holds it. Raises AwayError."""
        return await entry_of(self._shared, "locks", tenant, lock_key(stream, id))

    async def acquire(
        self, tenant: UUID, stream: str, id: str, by: str, name: str | None, place: str, *, takes: str
    ) -> Acquired:
        """Get the lock of a record that nobody holds; `takes`: from whom it may be taken: 1 anybody, own, 0 nobody.

        Raises AwayError.
        """
        who = msgspec.json.encode({"by": by, "name": name or by, "place": place})
        keys = [board_of("locks", tenant), f"fieldlog:tokens:{tenant}"]
        key = lock_key(stream, id)
        granted, text = await self._shared.run(ACQUIRE, keys, key, who, self._life_ms, takes, MOST_ENTRIES)
        return Acquired(bool(granted), Entry.of(key, text) if text is not None else None)

    async def extend(self, tenant: UUID, stream: str, id: str, by: str, token: int) -> Acquired:
        """Hold on to a lock. Raises AwayError."""
        return await self._if_held(EXTEND, tenant, lock_key(stream, id), by, token)

    async def release(self, tenant: UUID, stream: str, id: str, by: str, token: int) -> Acquired:
        """Give a lock back. Raises AwayError."""
        return await self._if_held(RELEASE, tenant, lock_key(stream, id), by, token)

    async def _if_held(self, script: Script, tenant: UUID, key: str, by: str, token: int) -> Acquired:
        granted, text = await self._shared.run(script, [board_of("locks", tenant)], key, by, token, self._life_ms)
        return Acquired(bool(granted), Entry.of(key, text) if text is not None else None)
