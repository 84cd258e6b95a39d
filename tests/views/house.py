"""A whole house for one test database: write API, read API and projector, and people who ask and read."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import httpx
import psycopg
from pydantic import SecretBytes, SecretStr

from domain.roles import Role
from infra.local.postgres import OWNER
from infra.settings import Settings, variable
from infra.views.projector import Projector
from infra.views.tables import schema_of
from infra.web.edge import App
from projections.catalog import CONTEXTS
from projections.kernel import Context
from read_api.app import ReadApi
from tests.conftest import TENANT
from tests.running import AT_ONCE, free_port, side_ports
from tests.serving import Client, served
from write_api.app import WriteApi

PATIENCE_S = 10.0
LOOK_S = 0.2
CHANNELS = ("fieldlog_log", "fieldlog_positions", "fieldlog_views", "fieldlog_builds", "fieldlog_keys")

Found = TypeVar("Found")
Connection = psycopg.Connection[tuple[Any, ...]]


def wait_for(url: str, question: Callable[[Connection], Found | None]) -> Found:
    """Ask a database until the answer is true: again at each of its notifications. Raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE_S
    with psycopg.connect(url, autocommit=True, application_name="test") as connection:
        for channel in CHANNELS:
            connection.execute(f"listen {channel}".encode())
        while not (answer := question(connection)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not so after {PATIENCE_S:.0f} s")
            list(connection.notifies(timeout=LOOK_S, stop_after=1))
    return answer


def rows_of(url: str, statement: str, parameters: Iterable[object] = ()) -> list[tuple[Any, ...]]:
    """Return what a statement finds, or nothing for one that finds nothing by its nature."""
    with psycopg.connect(url, autocommit=True, application_name="test") as connection:
        cursor = connection.execute(statement.encode(), list(parameters))
        return cursor.fetchall() if cursor.description else []


def superuser(settings: Settings) -> str:
    """Return the URL of the server's superuser, for what no login of the house may do."""
    return str(settings.need("database_url")).replace(f"{OWNER}@", "postgres@")


def head(settings: Settings) -> int:
    """Return the last position of the log."""
    [(position,)] = rows_of(settings.need("projector_url"), "select fieldlog.head()")
    return int(position)


def served_build(settings: Settings, context: str = "trips") -> int:
    """Return the number of the build that readers see."""
    [(build,)] = rows_of(
        settings.need("projector_url"), "select build from fieldlog.views where context = %s", [context]
    )
    return int(build)


def served_schema(settings: Settings, context: str = "trips") -> str:
    """Return the schema that readers see."""
    return schema_of(context, served_build(settings, context))


def wait_until_folded(settings: Settings, position: int | None = None) -> None:
    """Wait until every build there is has come to a position; to the head of the log, if none is named."""
    wanted = head(settings) if position is None else position
    wait_for(
        settings.need("projector_url"),
        lambda connection: connection.execute(
            "select true from fieldlog.builds having min(position) >= %s", [wanted]
        ).fetchone(),
    )


def wake(settings: Settings) -> None:
    """Wake everybody who waits for a notification, so that a request to stop is noticed at once."""
    rows_of(settings.need("writer_url"), "select pg_notify('fieldlog_builds', ''), pg_notify('fieldlog_log', '')")


@contextmanager
def projecting(settings: Settings, contexts: Iterable[Context] = tuple(CONTEXTS.values())) -> Iterator[Projector]:
    """Run a projector in a thread."""
    projector = Projector(settings, contexts)
    thread = threading.Thread(target=projector.run, name="projector")
    thread.start()
    try:
        yield projector
    finally:
        projector.stop()
        while thread.is_alive():
            wake(settings)
            thread.join(LOOK_S)


def environment(settings: Settings) -> dict[str, str]:
    """Return settings as the environment of a process."""
    named = {}
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretBytes):
            value = b64encode(value.get_secret_value()).decode()
        elif isinstance(value, SecretStr):
            value = value.get_secret_value()
        if value is not None:
            named[variable(name)] = str(value)
    return {**os.environ, **named, **AT_ONCE, **side_ports()}


