"""Shared answers against direct ones: the same questions to two read APIs, one with Redis and one without, in the same run.

An organisation with trucks on the road gets facts all the time: batches of ten fixes, so many points a minute as its
phones send. Fifty viewers ask meanwhile: each once a second, as screens that poll do, and then as fast as they are
answered. The hit rate is that of the screens. What limits cost a command is measured beside: the same commands to a write
API with Redis, which counts each, and to one without.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx

from domain.roles import Role
from infra.local.home import issue_token
from infra.local.redis import RedisServer
from infra.log.identity import tenant_id_of
from infra.settings import Settings
from tests.bench.http import CONNECTIONS, own_requests, register_trucks
from tests.bench.measure import Figure, measure, server
from tests.bench.processes import free_port, house, load, request, running

VIEWERS, POINTS_A_MINUTE, FIXES = 50, 1_200, 10
TRUCKS, TRIPS = 20, 200
TENANT = tenant_id_of("bench")
PATHS = {"dashboard": "/fleet/dashboard", "trips": "/trips?limit=50", "sites": "/sites"}
UNLIMITED = {"FIELDLOG_LIMIT_REQUESTS": str(10**9), "FIELDLOG_LIMIT_POINTS": str(10**9)}


def main(*, rounds: int, seconds: float, as_json: bool) -> None:
    """Print the table."""
    ports = {name: free_port() for name in ("write", "read")}
    with server() as postgres, house(postgres) as (environment, settings), redis_running() as url:
        shared = {
            **environment,
            **UNLIMITED,
            "REDIS_URL": url,
            "FIELDLOG_WRITE_PORT": str(ports["write"]),
            "FIELDLOG_READ_PORT": str(ports["read"]),
        }
        with (
            running(environment, "infra", "write-api", port=settings.write_port),
            running(environment, "infra", "read-api", port=settings.read_port),
            running(shared, "infra", "write-api", port=ports["write"]),
            running(shared, "infra", "read-api", port=ports["read"]),
            running(environment, "infra", "projector"),
        ):
            token = issue_token(settings, TENANT, [Role.ADMIN], "bench", 1)
            register_trucks(settings, token)
            ready(settings, token)
            figures = [
                *(figure for name in PATHS for figure in reads(name, settings, ports["read"], token, seconds)),
                *commands(settings, ports["write"], token, seconds),
            ]
            measure(figures, rounds, as_json=as_json, title=f"{VIEWERS} viewers, {POINTS_A_MINUTE} points a minute")


@contextmanager
def redis_running() -> Iterator[str]:
    """Run a Redis; give its URL."""
    with tempfile.TemporaryDirectory(prefix="fieldlog-bench-redis-") as directory:
        server = RedisServer(Path(directory))
        server.start()
        try:
            yield server.url()
        finally:
            server.stop()


def reads(name: str, settings: Settings, port: int, token: str, seconds: float) -> list[Figure]:
    """Return the figures of one question."""
    found: dict[str, float] = {}
    asked = [[request(PATHS[name], b"", token).replace(b"POST", b"GET", 1)]] * VIEWERS

    def polled(which: str, port: int) -> Callable[[], float]:
        def run() -> float:
            with facts_arriving(settings, token):
                before = results(port)
                latencies = load(port, seconds, asked, pause=1.0)
                after = results(port)
            answers = {result: after[result] - before.get(result, 0) for result in after}
            found["hit rate"] = 100 * (answers.get("hit", 0) + answers.get("shared", 0)) / max(1, sum(answers.values()))
            found[f"{which} p99"] = latencies["p99_ms"]
            return latencies["p50_ms"]

        return run

    def flooded(port: int) -> Callable[[], float]:
        def run() -> float:
            with facts_arriving(settings, token):
                return load(port, seconds, asked)["per_second"]

        return run

    direct = settings.read_port
    return [
        Figure(f"{name}, direct, polled, p50", "ms", polled("direct", direct)),
        Figure(f"{name}, direct, polled, p99", "ms", lambda: found["direct p99"]),
        Figure(f"{name}, shared, polled, p50", "ms", polled("shared", port), f"{name}, direct, polled, p50"),
        Figure(f"{name}, shared, polled, p99", "ms", lambda: found["shared p99"], f"{name}, direct, polled, p99"),
        Figure(f"{name}, shared, polled, hit rate", "%", lambda: found["hit rate"], target="80"),
        Figure(f"{name}, direct, flooded", "req/s", flooded(direct)),
        Figure(f"{name}, shared, flooded", "req/s", flooded(port), f"{name}, direct, flooded"),
    ]


def commands(settings: Settings, port: int, token: str, seconds: float) -> list[Figure]:
    """Return the figures of commands with and without a limit."""
    toggles = [own_requests(number, token) for number in range(TRUCKS, CONNECTIONS)]  # those on the road may not
    return [
        Figure("commands, no Redis", "req/s", lambda: load(settings.write_port, seconds, toggles)["per_second"]),
        Figure("commands, counted", "req/s", lambda: load(port, seconds, toggles)["per_second"], "commands, no Redis"),
    ]


def results(port: int) -> Mapping[str, float]:
    """Return how often a read API's answers were shared so far, by result."""
    found = {}
    for line in httpx.get(f"http://127.0.0.1:{port}/metrics").text.splitlines():
        if line.startswith("cache_requests_total{"):
            name, _, value = line.partition(" ")
            found[name.split('"')[1]] = float(value)
    return found


