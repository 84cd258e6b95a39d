"""Answers that several processes share: whoever needs one that is not there makes it, the others wait for him a little.

A key says where the rows behind an answer stood, so what is found under it is never out of date; how long it is kept
bounds what depends on the clock. Nothing is ever invalidated.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from prometheus_client import Counter

from infra.redis.client import AwayError, Script, Shared

REQUESTS = Counter("cache_requests_total", "Answers that may be shared, by whether they were", ["result"])
HIT, SHARED, MISS, BYPASS = (REQUESTS.labels(result) for result in ("hit", "shared", "miss", "bypass"))

CLAIM_MS = 2_000
MOST_BYTES = 524_288
PAUSES_S = (0.005, 0.01, 0.02, 0.04, 0.08, 0.1)

# What is there; else 1: it is yours to make, 0: somebody makes it.
FIND = Script("""
local found = redis.call('GET', KEYS[1])
if found then return found end
return redis.call('SET', KEYS[2], '', 'NX', 'PX', ARGV[1]) and 1 or 0
""")
# The last key is the claim; the others take the answer, if there is one.
PUT = Script("""
for i = 1, #KEYS - 1 do redis.call('SET', KEYS[i], ARGV[1], 'PX', ARGV[2]) end
redis.call('DEL', KEYS[#KEYS])
""")

Make = Callable[[], Awaitable[tuple[bytes, list[str]]]]


class Cache:
    """The answers that one process shares with others; runs in one event loop."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._flights: dict[str, asyncio.Task[bytes]] = {}

    @property
    def is_away(self) -> bool:
        """Say whether nothing can be shared now."""
        return self._shared.is_away

    async def find(self, key: str, life_s: int, make: Make) -> bytes:
        """Return what is kept under a key, or what `make` makes, which also names the keys to keep it under.

        At most one makes it at a time, of all processes, unless he takes too long.
        """
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = asyncio.create_task(self._fly(key, life_s, make))
        else:
            SHARED.inc()
        return await asyncio.shield(flight)  # whoever began it may hang up; others wait for it

    async def _fly(self, key: str, life_s: int, make: Make) -> bytes:
        try:
            for pause in (*PAUSES_S, 0.0):
                found = await self._shared.run(FIND, [key, f"{key}:claim"], CLAIM_MS)
                if isinstance(found, bytes):
                    HIT.inc()
                    return found
                if found == 1:
                    break
                await asyncio.sleep(pause)
        except AwayError:
            BYPASS.inc()
            return (await make())[0]
        else:
            MISS.inc()
            return await self._made(key, life_s, make)
        finally:
            del self._flights[key]

    async def _made(self, key: str, life_s: int, make: Make) -> bytes:
        """Make an answer and keep it; the claim is given back in any case, unless Redis is away."""
        answer, keys = b"", list[str]()
        try:
            answer, keys = await make()
            if len(answer) > MOST_BYTES:
                keys = []
            return answer
        finally:
            with suppress(AwayError):
                await self._shared.run(PUT, [*keys, f"{key}:claim"], answer, life_s * 1000)