class Process:
    """A process of the house, `python -m infra <name>`, that can be killed at any moment and started again."""

    def __init__(self, settings: Settings, name: str) -> None:
        self._settings, self._name = settings, name
        self.port = free_port()  # of its health and metrics
        self._lines = tempfile.TemporaryFile()  # noqa: SIM115
        self.start()

    def start(self) -> None:
        """Start it."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "infra", self._name],
            env=environment(self._settings) | {variable(f"{self._name}_port"): str(self.port)},
            stdin=subprocess.DEVNULL,
            stdout=self._lines,
            stderr=self._lines,
        )

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self) -> None:
        """End it for good."""
        if self.process.poll() is None:
            self.kill()
        self._lines.close()


@contextmanager
def process(settings: Settings, name: str = "projector") -> Iterator[Process]:
    """Run a process of the house, and see to its end."""
    running = Process(settings, name)
    try:
        yield running
    finally:
        running.close()


class Person:
    """Somebody who asks and reads; he reads what he asked for, unless he says otherwise."""

    def __init__(self, house: House, *roles: Role, subject: str = "ana", tenant: UUID = TENANT) -> None:
        self._house, self._roles, self.subject, self.tenant = house, roles, subject, tenant
        self.write = Client(house.write_url, house.settings, *roles, subject=subject, tenant=tenant)
        self.read = Client(house.read_url, house.settings, *roles, subject=subject, tenant=tenant)
        self.position = 0

    def ask(self, path: str, body: Any = None, **headers: str) -> dict[str, Any]:
        """Send a command that is carried out; return its receipt."""
        answer = self.write.ask(path, body, **headers)
        assert answer.status_code == httpx.codes.OK, answer.text
        receipt: dict[str, Any] = answer.json()
        self.position = max(self.position, receipt.get("position", 0))
        return receipt

    def refused(self, path: str, body: Any = None) -> str:
        """Send a command that is refused; return the code."""
        answer = self.write.ask(path, body)
        assert answer.status_code >= httpx.codes.BAD_REQUEST, answer.text
        return str(answer.json()["code"])

    def get(self, path: str, **headers: str) -> httpx.Response:
        """Read, at least up to what he asked for last."""
        return self.read.get(path, **{"if_position_at_least": str(self.position)} | headers)

    def see(self, path: str) -> Any:
        """Return what he reads."""
        answer = self.get(path)
        assert answer.status_code == httpx.codes.OK, answer.text
        return answer.json()

    def whole(self, path: str) -> list[dict[str, Any]]:
        """Return all items of a list."""
        return self.listed(path)[0]

    def listed(self, path: str) -> tuple[list[dict[str, Any]], str]:
        """Return all items of a list, and the event id after which a stream goes on from its first part."""
        path += f"{'&' if '?' in path else '?'}limit=200"
        answer = self.get(path)
        page = answer.json()
        items = list(page["items"])
        while page["next"] is not None:
            page = self.see(f"{path}&cursor={page['next']}")
            items += page["items"]
        return items, answer.headers["event-id"]

    def close(self) -> None:
        """Hang up."""
        self.write.http.close()
        self.read.http.close()


@dataclass
class House:
    """Where both APIs are, over which database."""

    settings: Settings
    write_url: str
    read_url: str
    people: list[Person] = field(default_factory=list)

    def person(self, *roles: Role, subject: str = "ana", tenant: UUID = TENANT) -> Person:
        """Let somebody in."""
        self.people.append(Person(self, *roles, subject=subject, tenant=tenant))
        return self.people[-1]

    def office(self, tenant: UUID = TENANT) -> Person:
        """Let somebody in who may ask for everything, in an organisation that is open."""
        office = self.person(Role.ADMIN, tenant=tenant)
        opened = {"name": "Eco-Haul", "time_zone": "Europe/Ljubljana", "currency": "EUR"}
        answer = office.write.ask(f"/tenants/{tenant}/open", opened)
        assert answer.status_code in (httpx.codes.OK, httpx.codes.CONFLICT)
        return office


@contextmanager
def to_the_end(app: App) -> Iterator[str]:
    """Serve an application, and stop it also where a test fails."""
    server = served(app)
    url = server.__enter__()
    try:
        yield url
    finally:
        server.__exit__(None, None, None)


@contextmanager
def serving(settings: Settings) -> Iterator[House]:
    """Serve both APIs, without a projector."""
    with to_the_end(WriteApi(settings).app()) as write_url, to_the_end(ReadApi(settings).app()) as read_url:
        house = House(settings, write_url, read_url)
        try:
            yield house
        finally:
            for person in house.people:
                person.close()


@contextmanager
def open_house(settings: Settings) -> Iterator[House]:
    """Serve both APIs and run a projector."""
    with serving(settings) as house, projecting(settings):
        yield house


def seeded(name: str = "FIELDLOG_TEST_SEED") -> random.Random:
    """Return dice; the seed is printed, and taken from the environment to repeat a run."""
    seed = int(os.environ.get(name, time.time_ns() % 1_000_000))
    print(f"{name}={seed}")
    return random.Random(seed)


@contextmanager
def meanwhile(step: Callable[[], None]) -> Iterator[Callable[[], int]]:
    """Do something again and again in a thread; gives how often it was done. What fails there fails the test."""
    done, stopping, failures = [0], threading.Event(), list[BaseException]()

    def run() -> None:
        try:
            while not stopping.is_set():
                step()
                done[0] += 1
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=run, name="meanwhile")
    thread.start()
    try:
        yield lambda: done[0]
    finally:
        stopping.set()
        thread.join()
    for failure in failures:
        raise failure
