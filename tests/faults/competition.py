"""A small competition beside the haulage: teams race for slots, many hands say things of one checklist, offline too, files
come in parts, approvals are revoked; and things come in that were due long ago.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, NamedTuple, get_args
from uuid import uuid4

import httpx

from commands.inspections.checks import CheckItem
from domain.attachments import TIME_TO_COME
from domain.inspections.checks import HELD_AT_MOST, OPEN, CheckValue, Resolution
from domain.inspections.inspections import InspectionNotOngoing, InspectionOver
from domain.kernel import Refused
from domain.roles import Role
from infra.objects import Objects, new_key, part_of
from infra.settings import Settings
from tests.accounting import Meant, otherwise
from tests.conftest import TENANT
from tests.faults.cluster import Cluster
from tests.faults.ledger import Client, Document, Ledger
from tests.faults.load import Insisting, Step, office
from tests.objects.evidence import MIB, bytes_of
from tests.views.past import past

CLASSES = [{"vehicle_class": "EV"}]
RULES = {
    "duration_minutes": 15,
    "buffer_minutes": 5,
    "hold_minutes": 1_440,
    "classes": CLASSES,
}  # none lapses meanwhile
KINDS: Mapping[str, Document] = {
    "pre": {"lanes": 1},
    "brake": {"lanes": 1, "classes": [{"vehicle_class": "EV", "prerequisites": ["pre"]}]},
    "talk": {"lanes": 2},
    "late": {"lanes": 1},
}
TESTS = ("pre", "brake")
CARS, LATE = ("red", "blue"), "late"
ITEMS = [f"I{n}" for n in range(6)]
HANDS, LAST_SEEN = 2, 3
SLOT, SLOTS, NEXT_SLOT_S = timedelta(minutes=15), 5, 2.0
LATE_EVERY_S = 3.0
ENDED = (InspectionNotOngoing.__name__, InspectionOver.__name__)
NOT_THERE, CONFLICT, DONE = httpx.codes.NOT_FOUND, httpx.codes.CONFLICT, httpx.codes.OK


class Word(NamedTuple):
    """What was said of an item of an inspection, and the receipt for it."""

    inspection: str
    meant: Meant
    receipt: Document


@dataclass
class Grounds:
    """What all of them share: the inspections that are open to every hand, what is known of their items, what was said."""

    begins: datetime = field(default_factory=lambda: datetime.now(UTC).replace(hour=23, minute=0) + timedelta(days=2))
    began: float = field(default_factory=time.monotonic)
    open: list[str] = field(default_factory=list)
    known: dict[tuple[str, str], dict[int, CheckValue]] = field(default_factory=lambda: defaultdict(lambda: {0: OPEN}))
    said: list[Word] = field(default_factory=list)

    def slot(self, dice: random.Random) -> str:
        """Return one of a few beginnings that everybody wants; with time, later ones."""
        number = int((time.monotonic() - self.began) / NEXT_SLOT_S) + dice.randrange(SLOTS)
        return (self.begins + SLOT * number).isoformat()

    def any_open(self, dice: random.Random) -> str | None:
        """Return one of the inspections that are open, if there are any."""
        there = list(self.open)
        return dice.choice(there) if there else None

    def last_seen(self, id: str, item: str) -> list[tuple[int, CheckValue]]:
        """Return the last revisions of an item that anybody was told, the newest at the end."""
        return sorted(self.known[id, item].copy().items(), key=lambda one: one[0])[-LAST_SEEN:]

    def say(self, client: Client, id: str, meant: Meant, at: str | None = None) -> None:
        """Say something of an item; it may be refused only as inspections end meanwhile."""
        body = meant.command.model_dump(mode="json", exclude_none=True)
        answer = client.tell(f"/inspections/{id}/check", body, CONFLICT, **({"Occurred-At": at} if at else {}))
        receipt = answer.json()
        if answer.status_code == CONFLICT:
            if receipt["code"] not in ENDED:
                client.ledger.object(f"{id}: {meant}: {answer.text}")
        else:
            value = CheckValue(status=receipt["status"], comment=receipt["comment"])
            self.known[id, meant.command.item][receipt["revision"]] = value
            self.said.append(Word(id, meant, receipt))


class Leader:
    """Books for his team what others want too, and thinks again."""

    def __init__(self, client: Client, dice: random.Random, grounds: Grounds, team: str) -> None:
        self._client, self._dice, self._grounds, self._team = client, dice, grounds, team
        self._own: list[str] = []

    def step(self) -> None:
        """Do one thing."""
        dice, slot = self._dice, self._grounds.slot(self._dice)
        if not self._own or dice.random() < 0.5:
            id, kind = str(uuid4()), dice.choice(["talk", "talk", *TESTS])
            wanted = {"team_id": self._team, "inspection_type_id": kind, "starts_at": slot}
            if self._client.ask(f"/bookings/{id}/request", wanted, CONFLICT):
                self._own.append(id)
            return
        verb = dice.choice(["confirm", "cancel", "reschedule"])
        body = {"cancel": {"reason": "Rain"}, "reschedule": {"starts_at": slot}}.get(verb)
        self._client.ask(f"/bookings/{dice.choice(self._own[-8:])}/{verb}", body, CONFLICT)


class Car:
    """Comes to one test after the other, which the crew opens to every hand and brings to a result; then it is changed, and
    has to pass them again.
    """

    def __init__(self, crew: Client, chief: Client, dice: random.Random, grounds: Grounds, team: str) -> None:
        self._crew, self._chief, self._dice, self._grounds, self._team = crew, chief, dice, grounds, team
        self._steps = self._goes()

    def step(self) -> None:
        """Do the next thing."""
        next(self._steps)

    def _goes(self) -> Iterator[None]:
        revoked = {"inspection_type_id": TESTS[0], "reason": "Another motor"}
        while True:
            for kind in TESTS:
                yield from self._visit(kind)
            self._chief.ask(f"/passports/{self._team}/revoke", revoked, NOT_THERE, CONFLICT)
            yield

    def _visit(self, kind: str) -> Iterator[None]:
        id, crew, dice = f"{self._team}-{uuid4()}", self._crew, self._dice
        wanted = {"team_id": self._team, "inspection_type_id": kind, "starts_at": self._grounds.slot(dice)}
        yield
        if crew.ask(f"/bookings/{id}/request", wanted, CONFLICT) is None:
            return
        crew.ask(f"/bookings/{id}/confirm")
        crew.ask(f"/bookings/{id}/check-in")
        while crew.ask(f"/inspections/{id}/start", {}, NOT_THERE) is None:
            yield  # until the reactor has prepared it
        self._grounds.open.append(id)
        for _ in range(dice.randrange(4, 40)):
            yield
        self._grounds.open.remove(id)
        yield from self._complete(id)
        if dice.random() < 0.3:
            self._chief.ask(f"/inspections/{id}/reopen", {"reason": "Smoke"})
            yield from self._complete(id)

    def _complete(self, id: str) -> Iterator[None]:
        """Settle whatever is in the way of a result."""
        result: Document = {"result": "passed"}
        if self._dice.random() < 0.2:
            result = {"result": "failed", "reasons": ["Smoke"]}
        while True:
            answer = self._crew.tell(f"/inspections/{id}/complete", result, CONFLICT)
            if answer.status_code == DONE:
                return
            self._settle(id, answer.json())
            yield

    def _settle(self, id: str, problem: Document) -> None:
        match problem["code"], problem["details"]:
            case "ConflictsOpen", {"conflicts": conflicts}:
                for one in conflicts:
                    resolved = {"number": one["number"], "resolution": self._dice.choice(get_args(Resolution))}
                    self._chief.ask(f"/inspections/{id}/resolve-conflict", resolved, CONFLICT)
            case "ChecksHeld", _:
                self._chief.ask(f"/inspections/{id}/release-held-checks")
            case (("ItemsOpen" | "ItemsFailed"), {"items": items}):
                for item in items:
                    based_on, seen = self._grounds.last_seen(id, item)[-1]
                    passed = CheckItem(item=item, status="passed", comment=seen.comment, based_on=based_on)
                    self._grounds.say(self._crew, id, Meant(passed, seen))
            case other:
                raise AssertionError(f"{id} is not completed: {other}")


class Hand:
    """Says something of any item of any inspection, sometimes on what it saw a while ago."""

    def __init__(self, client: Client, dice: random.Random, grounds: Grounds) -> None:
        self._client, self._dice, self._grounds = client, dice, grounds
        self._words = 0

    def step(self) -> None:
        """Say one thing."""
        dice, id = self._dice, self._grounds.any_open(self._dice)
        if id is not None:
            item = dice.choice(ITEMS)
            meant = self._meant(item, *dice.choice(self._grounds.last_seen(id, item)))
            self._grounds.say(self._client, id, meant)

    def _meant(self, item: str, based_on: int, seen: CheckValue, **more: Any) -> Meant:
        self._words += 1
        value = otherwise(seen, self._dice, f"{self._client.subject}-{self._words}.")
        command = CheckItem(item=item, status=value.status, comment=value.comment, based_on=based_on, **more)
        return Meant(command, seen)


class Tablet(Hand):
    """Says several things offline, which come in any order, one of them twice."""

    def step(self) -> None:
        """Work offline for a while, then send."""
        dice, grounds, branch = self._dice, self._grounds, str(uuid4())
        id, at = grounds.any_open(dice), datetime.now(UTC).isoformat()
        if id is None:
            return
        saw = {item: dice.choice(grounds.last_seen(id, item)) for item in ITEMS}
        said = []
        for step in range(1, dice.randrange(3, 7)):
            item = dice.choice(ITEMS)
            based_on, seen = saw[item]
            meant = self._meant(item, based_on, seen, branch=branch, step=step)
            saw[item] = (based_on, CheckValue(status=meant.command.status, comment=meant.command.comment))
            said.append(meant)
        dice.shuffle(said)
        for meant in [*said, dice.choice(said)]:
            grounds.say(self._client, id, meant, at)


class Sender:
    """Attaches one file after the other, each in parts in any order; not every one is completed."""

    def __init__(self, client: Client, dice: random.Random, grounds: Grounds) -> None:
        self._client, self._dice, self._grounds = client, dice, grounds
        self._steps = self._send()

    def step(self) -> None:
        """Do the next thing."""
        next(self._steps)

    def _send(self) -> Iterator[None]:
        client, dice = self._client, self._dice
        while True:
            yield
            booking = self._grounds.any_open(dice)
            if booking is None:
                continue
            id, content = str(uuid4()), bytes_of(dice.randrange(MIB // 2, 3 * MIB))
            file = {"id": id, "booking_id": booking, **described(content)}
            declared = client.tell(f"/attachments/{id}/declare", file, url="/uploads").json()
            size, parts = declared["part_size"], declared["parts"]
            for n in dice.sample(range(parts), parts):
                yield
                part = content[n * size : (n + 1) * size]
                answer = client.insist("PUT", f"/uploads/{id}/parts/{n + 1}", content=part)
                assert answer is not None
                assert answer.status_code == httpx.codes.NO_CONTENT, answer.text
            yield
            if dice.random() < 0.8:
                client.tell(f"/attachments/{id}/complete", url=f"/uploads/{id}/complete")


def described(content: bytes) -> Document:
    """Return what is declared of a file."""
    about = {"name": "brakes.png", "media_type": "image/png", "item": ITEMS[0]}
    return {**about, "size": len(content), "sha256": sha256(content).hexdigest()}


class Latecomer:
    """Brings in what was due long ago: a hold that nobody confirmed, a check that waited too long, a file that did not come."""

    def __init__(
        self, settings: Settings, dice: random.Random, grounds: Grounds, wait: Callable[[float], object]
    ) -> None:
        self._settings, self._dice, self._grounds, self._wait = settings, dice, grounds, wait
        self._number = 0

    def step(self) -> None:
        """Bring in one of each, then wait a while."""
        self._number += 1
        id, now = f"late-{self._number}", datetime.now(UTC)
        with past(self._settings, TENANT, now - timedelta(days=2), office=Insisting) as long_ago:
            starts_at = self._grounds.begins + timedelta(days=7, hours=self._number)
            wanted = {"team_id": LATE, "inspection_type_id": LATE, "starts_at": starts_at.isoformat()}
            long_ago.ask(f"/bookings/{id}/request", wanted)
            long_ago.now = now - TIME_TO_COME - timedelta(minutes=1)
            content = bytes_of(20_000)
            file = {"booking_id": id, "key": new_key(TENANT), "parts": 2, **described(content)}
            asyncio.run(Objects(self._settings).put(part_of(file["key"], 1), _whole(content)))
            long_ago.ask(f"/attachments/{id}/declare", file)
            long_ago.now = now - HELD_AT_MOST - timedelta(minutes=1)
            going = self._grounds.any_open(self._dice)
            waiting = {"item": ITEMS[0], "status": "passed", "based_on": 0, "branch": id, "step": 2}
            if going is not None:
                with suppress(Refused):  # it may be over
                    long_ago.ask(f"/inspections/{going}/check", waiting)
        self._wait(LATE_EVERY_S)


async def _whole(content: bytes) -> AsyncIterator[bytes]:
    yield content


class Competition:
    """All of them, in the organisation that hauls too."""

    def __init__(self, cluster: Cluster, ledger: Ledger, seed: int, wait: Callable[[float], object]) -> None:
        self._cluster, self._ledger, self._seed, self._wait = cluster, ledger, seed, wait
        self.grounds = Grounds()

    def open(self) -> None:
        """Define what is inspected, and register the teams and their leaders."""
        chief = self._chief()
        sheet = [{"code": code, "section": "All", "description": code} for code in ITEMS]
        for kind, rules in KINDS.items():
            chief.ask(f"/inspection-types/{kind}/define", {"rules": {"name": kind, **RULES, **rules}})
            chief.ask(f"/checklist-templates/{kind}/draft", {"items": sheet})
            chief.ask(f"/checklist-templates/{kind}/publish")
        for team in (*CARS, LATE):
            chief.ask(f"/teams/{team}/register", {"name": team, "code": team, "vehicle_class": "EV"})
            leader = {"name": team, "user": f"leader-{team}", "team_id": team, "roles": ["team_leader"]}
            chief.ask(f"/people/leader-{team}/register", leader)

    def book(self, id: str, later: timedelta) -> None:
        """Request a booking of the first team, so much later than everything else."""
        at = (self.grounds.begins + later).isoformat()
        wanted = {"team_id": CARS[0], "inspection_type_id": "talk", "starts_at": at}
        self._chief().ask(f"/bookings/{id}/request", wanted)

    def steps(self) -> Iterator[tuple[str, Step]]:
        """Yield what each of them does, by his name."""
        grounds, settings = self.grounds, self._cluster.settings
        for team in CARS:
            name = f"leader-{team}"
            yield name, Leader(self._client(name, Role.TEAM_LEADER), self._dice(name), grounds, team).step
            yield team, Car(self._crew(f"crew-{team}"), self._chief(), self._dice(team), grounds, team).step
        for name in (f"hand-{n}" for n in range(HANDS)):
            yield name, Hand(self._crew(name), self._dice(name), grounds).step
        yield "tablet", Tablet(self._crew("tablet"), self._dice("tablet"), grounds).step
        yield "sender", Sender(self._crew("sender"), self._dice("sender"), grounds).step
        yield "latecomer", Latecomer(settings, self._dice("latecomer"), grounds, self._wait).step

    def _chief(self) -> Client:
        return office(self._cluster, self._ledger, TENANT, "chief")

    def _crew(self, name: str) -> Client:
        return self._client(name, Role.SCRUTINEER)

    def _client(self, name: str, *roles: Role) -> Client:
        return office(self._cluster, self._ledger, TENANT, name, *roles)

    def _dice(self, name: str) -> random.Random:
        return random.Random(f"{self._seed} {name}")
