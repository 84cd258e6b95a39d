"""Many hands on many checklists: how long until the others see what one scrutineer ticked, and what became of every check.

Real processes: both APIs, projector and reactor; and one for the load (tests/bench/hands.py). 150 inspections run at once
with three scrutineers each: at the pace of people, one item each six seconds; four times as fast; and as fast as each is
answered, when commands come faster than views can follow on a machine that everybody shares. Beside them, in the same run,
a single inspection alone. One check in twenty is said of another one's item as if unseen, so that
some merge and some clash; afterwards the log is asked whether every check is accounted for. A latency begins when a command
is sent and ends when another scrutineer's live stream has the row. Load and system share the machine's cores.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from domain.roles import Role
from infra.database import connect
from infra.local.home import issue_token
from infra.log.identity import tenant_id_of
from infra.settings import Settings
from tests.bench.hands import HANDS
from tests.bench.measure import Figure, measure, server
from tests.bench.processes import house, running

INSPECTIONS, ITEMS, SEED = 150, 329, 7
PACE_S, ALONE_PACE_S = 6.0, 0.5
TENANT = tenant_id_of("bench")
KIND = "mechanical"
SERVICE_LEVEL, AIM, UPLOAD_LEVEL = "500 ms", "50 ms", "5 s"
FILE_BYTES = 10 * 2**20
PATIENCE_S = 60.0
SAID = """select count(*) filter (where topic = 'inspections.item-checked.v1'),
                 count(*) filter (where topic = 'inspections.conflict-found.v1')
            from fieldlog.log where notification_id > %s"""


def main(*, rounds: int, seconds: float, as_json: bool, checklist: Path | None) -> None:
    """Print the table."""
    items = _items(checklist)
    with (
        server() as postgres,
        house(postgres) as (environment, settings),
        running(environment, "infra", "write-api", port=settings.write_port),
        running(environment, "infra", "read-api", port=settings.read_port),
        running(environment, "infra", "projector"),
        running(environment, "infra", "reactor"),
    ):
        paddock = Paddock(settings, items)
        paddock.open()
        figures = [
            *_figures("alone", paddock, lambda: paddock.started(1), ALONE_PACE_S, seconds),
            *_figures("at people's pace", paddock, lambda: paddock.started(INSPECTIONS), PACE_S, seconds),
            *_figures("four times as fast", paddock, lambda: paddock.started(INSPECTIONS), PACE_S / 4, seconds),
            *_figures("as fast as answered", paddock, lambda: paddock.started(INSPECTIONS), None, seconds),
            Figure("10 MB uploaded", "s", paddock.uploaded, target=UPLOAD_LEVEL),
        ]
        measure(figures, rounds, as_json=as_json, title=f"{INSPECTIONS} inspections, {HANDS} hands each")


def _items(checklist: Path | None) -> list[dict[str, Any]]:
    """Return the items of a real checklist for cars with combustion engines, or as many that are made up."""
    if checklist is None:
        return [{"code": f"I{n}", "section": f"S{n // 20}", "description": "x" * 200} for n in range(ITEMS)]
    rows = json.loads(checklist.read_text())["items"]
    return [
        {name: row[name] for name in ("section", "description", "order_index", "required")} | {"code": row["item_code"]}
        for row in rows
        if (row["inspection_type"], row["vehicle_class"]) == (KIND, "CV")
    ]


def _figures(
    name: str, paddock: Paddock, start: Callable[[], list[str]], pace: float | None, seconds: float
) -> list[Figure]:
    found: dict[str, float] = {}

    def run() -> float:
        found.update(dict.fromkeys(("recorded", "equal", "merged", "conflict", "unchanged"), 0.0))
        found.update(paddock.ticked(start(), pace, seconds))
        return found["p50"]

    def told(what: str) -> Callable[[], float]:
        return lambda: found[what]

    alone = name == "alone"

    def against(what: str) -> str | None:
        return None if alone else f"alone, seen by the others, {what}"

    return [
        Figure(f"{name}, seen by the others, p50", "ms", run, against("p50"), AIM),
        Figure(f"{name}, seen by the others, p95", "ms", told("p95"), against("p95"), SERVICE_LEVEL),
        Figure(f"{name}, seen by the others, p99", "ms", told("p99"), against("p99"), SERVICE_LEVEL),
        Figure(f"{name}, workspace, p95", "ms", told("workspace p95"), None if alone else "alone, workspace, p95"),
        Figure(f"{name}, checks", "checks/s", told("checks a second")),
        Figure(f"{name}, merged", "checks", lambda: found["merged"] + found["equal"]),
        Figure(f"{name}, conflicts", "checks", told("conflict")),
        Figure(f"{name}, not accounted for", "checks", told("lost"), target="0"),
    ]


class Paddock:
    """A competition of one organisation, through the public API."""

    def __init__(self, settings: Settings, items: Sequence[dict[str, Any]]) -> None:
        self._settings, self._items, self._number = settings, items, 0
        roles = [Role.ADMIN, Role.INSPECTION_RESPONSIBLE, Role.SCRUTINEER]
        self._tokens = [issue_token(settings, TENANT, roles, f"hand {n}", 1) for n in range(HANDS)]
        headers = {"Authorization": f"Bearer {self._tokens[0]}"}
        write, read = (f"http://127.0.0.1:{port}" for port in (settings.write_port, settings.read_port))
        self._write = httpx.Client(base_url=write, headers=headers, timeout=PATIENCE_S)
        self._read = httpx.Client(base_url=read, headers=headers, timeout=PATIENCE_S)

    def open(self) -> None:
        """Open the organisation, and publish its checklist."""
        zone = {"name": "bench", "time_zone": "Europe/London", "currency": "EUR"}
        self._ask(f"/tenants/{TENANT}/open", zone)
        rules = {"name": KIND, "duration_minutes": 90, "lanes": 100, "classes": [{"vehicle_class": "CV"}]}
        self._ask(f"/inspection-types/{KIND}/define", {"rules": rules})
        self._ask(f"/checklist-templates/{KIND}/draft", {"items": list(self._items)})
        self._ask(f"/checklist-templates/{KIND}/publish", {})

    def started(self, number: int) -> list[str]:
        """Book, check in and start so many inspections of new teams; return their ids."""
        first, self._number = self._number, self._number + number
        ids = [f"B{n}" for n in range(first, first + number)]
        # The next bookings come days later, so that lanes are never short.
        begins = datetime.now(UTC).replace(hour=9) + timedelta(days=1 + first)
        orders: list[tuple[str, dict[str, Any]]] = []
        for place, id in enumerate(ids):
            at = (begins + timedelta(hours=2 * (place // 100))).isoformat()
            team = {"name": id, "code": id, "vehicle_class": "CV"}
            booking = {"team_id": id, "inspection_type_id": KIND, "starts_at": at}
            orders += [(f"teams/{id}/register", team), (f"bookings/{id}/request", booking)]
            orders += [(f"bookings/{id}/confirm", {}), (f"bookings/{id}/check-in", {})]
        position = self._all(orders)
        self._wait_until_prepared(ids, position)
        self._settled(self._all([(f"inspections/{id}/start", {}) for id in ids]))
        return ids

    def ticked(self, ids: Sequence[str], pace: float | None, seconds: float) -> dict[str, float]:
        """Let three scrutineers tick each of these inspections; return what was found, and how many checks are missing."""
        plan = {
            "write_port": self._settings.write_port,
            "read_port": self._settings.read_port,
            "tokens": self._tokens,
            "inspections": ids,
            "items": [item["code"] for item in self._items],
            "pace": pace,
            "seconds": seconds,
            "seed": SEED,
        }
        with connect(self._settings.need("projector_url"), "bench inspections") as connection:
            [(head,)] = connection.execute("select fieldlog.head()").fetchall()
            command = [sys.executable, "-W", "ignore", "-m", "tests.bench.hands"]
            done = subprocess.run(command, input=json.dumps(plan), stdout=subprocess.PIPE, text=True, check=True)
            [(checked, clashed)] = connection.execute(SAID, [head]).fetchall()
        found: dict[str, float] = json.loads(done.stdout)
        told = found.get("recorded", 0) + found.get("equal", 0) + found.get("merged", 0)
        found["lost"] = abs(told - checked) + abs(found.get("conflict", 0) - clashed)
        return found

    def uploaded(self) -> float:
        """Upload a file of 10 MB as evidence; return how long that took, in seconds."""
        [booking] = self.started(1)
        file = b"%PDF-1.7\n" + os.urandom(FILE_BYTES - 9)
        declared = {
            "id": f"{booking}-file",
            "booking_id": booking,
            "name": "evidence.pdf",
            "size": len(file),
            "media_type": "application/pdf",
            "sha256": hashlib.sha256(file).hexdigest(),
        }
        began = time.perf_counter()
        self._write.post("/uploads", json=declared).raise_for_status()
        self._write.put(f"/uploads/{booking}-file/parts/1", content=file).raise_for_status()
        self._write.post(f"/uploads/{booking}-file/complete").raise_for_status()
        return time.perf_counter() - began

    def _ask(self, path: str, body: dict[str, Any]) -> None:
        self._write.post(path, json=body).raise_for_status()

    def _all(self, orders: Sequence[tuple[str, dict[str, Any]]]) -> int:
        """Send commands together; return the position of the last one."""
        position = 0
        for start in range(0, len(orders), 500):
            items = []
            for number, (path, body) in enumerate(orders[start : start + 500], start):
                stream, id, verb = path.split("/")
                items.append({"op": f"{path}-{number}", "stream": stream, "id": id, "verb": verb, "body": body})
            answer = self._write.post("/commands", json={"items": items}).raise_for_status().json()
            wrong = [one for one in answer["items"] if one["status"] != httpx.codes.OK]
            if wrong:
                raise RuntimeError(f"not accepted: {wrong[0]}")
            position = answer["items"][-1]["receipt"]["position"]
        return position

    def _settled(self, position: int) -> None:
        self._read.get("/inspections?limit=1", headers={"If-Position-At-Least": str(position)}).raise_for_status()

    def _wait_until_prepared(self, ids: Sequence[str], position: int) -> None:
        """Wait until the reactor has prepared these inspections."""
        self._settled(position)
        ends = time.monotonic() + PATIENCE_S
        while any(self._read.get(f"/inspections/{id}").status_code != httpx.codes.OK for id in (ids[0], ids[-1])):
            if time.monotonic() > ends:
                raise TimeoutError("the inspections were not prepared")
            time.sleep(0.05)
