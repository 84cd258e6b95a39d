"""The load: offices on hot records, batches, phones on the road, readers who read what they wrote, and organisations of long
ago whose fixes are due to be forgotten.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4, uuid5

import httpx
import psycopg

from domain.roles import Role
from infra.log.desk import BusyError
from infra.settings import Settings
from tests.conftest import NEIGHBOUR, TENANT
from tests.faults.cluster import Cluster
from tests.faults.editors import RECORDS, Editor
from tests.faults.ledger import Client, Ledger
from tests.views.haulage import DEPOT, LANDFILL, drive
from tests.views.past import OldDay, Past, past

OPEN = {"name": "Eco-Haul", "time_zone": "Europe/Ljubljana", "currency": "EUR"}
HOT, NUMBERS, DRIVERS = 3, 400, 2
PACE_S = 0.08
OLD_EVERY_S, GREEDY_EVERY_S = 7.0, 0.2
MANY_FIXES = 500
LONG, SHORT = {"gps_days": 3_650}, {"gps_days": 30}
Step = Callable[[], None]


def office(cluster: Cluster, ledger: Ledger, tenant: UUID, name: str, *roles: Role) -> Client:
    """Return somebody who may ask for and read everything of an organisation."""
    urls = cluster.urls("write-api")
    return Client(urls, cluster.settings, ledger, tenant, name, *(roles or (Role.ADMIN, Role.AUDITOR)))


class Clerk:
    """Registers trucks, some under a number that is taken, and changes a few trucks that everybody changes."""

    def __init__(self, client: Client, dice: random.Random) -> None:
        self._client, self._dice = client, dice

    def step(self) -> None:
        """Do one thing."""
        dice, conflict = self._dice, httpx.codes.CONFLICT
        if dice.random() < 0.3:
            number = str(dice.randrange(NUMBERS))
            self._client.ask(f"/trucks/{uuid4()}/register", {"number": number, "plate": f"LJ {number}"}, conflict)
            return
        verb = dice.choice(["activate", "deactivate", "send-to-maintenance", "return-from-maintenance"])
        body = {"reason": "brakes"} if verb == "send-to-maintenance" else {}
        self._client.ask(f"/trucks/hot-{dice.randrange(HOT)}/{verb}", body, conflict)


class Batcher:
    """Sends batches: one by one or all or none, some of which cannot be carried out."""

    def __init__(self, client: Client, dice: random.Random) -> None:
        self._client, self._dice = client, dice

    def step(self) -> None:
        """Send one batch."""
        name, atomic = str(uuid4()), self._dice.random() < 0.5
        items = [self._site(f"{name}.{n}") for n in range(self._dice.randrange(1, 12))]
        items.append(self._item(f"{name}.hot", "trucks", f"hot-{self._dice.randrange(HOT)}", "deactivate", {}))
        self._client.ask_all(items, atomic=atomic)

    def _site(self, op: str) -> dict[str, Any]:
        return self._item(op, "sites", op, "register", {"name": op, "latitude": 46.0, "longitude": 14.0})

    @staticmethod
    def _item(op: str, stream: str, id: str, verb: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"op": op, "stream": stream, "id": id, "verb": verb, "body": body}


class Driver:
    """Drives one trip after the other with a truck of his own; a fix may be sent twice. Nothing of it may be refused."""

    def __init__(self, client: Client, dice: random.Random, name: str) -> None:
        self._client, self._dice, self._name = client, dice, name
        self._steps = self._drive()

    def step(self) -> None:
        """Do the next thing."""
        next(self._steps)

    def _drive(self) -> Iterator[None]:
        ask, name, dice = self._client.ask, self._name, self._dice
        while True:
            trip = f"{name}-{uuid4()}"
            day = datetime.now(UTC) - timedelta(days=1)
            ask(f"/trips/{trip}/schedule", {"driver_id": name, "truck_id": name, "date": day.date().isoformat()})
            ask(f"/trips/{trip}/start", at=day.isoformat())
            yield
            way = drive(day + timedelta(minutes=1), DEPOT, LANDFILL, dice.randrange(6, 30))
            while way:
                many = dice.randrange(1, 6)
                sent, way = way[:many], way[many:] if dice.random() < 0.8 else way[many - 1 :]
                receipt = ask(f"/trips/{trip}/record-locations", {"fixes": sent})
                if receipt is not None and receipt["facts"]:  # one of nothing but repetitions leaves no trace
                    self._client.ledger.fixes[self._client.tenant, trip] += len(sent)
                yield
            end, body = dice.choice([("complete", {}), ("cancel", {"reason": "flat tyre"})])
            ask(f"/trips/{trip}/{end}", body)
            yield


class Reader:
    """Writes a truck and reads it: whoever hands back the position of a receipt sees what he wrote, or is told to wait."""

    def __init__(self, writer: Client, reader: Client) -> None:
        self._writer, self._reader = writer, reader

    def step(self) -> None:
        """Write one and read it, once; a list too."""
        id = str(uuid4())
        receipt = self._writer.ask(f"/trucks/{id}/register", {"number": id, "plate": id})
        if receipt is None:
            return
        headers = {"If-Position-At-Least": str(receipt["position"])}
        for path in (f"/trucks/{id}", "/trucks?limit=1"):
            answer = self._reader.insist("GET", path, gives_up=True, headers=headers)
            if answer is None:
                continue
            if answer.status_code != httpx.codes.OK or int(answer.headers["position"]) < receipt["position"]:
                self._reader.ledger.object(f"GET {path} at {receipt['position']}: {answer.status_code} {answer.text}")


class Greedy:
    """Sends more fixes than anybody may; he is told to wait, and nobody else is."""

    def __init__(self, client: Client, wait: Callable[[float], object]) -> None:
        self._client, self._wait = client, wait
        self._fixes = drive(datetime.now(UTC) - timedelta(days=1), DEPOT, LANDFILL, MANY_FIXES)
        self.refused = 0

    def step(self) -> None:
        """Send many, for a trip that there is not."""
        allowed = httpx.codes.NOT_FOUND, httpx.codes.TOO_MANY_REQUESTS
        answer = self._client.tell("/trips/none/record-locations", {"fixes": self._fixes}, *allowed)
        self.refused += answer.status_code == httpx.codes.TOO_MANY_REQUESTS
        self._wait(GREEDY_EVERY_S)


class Insisting(Past):
    """An office of long ago that asks until it is carried out; asked again, it is one command."""

    def ask(self, path: str, body: Any = None, occurred_at: str | None = None) -> dict[str, Any]:
        """Ask for something under an id that follows from what is asked; fixes are kept until the day is whole."""
        id = uuid5(self.tenant, f"{path} {body} {occurred_at}")
        while True:
            try:
                done = super().ask(path, body, occurred_at, id)
            except (BusyError, psycopg.OperationalError):
                continue
            return self.ask(f"/tenants/{self.tenant}/set-retention", LONG) if path.endswith("/open") else done


class Archivist:
    """Brings in organisations whose days are long over; the reactor condenses and forgets their tracks."""

    def __init__(self, settings: Settings, wait: Callable[[float], object]) -> None:
        self._settings, self._wait = settings, wait
        self.tenants: list[UUID] = []

    def step(self) -> None:
        """Bring in one, then wait a while."""
        tenant = uuid5(TENANT, f"old {len(self.tenants)}")
        with past(self._settings, tenant, office=Insisting) as old:
            OldDay(old).whole()
            old.ask(f"/tenants/{tenant}/set-retention", SHORT)
        self.tenants.append(tenant)
        self._wait(OLD_EVERY_S)


class Load:
    """All clients, each in a thread; they go on until they are told to stop, and each ends with what it was doing."""

    def __init__(self, cluster: Cluster, ledger: Ledger, seed: int) -> None:
        self._cluster, self._ledger, self._seed = cluster, ledger, seed
        self._stopping = threading.Event()
        self.wait = self._stopping.wait
        self.archivist = Archivist(cluster.settings, self.wait)
        self.greedy = Greedy(self._client(TENANT, "greedy"), self.wait)
        self.failures: list[BaseException] = []

    def open(self) -> None:
        """Open both organisations, with the trucks that everybody changes, and the drivers: who begins to watch before he
        is one does not see what is his.
        """
        for number, tenant in enumerate((TENANT, NEIGHBOUR)):
            admin = office(self._cluster, self._ledger, tenant, "admin")
            admin.ask(f"/tenants/{tenant}/open", OPEN)
            for n in range(HOT):
                admin.ask(f"/trucks/hot-{n}/register", {"number": f"hot-{n}", "plate": f"hot-{n}"})
            for id in RECORDS:
                admin.ask(f"/sites/{id}/register", {"name": id, "latitude": 46.0, "longitude": 14.5})
            for name in (f"driver-{number}-{n}" for n in range(DRIVERS)):
                admin.ask(f"/trucks/{name}/register", {"number": name, "plate": name})
                admin.ask(f"/drivers/{name}/register", {"name": name, "user": name})
                admin.ask(f"/drivers/{name}/go-on-duty")

    def _steps(self) -> Iterator[tuple[str, Step]]:
        for number, tenant in enumerate((TENANT, NEIGHBOUR)):
            for n in range(2):
                yield f"clerk-{number}-{n}", Clerk(self._client(tenant, f"clerk-{n}"), self._dice(number, n)).step
            yield f"batcher-{number}", Batcher(self._client(tenant, "batcher"), self._dice(number, "batcher")).step
            for name in (f"driver-{number}-{n}" for n in range(DRIVERS)):
                yield name, Driver(self._client(tenant, name), self._dice(name), name).step
            for name in ("editor-0", "editor-1"):
                at_locks = self._reader(tenant, name, Role.ADMIN)
                yield f"{name}-{number}", Editor(self._client(tenant, name), at_locks, self._dice(number, name)).step
            reader = self._reader(tenant, "reader", Role.VIEWER)
            yield f"reader-{number}", Reader(self._client(tenant, "writer"), reader).step
        yield "archivist", self.archivist.step
        yield "greedy", self.greedy.step

    def must_go_on(self) -> None:
        """Check that a command is carried out and that every read API answers, while what is not needed for that is away."""
        self._client(TENANT, "patient").ask(
            f"/sites/{uuid4()}/register", {"name": "x", "latitude": 46, "longitude": 14}
        )
        reader = self._reader(TENANT, "patient", Role.VIEWER)
        for url in self._cluster.urls("read-api"):
            answer = reader.at(url).insist("GET", "/sites?limit=1")
            assert answer is not None
            assert answer.status_code == httpx.codes.OK, answer.text

    def _reader(self, tenant: UUID, name: str, *roles: Role) -> Client:
        cluster = self._cluster
        return Client(cluster.urls("read-api"), cluster.settings, self._ledger, tenant, name, *roles)

    def _client(self, tenant: UUID, name: str) -> Client:
        return office(self._cluster, self._ledger, tenant, name)

    def _dice(self, *about: object) -> random.Random:
        return random.Random(f"{self._seed} {about}")

    @contextmanager
    def running(self, others: Iterable[tuple[str, Step]]) -> Iterator[Load]:
        """Let them, and others, work until the end of the block, and to the end of what each is doing then."""
        steps = (*self._steps(), *others)
        threads = [threading.Thread(target=self._go_on, args=one, name=one[0]) for one in steps]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            for thread in threads:
                thread.join()

    def _go_on(self, name: str, step: Step) -> None:
        dice = self._dice(name)
        try:
            while not self._stopping.wait(dice.uniform(0, PACE_S)):
                step()
        except BaseException as failure:
            self.failures.append(failure)
