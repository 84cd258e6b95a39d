"""Boards: however full one is and however often it changes, Redis and the process have time for others."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from infra.redis.boards import MOST_ENTRIES, REST, Entry, entries_of, open_boards
from infra.redis.client import Shared
from infra.redis.presence import beat
from tests.conftest import TENANT

TOLD = 8


class Counting:
    """A watcher who counts how often he is told of a change, until it is enough."""

    def __init__(self) -> None:
        self.begun, self.enough = asyncio.Event(), asyncio.Event()
        self.told = 0

    def fresh(self, entries: Mapping[str, Entry]) -> None:
        """Begin."""
        assert len(entries) == MOST_ENTRIES
        self.begun.set()

    def changed(self, before: Entry | None, now: Entry | None) -> None:
        """Count."""
        assert before is not None
        assert now is not None
        self.told += 1
        if self.told == TOLD:
            self.enough.set()

    def lost(self) -> None:
        """Fail: this Redis is there."""
        raise AssertionError


async def be_there(shared: Shared, number: int) -> None:
    assert await beat(shared, TENANT, "ana", None, "trips", f"T{number}", "viewing", None)


async def stay(shared: Shared) -> None:
    """Be there again and again: one entry changes all the time."""
    while True:
        await be_there(shared, 0)


async def reading_s(shared: Shared) -> float:
    """Return how long it takes to read the board."""
    began = asyncio.get_running_loop().time()
    await entries_of(shared, "presence", TENANT)
    return asyncio.get_running_loop().time() - began


def test_a_full_board_that_changes_all_the_time_leaves_most_of_the_time_to_others(redis_url: str) -> None:
    async def run() -> tuple[float, float]:
        async with Shared(redis_url) as shared, open_boards(shared) as boards:
            await asyncio.gather(*(be_there(shared, number) for number in range(MOST_ENTRIES)))
            reading = min([await reading_s(shared) for _ in range(5)])
            counting, loop = Counting(), asyncio.get_running_loop()
            boards.join("presence", TENANT, counting)
            await counting.begun.wait()
            began, staying = loop.time(), loop.create_task(stay(shared))
            await counting.enough.wait()
            ended = loop.time()
            staying.cancel()
            boards.leave("presence", TENANT, counting)
            return reading, (ended - began) / TOLD

    reading, each = asyncio.run(run())
    assert each > REST * reading