def ready(settings: Settings, token: str) -> None:
    """Make drivers, sites, past trips, and trips that are on their way."""
    write = httpx.Client(
        base_url=f"http://127.0.0.1:{settings.write_port}", headers={"Authorization": f"Bearer {token}"}, timeout=30
    )
    with write:
        today = datetime.now(UTC).date().isoformat()
        items = []

        def add(stream: str, id: str, verb: str, **body: object) -> None:
            items.append({"op": str(len(items)), "stream": stream, "id": id, "verb": verb, "body": body})

        for n in range(TRUCKS):
            add("drivers", f"D{n}", "register", name=f"Driver {n}")
            add("drivers", f"D{n}", "go-on-duty")
            add("sites", f"S{n}", "register", name=f"Site {n}", latitude=46.0, longitude=14.5)
        for n in range(TRIPS):
            which = n % TRUCKS
            add("trips", f"trip-{n}", "schedule", driver_id=f"D{which}", truck_id=f"T{which}", date=today)
            add("trips", f"trip-{n}", "start")
            if n < TRIPS - TRUCKS:
                add("trips", f"trip-{n}", "complete")
        answer = write.post("/commands", json={"items": items}).raise_for_status().json()
        failed = [one for one in answer["items"] if one["status"] != 200]
        if failed:
            raise RuntimeError(f"not made ready: {json.dumps(failed[0])}")


@contextmanager
def facts_arriving(settings: Settings, token: str) -> Iterator[None]:
    """Let the phones of all trucks send meanwhile, one after the other, at an even pace."""
    ending = threading.Event()
    client = httpx.Client(
        base_url=f"http://127.0.0.1:{settings.write_port}", headers={"Authorization": f"Bearer {token}"}, timeout=30
    )

    def send() -> None:
        number = 0
        while not ending.wait(60 * FIXES / POINTS_A_MINUTE):
            now = datetime.now(UTC)
            fixes = [
                {
                    "at": (now - timedelta(milliseconds=100 * n)).isoformat(),
                    "latitude": 46.0 + number % 100 * 1e-4,
                    "longitude": 14.5,
                }
                for n in range(FIXES)
            ]
            trip = f"trip-{TRIPS - TRUCKS + number % TRUCKS}"
            client.post(f"/trips/{trip}/record-locations", json={"fixes": fixes}).raise_for_status()
            number += 1

    sending = threading.Thread(target=send)
    sending.start()
    try:
        yield
    finally:
        ending.set()
        sending.join()
        client.close()
