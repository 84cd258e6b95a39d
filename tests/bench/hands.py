"""The load of `fieldlog bench inspections`, in a process of its own: scrutineers who tick items and watch each other do so.

`python -m tests.bench.hands` reads a plan as JSON from standard input and prints what it found. Each scrutineer has one
connection for commands and one live stream of his inspection's checks; he goes through his share of the items, and in
between says something of an item that another one has too, as if he had not seen what that one said.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import uvloop

from tests.bench.processes import request

HANDS = 3
SHARED = 0.05
PATIENCE_S = 60.0
STATUSES = ("passed", "passed", "passed", "failed", "not_applicable")


class Hand(asyncio.Protocol):
    """A scrutineer's connection for commands: one is answered before the next is sent."""

    def __init__(self) -> None:
        self._received = b""
        self._answer: asyncio.Future[dict[str, Any]] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    async def ask(self, command: bytes) -> dict[str, Any]:
        """Send a request; return its answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(command)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if not length or len(body) < int(length):
            return
        self._received = b""
        assert self._answer is not None
        assert head.startswith(b"HTTP/1.1 200"), head + body
        self._answer.set_result(json.loads(body))


class Eyes(asyncio.Protocol):
    """A scrutineer's live stream: when each item of his inspection was seen in which revision."""

    def __init__(self, inspection: str, token: str, moved: asyncio.Event) -> None:
        self._moved = moved
        path = f"/stream?view=checks&inspection={inspection}"
        self._request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        self._received = b""
        self.seen: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self.ready = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        *events, self._received = (self._received + data).split(b"\n\n")
        for event in events:
            if b"event: row\n" in event:
                row = json.loads(event.partition(b"\ndata: ")[2])["row"]
                self.seen[row["item"]].append((row["revision"], now))
            elif b"event: ready\n" in event:
                self.ready.set()
        self._moved.set()

    def when(self, item: str, revision: int) -> float | None:
        """Return when this revision of an item, or a later one in its place, was seen; None if it was not yet."""
        return next((at for found, at in self.seen.get(item, ()) if found >= revision), None)


class Inspection:
    """One inspection: its hands and eyes, and what was said when, by whom, with which outcome."""

    def __init__(self, id: str, items: Sequence[str], dice: random.Random) -> None:
        self.id, self._dice = id, dice
        self._shares = [list(items[hand::HANDS]) for hand in range(HANDS)]
        self._clashing = [self._dice.choice(share) for share in self._shares]
        self.hands: list[Hand] = []
        self.eyes: list[Eyes] = []
        self.said: list[tuple[int, str, int, float]] = []
        self.outcomes: Counter[str] = Counter()
        self._revisions: dict[str, int] = {}

    def checks(self, hand: int) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what a scrutineer says, for ever: his own items as he knows them, sometimes one of another's as if unseen."""
        while True:
            for item in self._shares[hand]:
                if self._dice.random() < SHARED:
                    other = self._clashing[(hand + 1) % HANDS]
                    yield other, self._check(other, 0)
                yield item, self._check(item, self._revisions.get(item, 0))

    def _check(self, item: str, based_on: int) -> dict[str, Any]:
        status = self._dice.choice(STATUSES)
        return {"item": item, "status": status, "comment": f"by {self._dice.random():.9f}", "based_on": based_on}

    async def work(self, hand: int, token: str, pace: float | None, ends: float) -> None:
        """Let one scrutineer tick until the end, one item each `pace` seconds, or as fast as he is answered."""
        due = time.perf_counter() + (self._dice.random() * pace if pace else 0)
        for item, body in self.checks(hand):
            if pace:
                await asyncio.sleep(due - time.perf_counter())
                due += pace
            began = time.perf_counter()
            if began > ends:
                return
            raw = request(f"/inspections/{self.id}/check", json.dumps(body).encode(), token)
            answer = await self.hands[hand].ask(raw)
            self.outcomes[answer["outcome"]] += 1
            self._revisions[item] = max(self._revisions.get(item, 0), answer["revision"])
            if answer["outcome"] in ("recorded", "equal", "merged"):
                self.said.append((hand, item, answer["revision"], began))

    def latencies(self) -> list[float]:
        """Return how long each check took to be seen by the others, in seconds; inf for what they have not seen yet."""
        found = []
        for hand, item, revision, began in self.said:
            for other in range(HANDS):
                if other != hand:
                    at = self.eyes[other].when(item, revision)
                    found.append(at - began if at is not None else float("inf"))
        return found


async def looked(port: int, tokens: Sequence[str], inspections: Sequence[str], ends: float) -> list[float]:
    """Ask for the workspace of one inspection after the other until the end; return how long each took, in seconds."""
    loop, found, number = asyncio.get_running_loop(), [], 0
    _, connection = await loop.create_connection(Hand, "127.0.0.1", port)
    while time.perf_counter() < ends:
        began = time.perf_counter()
        path = f"/bookings/{inspections[number % len(inspections)]}/workspace"
        await connection.ask(request(path, b"", tokens[0]).replace(b"POST", b"GET", 1))
        found.append(time.perf_counter() - began)
        number += 1
        await asyncio.sleep(0.1)
    return found


async def tick(plan: Mapping[str, Any]) -> dict[str, float]:
    """Let everybody work; return latencies in milliseconds, rates, and what became of the checks."""
    loop, dice, moved = asyncio.get_running_loop(), random.Random(plan["seed"]), asyncio.Event()
    tokens, write, read = plan["tokens"], plan["write_port"], plan["read_port"]
    everything = [Inspection(id, plan["items"], dice) for id in plan["inspections"]]
    for one in everything:
        for hand in range(HANDS):
            one.hands.append((await loop.create_connection(Hand, "127.0.0.1", write))[1])
            eyes = Eyes(one.id, tokens[hand], moved)
            await loop.create_connection(lambda eyes=eyes: eyes, "127.0.0.1", read)  # type: ignore[misc]
            one.eyes.append(eyes)
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(eyes.ready.wait() for one in everything for eyes in one.eyes))
    began = time.perf_counter()
    ends = began + plan["seconds"]
    looking = asyncio.create_task(looked(read, tokens, plan["inspections"], ends))
    working = [one.work(hand, tokens[hand], plan["pace"], ends) for one in everything for hand in range(HANDS)]
    await asyncio.gather(*working)
    took = time.perf_counter() - began
    async with asyncio.timeout(PATIENCE_S):
        while any(latency == float("inf") for one in everything for latency in one.latencies()):
            moved.clear()
            await moved.wait()
    return _found(everything, await looking, took)


def _found(everything: Sequence[Inspection], workspaces: Sequence[float], took: float) -> dict[str, float]:
    latencies = sorted(latency for one in everything for latency in one.latencies())
    outcomes = sum((one.outcomes for one in everything), Counter[str]())
    return {
        **{f"p{n}": latencies[len(latencies) * n // 100] * 1000 for n in (50, 95, 99)},
        "workspace p95": sorted(workspaces)[len(workspaces) * 95 // 100] * 1000,
        "checks a second": outcomes.total() / took,
        "checks": outcomes.total(),
        **{name: float(number) for name, number in outcomes.items()},
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(tick(json.load(sys.stdin)))))
