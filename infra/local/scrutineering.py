"""A day of scrutineering, through the public API: teams book what they may, scrutineers tick checklists together.

Each of them has tokens of his own. Some say the same of an item, some contradict each other, one works without a network
for a while and sends later; who is responsible resolves what clashes.
"""

from __future__ import annotations

import json
import random
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import typer
from rich.console import Console

from domain.roles import Role
from infra.local.home import issue_token
from infra.local.tenants import tenant_id
from infra.settings import Settings

TOKEN_HOURS = 24 * 30
TEAMS: Sequence[tuple[str, str, str, str]] = (
    ("volt", "Volt Racing", "EV", "University of Ljubljana"),
    ("ampere", "Ampere Works", "EV", "Graz University of Technology"),
    ("piston", "Piston Club", "CV", "University of Maribor"),
    ("octane", "Octane Crew", "CV", "University of Zagreb"),
)
CREW = {"scrutineer-1": "Irena Mlakar", "scrutineer-2": "Jan Horvat", "scrutineer-3": "Klara Weiss"}
CHIEF = "scrutineering"
FAILS, CLASHES, OFFLINE = 0.03, 0.02, 0.02
SLOT_STEP = timedelta(minutes=15)
MOST_SLOTS = 4 * 24 * 3

Sheets = Mapping[str, Any]
Order = tuple[str, dict[str, Any]]


def read_sheets(file: Path | None = None) -> Sheets:
    """Return inspection sheets: those of a file, or a small example."""
    text = file.read_text() if file is not None else (files("infra.local") / "sheets.json").read_text()
    sheets: Sheets = json.loads(text)
    return sheets


def play(settings: Settings, file: Path | None, tenant: str, pause: float, console: Console) -> None:
    """Let every car pass every test by the sheets of a file, and say what happened."""
    try:
        sheets = read_sheets(file)
    except ValueError as error:
        raise typer.BadParameter(f"{file} holds no inspection sheets: {error}") from None
    day = Scrutineering(settings, tenant_id(settings, tenant), sheets, random.Random())
    report = day.load()
    console.print(f"{len(sheets['items'])} items; the import says: {json.dumps(report)[:300]}", soft_wrap=True)
    cars = day.cars()
    while cars:
        for car in list(cars):
            said = next(car, None)
            if said is None:
                cars.remove(car)
            elif "items left" not in said:
                console.print(said)
        time.sleep(pause)
    console.print(f"{day.checked} checks, {day.conflicts} conflicts, {day.failed} inspections failed.")


class NotAcceptedError(Exception):
    """A command was not carried out; `code` says why."""

    def __init__(self, path: str, problem: Mapping[str, Any]) -> None:
        super().__init__(f"{path}: {problem['code']}: {problem['detail']} {problem.get('details', '')}")
        self.code = problem["code"]


