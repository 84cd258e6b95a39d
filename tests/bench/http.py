"""Commands per second over HTTP, each durable, against FastAPI's echo, an idiomatic route with the same append, and pgbench."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import httpx

from domain.roles import Role
from infra.local.home import issue_token
from infra.log.identity import tenant_id_of
from infra.settings import Settings
from tests.bench.load import SEQUENCE
from tests.bench.measure import Figure, measure, pgbench, server
from tests.bench.processes import free_port, house, load, request, running

CONNECTIONS = 64
TENANT = tenant_id_of("bench")
BATCH_ITEMS = 96


def main(*, rounds: int, seconds: float, as_json: bool) -> None:
    """Print the table."""
    peer_port = free_port()
    with server() as postgres, house(postgres) as (environment, settings):
        port = settings.write_port
        peer = (
            "uvicorn",
            "tests.bench.http_peers:app",
            "--port",
            str(peer_port),
            "--no-access-log",
            "--log-level",
            "warning",
        )
        with running(environment, "infra", "write-api", port=port), running(environment, *peer, port=peer_port):
            token = issue_token(settings, TENANT, [Role.ADMIN], "bench", 1)
            register_trucks(settings, token)
            latencies: dict[str, list[float]] = {}

            def loaded(name: str, port: int, requests: Sequence[Sequence[bytes]]) -> Callable[[], float]:
                def run() -> float:
                    found = load(port, seconds, requests)
                    latencies.setdefault(name, []).append(found["p99_ms"])
                    return found["per_second"]

                return run

            toggles = [own_requests(number, token) for number in range(CONNECTIONS)]
            echoes = [[request(f"/echo/T{number}/say", b'{"reason":"wash"}', token)] for number in range(CONNECTIONS)]
            appends = [
                [request(f"/append/T{number}/say", b'{"reason":"wash"}', token)] for number in range(CONNECTIONS)
            ]
            figures = [
                Figure("pgbench, 32 clients", "rows/s", lambda: pgbench(postgres, 32, seconds)),
                Figure("FastAPI echo, no database", "req/s", loaded("echo", peer_port, echoes)),
                Figure(
                    "FastAPI route, same append",
                    "req/s",
                    loaded("route", peer_port, appends),
                    "FastAPI echo, no database",
                ),
                Figure("commands", "req/s", loaded("commands", port, toggles), "pgbench, 32 clients", "0.45 x"),
                Figure(
                    "commands, again", "req/s", loaded("commands", port, toggles), "FastAPI echo, no database", "1.0 x"
                ),
                Figure("commands, once more", "req/s", loaded("commands", port, toggles), "FastAPI route, same append"),
                Figure(
                    f"batches of {BATCH_ITEMS}, 4 connections",
                    "commands/s",
                    lambda: BATCH_ITEMS * load(port, seconds, batch_requests(token))["per_second"],
                    "pgbench, 32 clients",
                    "1.0 x",
                ),
                Figure("p99 of commands, 64 connections", "ms", lambda: latencies["commands"][-1], target="30"),
                Figure(
                    "p99 of commands, 8 connections",
                    "ms",
                    lambda: load(port, seconds, toggles[:8])["p99_ms"],
                    target="10",
                ),
            ]
            measure(figures, rounds, as_json=as_json, title=f"Commands over HTTP, {CONNECTIONS} connections, 1 worker")


def register_trucks(settings: Settings, token: str) -> None:
    """Make the trucks that the connections will drive."""
    url, headers = f"http://127.0.0.1:{settings.write_port}", {"Authorization": f"Bearer {token}"}
    httpx.post(
        f"{url}/tenants/{TENANT}/open",
        json={"name": "bench", "time_zone": "Europe/Ljubljana", "currency": "EUR"},
        headers=headers,
    ).raise_for_status()
    for number in range(CONNECTIONS):
        httpx.post(
            f"{url}/trucks/T{number}/register", json={"number": str(number), "plate": str(number)}, headers=headers
        )


def own_requests(number: int, token: str) -> list[bytes]:
    """Return the commands of one connection: its truck goes out of service and back, a durable fact each time."""
    return [request(f"/trucks/T{number}/{verb}", b"{}", token) for verb in ("deactivate", "activate")]


def batch_requests(token: str) -> list[list[bytes]]:
    """Return a batch of commands for each of a few connections; it toggles trucks of its own, so each item is a fact."""
    requests = []
    for connection in range(4):
        items = ",".join(
            f'{{"op":"{number}-{SEQUENCE.decode()}","stream":"trucks","id":"T{connection * 16 + number % 16}",'
            f'"verb":"{"activate" if number // 16 % 2 else "deactivate"}"}}'
            for number in range(BATCH_ITEMS)
        )
        requests.append([request("/commands", f'{{"items":[{items}]}}'.encode(), token)])
    return requests
