"""From a commit to everybody who watches: the whole way of a fact, beside that of a bare notification of the same server.

Real processes: write API, projector, read API; and one for the load, which opens the streams and sends commands at an even
pace, whether or not the ones before are answered. Each command is a fact that changes a truck's row; several organisations
share the pace and the subscribers evenly, so each fact is sent to all subscribers of its own organisation.

A latency begins with a fact's `recorded_at`, which the server sets under the lock of the log, before insert and commit; it
ends when a subscriber has read the row. It is one machine, so it is one clock. The limit is measured alike: from the
server's clock within a transaction that only notifies (and is as durable) until a listener that does nothing else has it.
Each fact counts once per subscriber, also where several changed a row at once and it was sent once. The first second of
each run does not count. Load and system share the machine's cores, which the limit does not have to.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from asyncio.subprocess import PIPE
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import cast

import httpx
import psutil
import uvloop

from domain.roles import Role
from infra.database import connect, connect_async
from infra.kafka.record import read_record
from infra.local.home import issue_token
from infra.log.identity import tenant_id_of
from infra.settings import Settings
from tests.bench.measure import Figure, measure, server
from tests.bench.processes import broker, house, request, running

SUBSCRIBERS, TENANTS, TRUCKS = 50, 10, 50
RATES, TARGET, KAFKA_TARGET = (50, 500), "25 ms", "60 ms"
WARM_UP_S, PATIENCE_S = 1.0, 30.0
RECORDED = """select id, originator_version, extract(epoch from recorded_at)::float8 from fieldlog.log
               where notification_id > %s and stream = 'trucks' order by notification_id"""
NOTIFY = "select pg_notify('fieldlog_bench', extract(epoch from clock_timestamp())::text)"


def main(*, rounds: int, seconds: float, as_json: bool, kafka: bool = False) -> None:
    """Print the table."""
    with (
        server() as postgres,
        broker() if kafka else nullcontext() as bootstrap,
        house(postgres, kafka=bootstrap) as (environment, settings),
        running(environment, "infra", "write-api", port=settings.write_port) as write_api,
        running(environment, "infra", "read-api", port=settings.read_port) as read_api,
        running(environment, "infra", "projector") as projector,
        running(environment, "infra", "relay") if kafka else nullcontext() as relay,
    ):
        pids = {"write API": write_api.pid, "projector": projector.pid, "read API": read_api.pid}
        if relay is not None:
            pids["relay"] = relay.pid
        tokens = [issue_token(settings, tenant_id_of(f"bench {n}"), [Role.ADMIN], "bench", 1) for n in range(TENANTS)]
        register_trucks(settings, tokens)
        if kafka:
            wait_for_relay(settings)
        figures = [figure for rate in RATES for figure in _figures(settings, tokens, Pace(rate, seconds), pids=pids)]
        measure(figures, rounds, as_json=as_json, title=f"Commit to {SUBSCRIBERS} subscribers")


@dataclass(frozen=True)
class Pace:
    """So many a second, for so long; with what does not count, and so that each truck is as it was at the end."""

    rate: int
    seconds: float

    @property
    def number(self) -> int:
        """How many that are."""
        return -int(-self.rate * (WARM_UP_S + self.seconds) // (2 * TRUCKS)) * 2 * TRUCKS

    async def beats(self) -> AsyncIterator[int]:
        """Yield numbers at an even pace; one that is late does not delay the following ones."""
        loop = asyncio.get_running_loop()
        begins = loop.time()
        for number in range(self.number):
            await asyncio.sleep(begins + number / self.rate - loop.time())
            yield number


def _figures(settings: Settings, tokens: Sequence[str], pace: Pace, pids: Mapping[str, int]) -> list[Figure]:
    found: dict[str, float] = {}

    def limit() -> float:
        latencies = uvloop.run(notified(settings.need("projector_url"), pace))
        found["limit p99"] = centile(latencies, 99)
        return centile(latencies, 50)

    def live() -> float:
        found.update(load(settings, tokens, pace, pids))
        return found["p50"]

    def told(name: str) -> Callable[[], float]:
        return lambda: found[name]

    at = f"{pace.rate}/s"
    return [
        Figure(f"NOTIFY to LISTEN, {at}, p50", "ms", limit),
        Figure(f"NOTIFY to LISTEN, {at}, p99", "ms", told("limit p99")),
        Figure(f"commit to subscriber, {at}, p50", "ms", live, f"NOTIFY to LISTEN, {at}, p50"),
        Figure(f"commit to subscriber, {at}, p99", "ms", told("p99"), f"NOTIFY to LISTEN, {at}, p99", TARGET),
        Figure(f"facts a second, {at}", "facts/s", told("facts_per_second")),
        *(
            Figure(
                f"commit to Kafka consumer, {what}, {at}, {centile}",
                "ms",
                told(f"kafka {what} {centile}"),
                target=target,
            )
            for what in (("facts", "rows") if settings.kafka_bootstrap_servers else ())
            for centile, target in (("p50", ""), ("p99", KAFKA_TARGET))
        ),
        *(Figure(f"{name} busy, {at}", "% of a core", told(name)) for name in pids),
    ]


def wait_for_relay(settings: Settings) -> None:
    """Wait until what there is so far is published."""
    ends = time.monotonic() + PATIENCE_S
    while (
        (record := read_record(settings)) is None
        or not all(one.complete for one in record.views.values())
        or not record.log
    ):
        if time.monotonic() > ends:
            raise TimeoutError("the relay has published nothing")


def _cpu_s(pid: int) -> float:
    used = psutil.Process(pid).cpu_times()
    return used.user + used.system


def centile(latencies: Sequence[float], hundredths: int) -> float:
    """Return the latency in milliseconds that so many hundredths do not exceed."""
    return sorted(latencies)[len(latencies) * hundredths // 100] * 1000


def register_trucks(settings: Settings, tokens: Sequence[str]) -> None:
    """Open the organisations and register their trucks; return once the views show them."""
    write, read = (f"http://127.0.0.1:{port}" for port in (settings.write_port, settings.read_port))
    for tenant, token in enumerate(tokens):
        headers = {"Authorization": f"Bearer {token}"}
        zone = {"name": "bench", "time_zone": "Europe/London", "currency": "EUR"}
        opened = httpx.post(f"{write}/tenants/{tenant_id_of(f'bench {tenant}')}/open", json=zone, headers=headers)
        opened.raise_for_status()
        for truck in range(tenant, TRUCKS, TENANTS):
            body = {"number": str(truck), "plate": f"LJ {truck}"}
            done = httpx.post(f"{write}/trucks/T{truck}/register", json=body, headers=headers).raise_for_status()
        headers["If-Position-At-Least"] = str(done.json()["position"])
        httpx.get(f"{read}/trucks", headers=headers, timeout=PATIENCE_S).raise_for_status()


async def notified(url: str, pace: Pace) -> list[float]:
    """Return how long each notification took from its transaction to a listener, in seconds."""
    latencies: list[float] = []
    async with await connect_async(url, "bench notify") as sender, await connect_async(url, "bench listen") as listener:
        await listener.execute("listen fieldlog_bench")

        async def listen() -> None:
            async for notification in listener.notifies(stop_after=pace.number):
                latencies.append(time.time() - float(notification.payload))

        listening = asyncio.create_task(listen())
        async for _ in pace.beats():
            await sender.execute(NOTIFY)
        async with asyncio.timeout(PATIENCE_S):
            await listening
    return latencies[int(pace.rate * WARM_UP_S) :]


def load(settings: Settings, tokens: Sequence[str], pace: Pace, pids: Mapping[str, int]) -> dict[str, float]:
    """Watch and send from a process of its own; return what it found."""
    plan = {
        "write_port": settings.write_port,
        "read_port": settings.read_port,
        "url": settings.need("projector_url"),
        "tokens": tokens,
        "pace": asdict(pace),
        "pids": pids,
        "kafka": settings.kafka_bootstrap_servers,
    }
    command = [sys.executable, "-W", "ignore", "-m", "tests.bench.live"]
    output = subprocess.run(command, input=json.dumps(plan), stdout=subprocess.PIPE, text=True, check=True).stdout
    found: dict[str, float] = json.loads(output)
    return found


class Caller(asyncio.Protocol):
    """A connection that sends commands one after the other; those that come meanwhile wait."""

    def __init__(self) -> None:
        self._waiting: deque[bytes] = deque()
        self._received = b""
        self._idle = asyncio.Event()
        self._idle.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def ask(self, command: bytes) -> None:
        """Send a command, now or when those before it are answered."""
        self._waiting.append(command)
        if self._idle.is_set():
            self._idle.clear()
            self._transport.write(command)

    async def answered(self) -> None:
        """Wait until everything is answered."""
        await self._idle.wait()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, _, body = self._received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if not length or len(body) < int(length):
            return
        assert head.startswith(b"HTTP/1.1 200"), self._received
        self._received = b""
        self._waiting.popleft()
        if self._waiting:
            self._transport.write(self._waiting[0])
        else:
            self._idle.set()


class Watcher(asyncio.Protocol):
    """A subscriber: notes when each row arrives, and in which version."""

    def __init__(self, path: str, token: str) -> None:
        self._request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        self._received = b""
        self._wanted: dict[str, int] = {}
        self.versions: dict[str, list[int]] = defaultdict(list)
        self.times: dict[str, list[float]] = defaultdict(list)
        self.ready, self.complete = asyncio.Event(), asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.time()
        *events, self._received = (self._received + data).split(b"\n\n")
        for event in events:
            if b"event: row\n" in event:
                told = json.loads(event.partition(b"\ndata: ")[2])
                self.versions[told["key"]].append(told["row"]["version"])
                self.times[told["key"]].append(now)
            elif b"event: ready\n" in event:
                self.ready.set()
        if self._wanted:
            self.want(self._wanted)

    def want(self, wanted: dict[str, int]) -> None:
        """Say which version of each row is the last one."""
        self._wanted = wanted
        if all(self.versions[key] and self.versions[key][-1] >= version for key, version in wanted.items()):
            self.complete.set()

    def seen(self, key: str, version: int) -> float:
        """Return when this version of a row was there, or a later one in its place."""
        place = next(n for n, found in enumerate(self.versions[key]) if found >= version)
        return self.times[key][place]


@dataclass
class Consumer:
    """A consumer of Kafka in a process of its own; it notes when facts and rows arrive."""

    process: asyncio.subprocess.Process

    @classmethod
    async def begin(cls, bootstrap: str) -> Consumer:
        """Start it, and wait until it listens."""
        command = [sys.executable, "-W", "ignore", "-m", "tests.bench.consume", bootstrap]
        process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, limit=2**26)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        return cls(process)

    async def end(self, last: int, since: float) -> dict[str, float]:
        """Wait until everything until a position has arrived; return latencies of what was recorded since then."""
        output, _ = await self.process.communicate(b"%d\n" % last)
        found = {}
        for what, pairs in json.loads(output).items():
            latencies = [latency for recorded, latency in pairs if recorded >= since]
            found |= {f"kafka {what} p{hundredths}": centile(latencies, hundredths) for hundredths in (50, 99)}
        return found


async def watched(
    write_port: int,
    read_port: int,
    url: str,
    tokens: Sequence[str],
    pace: Pace,
    pids: Mapping[str, int],
    kafka: str | None,
) -> dict[str, float]:
    """Open the streams, send commands, and return latencies in milliseconds once all of them have arrived.

    Also how busy processes were meanwhile, in hundredths of a core.
    """
    loop = asyncio.get_running_loop()
    callers = [(await loop.create_connection(Caller, "127.0.0.1", write_port))[1] for _ in range(TRUCKS)]
    watchers = []
    for number in range(SUBSCRIBERS):
        watcher = Watcher("/stream?view=trucks", tokens[number % TENANTS])
        await loop.create_connection(lambda watcher=watcher: watcher, "127.0.0.1", read_port)  # type: ignore[misc]
        watchers.append(watcher)
    consumer = await Consumer.begin(kafka) if kafka else None
    with connect(url, "bench load") as connection:
        async with asyncio.timeout(pace.number / pace.rate + PATIENCE_S):
            await asyncio.gather(*(watcher.ready.wait() for watcher in watchers))
            [(head,)] = connection.execute("select fieldlog.head()").fetchall()
            began, used = time.perf_counter(), {name: _cpu_s(pid) for name, pid in pids.items()}
            async for number in pace.beats():
                truck, verb = number % TRUCKS, ("deactivate", "activate")[number // TRUCKS % 2]
                callers[truck].ask(request(f"/trucks/T{truck}/{verb}", b"{}", tokens[truck % TENANTS]))
            await asyncio.gather(*(caller.answered() for caller in callers))
            took = time.perf_counter() - began
            busy = {name: 100 * (_cpu_s(pid) - used[name]) / took for name, pid in pids.items()}
            facts = connection.execute(RECORDED, [head]).fetchall()
            newest = {key: version for key, version, _ in facts}
            for number, watcher in enumerate(watchers):
                watcher.want({f"T{n}": newest[f"T{n}"] for n in range(number % TENANTS, TRUCKS, TENANTS)})
            await asyncio.gather(*(watcher.complete.wait() for watcher in watchers))
            counts_from = facts[0][2] + WARM_UP_S
            if consumer is not None:
                busy |= await consumer.end(head + len(facts), counts_from)
    latencies = [
        watcher.seen(key, version) - at
        for key, version, at in facts
        if at >= counts_from
        for watcher in watchers[int(key[1:]) % TENANTS :: TENANTS]
    ]
    return busy | {"p50": centile(latencies, 50), "p99": centile(latencies, 99), "facts_per_second": len(facts) / took}


if __name__ == "__main__":
    given = json.load(sys.stdin)
    given["pace"] = Pace(**given["pace"])
    print(json.dumps(uvloop.run(watched(**given))))