class Person:
    """Somebody with a token of his own, who asks for several things at once and waits where he is told to."""

    def __init__(self, settings: Settings, tenant: UUID, subject: str, *roles: Role) -> None:
        token = issue_token(settings, tenant, roles, subject, TOKEN_HOURS)
        headers = {"Authorization": f"Bearer {token}", "X-Application-Name": "paddock"}
        url = f"http://{settings.host}:{settings.write_port}"
        self.subject = subject
        self.http = httpx.Client(base_url=url, headers=headers, timeout=20)

    def tell(self, *orders: Order) -> list[dict[str, Any]]:
        """Ask for commands in their order; return what became of each."""
        items = []
        for number, (path, body) in enumerate(orders):
            stream, id, verb = path.split("/")
            op = f"{time.time_ns()}-{number}"
            items.append({"op": op, "stream": stream, "id": id, "verb": verb, "body": body})
        answer = self._answered("POST", "/commands", json={"items": items})
        found: list[dict[str, Any]] = answer.json()["items"]
        return found

    def do(self, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask for one command; return its receipt. Raises NotAcceptedError."""
        [outcome] = self.tell((path, body or {}))
        if "problem" in outcome:
            raise NotAcceptedError(path, outcome["problem"])
        receipt: dict[str, Any] = outcome["receipt"]
        return receipt

    def see_to(self, path: str, body: dict[str, Any] | None = None) -> None:
        """Ask for one command; a refusal means that it is so already."""
        [outcome] = self.tell((path, body or {}))
        if "problem" in outcome and outcome["status"] != httpx.codes.CONFLICT:
            raise NotAcceptedError(path, outcome["problem"])

    def send_sheets(self, sheets: Sheets) -> Mapping[str, Any]:
        """Import inspection sheets; return the report."""
        report: Mapping[str, Any] = self._answered("POST", "/imports/checklists", json=sheets).json()
        return report

    def _answered(self, method: str, path: str, **what: Any) -> httpx.Response:
        while True:
            try:
                answer = self.http.request(method, path, **what)
            except httpx.TransportError:
                time.sleep(0.2)
                continue
            if answer.status_code in (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE):
                time.sleep(float(answer.headers.get("Retry-After", "1")))
                continue
            return answer.raise_for_status()


class Scrutineering:
    """The people, the teams and their cars; `cars` are what they do, a step at a time."""

    def __init__(
        self, settings: Settings, tenant: UUID, sheets: Sheets, dice: random.Random, items_a_step: int = 4
    ) -> None:
        self._sheets, self._dice, self._items_a_step = sheets, dice, items_a_step
        self._chief = Person(settings, tenant, CHIEF, Role.ADMIN, Role.INSPECTION_RESPONSIBLE)
        self._crew = [Person(settings, tenant, id, Role.SCRUTINEER) for id in CREW]
        self._leaders = {id: Person(settings, tenant, f"{id}-leader", Role.TEAM_LEADER) for id, *_ in TEAMS}
        self.passed: dict[str, list[str]] = {id: [] for id, *_ in TEAMS}
        self.conflicts = self.failed = self.checked = 0

    def load(self) -> Mapping[str, Any]:
        """Make sure that sheets are published, and people and teams are there; return the report of the import."""
        report = self._chief.send_sheets(self._sheets)
        for kind in sorted({item["inspection_type"] for item in self._sheets["items"]}):
            self._chief.see_to(f"checklist-templates/{kind}/publish")
        today = datetime.now(UTC).replace(hour=10, minute=0, second=0, microsecond=0)
        for id, name in CREW.items():
            self._chief.see_to(f"people/{id}/register", {"name": name, "user": id, "roles": ["scrutineer"]})
            spans = [{"starts_at": today.isoformat(), "ends_at": (today + timedelta(hours=8)).isoformat()}]
            day = {"day": today.date().isoformat(), "spans": spans}
            self._chief.see_to(f"people/{id}/announce-availability", day)
        for number, (id, name, vehicle_class, university) in enumerate(TEAMS, 1):
            team = {"name": name, "code": id.upper(), "vehicle_class": vehicle_class, "university": university}
            self._chief.see_to(f"teams/{id}/register", team | {"number": number})
            roles = ["team_leader", *(["electrical_safety_officer"] if vehicle_class == "EV" else [])]
            leader = {"name": f"Leader of {name}", "user": f"{id}-leader", "team_id": id, "roles": roles}
            self._chief.see_to(f"people/{id}-leader/register", leader)
        return report

    def cars(self) -> list[Iterator[str]]:
        """Return what each car goes through."""
        return [self.car(team) for team in self.passed]

    def revoke(self) -> str:
        """Let a car that has passed everything be changed, so that its first test, and what depends on it, is open again."""
        team = self._dice.choice(list(self.passed))
        kind = self.passed[team][0]
        self._chief.do(
            f"passports/{team}/revoke", {"inspection_type_id": kind, "reason": "Changed after scrutineering"}
        )
        self.passed[team] = []
        return team

    def car(self, team: str) -> Iterator[str]:
        """Yield what happens to a car, step by step, until it has passed every test that it needs."""
        vehicle_class = next(its_class for id, _, its_class, _ in TEAMS if id == team)
        for kind in _in_order(self._sheets["inspection_types"], vehicle_class):
            tries = 0
            while kind["key"] not in self.passed[team]:
                tries += 1
                booking = f"{team}-{kind['key']}-{int(time.time())}-{tries}"
                try:
                    yield self._book(team, booking, kind["key"], again=tries > 1)
                except NotAcceptedError as no:
                    if no.code != "AlreadyPassed":
                        raise
                    self.passed[team].append(kind["key"])
                    yield f"{team} has passed {kind['key']} on another day"
                    continue
                yield from self._inspect(team, booking, kind["key"], vehicle_class)

    def _book(self, team: str, booking: str, kind: str, *, again: bool) -> str:
        leader, chief, hands = self._leaders[team], self._chief, self._dice.sample(list(CREW), 2)
        at = datetime.now(UTC) + timedelta(minutes=1)
        for _ in range(MOST_SLOTS):
            wanted = {
                "team_id": team,
                "inspection_type_id": kind,
                "starts_at": at.isoformat(),
                "rescrutineering": again,
            }
            try:
                leader.do(f"bookings/{booking}/request", wanted)
                break
            except NotAcceptedError as no:
                if no.code not in ("SlotNotFree", "CarElsewhere", "TooShortNotice"):
                    raise
                at += SLOT_STEP
        leader.do(f"bookings/{booking}/confirm")
        for hand in hands:
            chief.do(f"bookings/{booking}/assign-scrutineer", {"person_id": hand})
        self._crew[0].do(f"bookings/{booking}/check-in", {"attendees": [f"{team}-leader"]})
        return f"{team} comes for {kind} at {at:%d %b %H:%M}"

    def _inspect(self, team: str, id: str, kind: str, vehicle_class: str) -> Iterator[str]:
        first = self._crew[0]
        while True:
            try:
                first.do(f"inspections/{id}/start")
                break
            except NotAcceptedError as no:
                if no.code != "no-such-record":  # until the reactor has prepared it
                    raise
                yield f"{team} waits for {kind}"
        items = [
            item["item_code"]
            for item in self._sheets["items"]
            if item["inspection_type"] == kind and item["vehicle_class"] in (None, vehicle_class)
        ]
        yield from self._tick(team, id, items)
        yield self._complete(team, id, kind)

    def _tick(self, team: str, id: str, items: Sequence[str]) -> Iterator[str]:
        waiting = deque(items)
        while waiting:
            for number, hand in enumerate(self._crew):
                own = [waiting.popleft() for _ in range(min(self._items_a_step, len(waiting)))]
                if not own:
                    break
                self._said(hand.tell(*(order for item in own for order in self._checks(id, item))))
                if self._dice.random() < CLASHES * len(own):
                    clash = {"item": own[0], "status": "failed", "comment": "Not as I measure it", "based_on": 0}
                    self._said(self._crew[number - 1].tell((f"inspections/{id}/check", clash)))
            yield f"{team} has {len(waiting)} items left"

    def _checks(self, id: str, item: str) -> list[Order]:
        """Return what somebody says of an item: mostly that it is fine; sometimes later, or not at once."""
        chance = self._dice.random()
        good = {"item": item, "status": "passed", "based_on": 0}
        if chance < OFFLINE:
            branch = {"branch": f"{item}-{time.time_ns()}".replace(" ", "-")}
            first = good | branch | {"step": 1, "comment": "Seen in the pit"}
            return [(f"inspections/{id}/check", good | branch | {"step": 2}), (f"inspections/{id}/check", first)]
        if chance < OFFLINE + FAILS:
            mended = good | {"based_on": 1, "comment": "Mended on the spot"}
            failed = good | {"status": "failed", "comment": "To be mended"}
            return [(f"inspections/{id}/check", failed), (f"inspections/{id}/check", mended)]
        return [(f"inspections/{id}/check", good)]

    def _said(self, outcomes: Sequence[dict[str, Any]]) -> None:
        for outcome in outcomes:
            if "problem" in outcome:
                raise NotAcceptedError("check", outcome["problem"])
            self.checked += 1
            self.conflicts += outcome["receipt"]["outcome"] == "conflict"

    def _complete(self, team: str, id: str, kind: str) -> str:
        bad = self._dice.random() < FAILS
        result: dict[str, Any] = {"result": "failed", "reasons": ["Too many defects"]} if bad else {"result": "passed"}
        try:
            self._crew[0].do(f"inspections/{id}/complete", result)
        except NotAcceptedError as no:
            if no.code != "ConflictsOpen":
                raise
            self._resolve(id)
            self._crew[0].do(f"inspections/{id}/complete", result)
        self._leaders[team].do(f"inspections/{id}/give-feedback", {"score": self._dice.randint(3, 5)})
        if bad:
            self.failed += 1
            return f"{team} has failed {kind} and comes again"
        self.passed[team].append(kind)
        return f"{team} has passed {kind}"

    def _resolve(self, id: str) -> None:
        """Let who is responsible resolve every conflict; they are numbered from 1."""
        number = 1
        while True:
            path = f"inspections/{id}/resolve-conflict"
            try:
                self._chief.do(path, {"number": number, "resolution": "keep_current"})
            except NotAcceptedError as no:
                if no.code != "ConflictUnknown":
                    raise
                return
            number += 1


def _in_order(kinds: Sequence[Mapping[str, Any]], vehicle_class: str) -> list[Mapping[str, Any]]:
    """Return the inspections that cars of a class need, each after those that must be passed before."""
    ordered: list[Mapping[str, Any]] = []
    waiting = [kind for kind in kinds if kind["prerequisites"].get(vehicle_class) is not None]
    while waiting:
        done = {kind["key"] for kind in ordered}
        ready = [kind for kind in waiting if set(kind["prerequisites"][vehicle_class]) <= done]
        if not ready:
            raise ValueError(f"the prerequisites of {', '.join(kind['key'] for kind in waiting)} lead nowhere")
        ordered += ready
        waiting = [kind for kind in waiting if kind not in ready]
    return ordered
