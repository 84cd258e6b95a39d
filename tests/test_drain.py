"""The end of a process under load: it is announced, nobody's request fails, and live streams go on elsewhere without a gap."""

from __future__ import annotations

import random
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count

import httpx
import pytest

from domain.roles import Role
from infra.local.home import issue_token
from infra.settings import Settings
from tests.conftest import TENANT, Database
from tests.running import free_port, started, until
from tests.views.watch import Watch

OPEN = {"name": "Eco-Haul", "time_zone": "Europe/Ljubljana", "currency": "EUR"}
LOOK_S = 0.05
DRAIN_S = 2


@dataclass
class Backend:
    """A process that serves an API."""

    url: str
    process: subprocess.Popen[str]
    ready: bool = False

    def look(self) -> None:
        """Ask whether it is ready, as a proxy does."""
        try:
            self.ready = httpx.get(f"{self.url}/readyz", timeout=5).status_code == httpx.codes.OK
        except httpx.TransportError:
            self.ready = False


@pytest.fixture
def given(database: Database, keys: dict[str, str]) -> dict[str, str]:
    """What processes over a fresh database are told."""
    urls = {"WRITER_URL": database.writer, "PROJECTOR_URL": database.projector, "READER_URL": database.reader}
    return {"DRAIN_SECONDS": str(DRAIN_S)} | urls | {name.removeprefix("FIELDLOG_"): key for name, key in keys.items()}


@pytest.fixture
def office(settings: Settings) -> dict[str, str]:
    """The headers of somebody who may do everything."""
    return {"Authorization": f"Bearer {issue_token(settings, TENANT, [Role.ADMIN], 'ana', 1)}"}


@contextmanager
def two(name: str, given: Mapping[str, str]) -> Iterator[Sequence[Backend]]:
    """Run an API twice, and look all the time which of them are ready."""
    stopping = threading.Event()
    with ExitStack() as stack:
        backends = []
        for _ in range(2):
            port = free_port()
            named = {"WRITE_PORT": str(port), "READ_PORT": str(port)}
            process = stack.enter_context(started(name, **{**given, **named}))
            backends.append(Backend(f"http://127.0.0.1:{port}", process))

        def look() -> None:
            while not stopping.wait(LOOK_S):
                for one in backends:
                    one.look()

        looking = threading.Thread(target=look)
        looking.start()
        try:
            until(lambda: all(one.ready for one in backends) or None)
            yield backends
        finally:
            stopping.set()
            looking.join()


@dataclass
class Load:
    """Clients that register trucks without a pause, wherever it is ready; half of them keep their connections."""

    backends: Sequence[Backend]
    headers: Mapping[str, str]
    done: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=count)
    stopping: threading.Event = field(default_factory=threading.Event)

    def _send(self, client: httpx.Client, *, keeps: bool) -> None:
        backend = random.choice([one for one in self.backends if one.ready])
        id = f"T{next(self.numbers)}"
        headers = {**self.headers} | ({} if keeps else {"Connection": "close"})
        try:
            answer = client.post(
                f"{backend.url}/trucks/{id}/register", headers=headers, json={"number": id, "plate": id}
            )
        except httpx.TransportError as error:
            self.failed.append(f"{id}: {error!r}")
            return
        if answer.status_code == httpx.codes.OK:
            self.done.append(id)
        else:
            self.failed.append(f"{id}: {answer.status_code} {answer.text}")

    def _run(self, *, keeps: bool) -> None:
        with httpx.Client(timeout=10) as client:
            while not self.stopping.is_set():
                self._send(client, keeps=keeps)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send meanwhile."""
        threads = [threading.Thread(target=self._run, kwargs={"keeps": n % 2 == 0}) for n in range(6)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stopping.set()
            for thread in threads:
                thread.join()

    def wait_for(self, more: int) -> None:
        """Wait until so many more were answered."""
        wanted = len(self.done) + more
        until(lambda: len(self.done) >= wanted or None)


def open_organisation(url: str, headers: Mapping[str, str]) -> None:
    httpx.post(f"{url}/tenants/{TENANT}/open", headers=dict(headers), json=OPEN).raise_for_status()


def test_one_of_two_write_processes_ends_under_load_and_no_request_fails(
    given: dict[str, str], office: dict[str, str]
) -> None:
    with two("write-api", given) as (first, second):
        open_organisation(first.url, office)
        load = Load([first, second], office)
        with load.running():
            load.wait_for(100)
            first.process.terminate()
            until(lambda: None if first.ready else True)
            assert first.process.poll() is None, "it goes on after it has said that it will end"
            until(first.process.poll)
            load.wait_for(100)
    assert load.failed == []
    assert first.process.returncode == -signal.SIGTERM


def test_while_it_drains_it_answers_and_closes_each_connection(given: dict[str, str], office: dict[str, str]) -> None:
    with two("write-api", given) as (first, _), httpx.Client(headers=office) as client:
        assert "connection" not in client.get(f"{first.url}/livez").headers
        first.process.terminate()
        answer = until(
            lambda: ((said := client.get(f"{first.url}/readyz?verbose")).status_code == 503 and said) or None
        )
        assert answer.json()["checks"]["draining"] == "yes"
        assert answer.headers["connection"] == "close"
        assert client.get(f"{first.url}/livez").status_code == httpx.codes.OK
        first.process.terminate()
        until(first.process.poll)


@contextmanager
def live(backend: Backend, headers: Mapping[str, str], last_id: str | None = None) -> Iterator[Watch]:
    more = {} if last_id is None else {"Last-Event-ID": last_id}
    with httpx.stream(
        "GET", f"{backend.url}/stream?view=trucks&after=0", headers={**headers, **more}, timeout=20
    ) as response:
        assert response.status_code == httpx.codes.OK
        yield Watch(response)


def test_live_streams_end_with_a_hint_and_go_on_elsewhere_without_a_gap(
    given: dict[str, str], office: dict[str, str]
) -> None:
    seen: list[str] = []
    hints = []
    with (
        started("projector", **given),
        two("write-api", given) as writers,
        two("read-api", given) as (first, second),
    ):
        open_organisation(writers[0].url, office)
        load = Load(writers, office)
        with load.running():
            with live(first, office) as watch:
                for block in watch.blocks:  # to its end, and that is not a broken connection
                    watch.last_id = block.get("id", watch.last_id)
                    if block.get("event") == "row":
                        seen.append(block["data"].partition('"key":"')[2].partition('"')[0])
                    if "retry" in block:
                        hints.append(int(block["retry"]))
                    if len(seen) == 50:
                        first.process.terminate()
                        until(lambda: None if first.ready else True)
                        with live(first, office) as late:  # one that comes while it drains ends as well
                            assert [one for one in late.blocks if one.get("event") == "ready"]
            until(first.process.poll)
            load.wait_for(20)
        with live(second, office, watch.last_id) as watch:
            for event in watch.events():
                seen.append(event.data["key"])
                if set(seen) >= set(load.done):
                    break
    assert load.failed == []
    assert sorted(seen) == sorted(load.done)
    assert hints[0] >= 3_000
    assert 500 <= hints[-1] < 1_500


@pytest.mark.parametrize("name", ["projector", "reactor"])
def test_a_process_that_follows_the_log_ends_after_what_it_is_doing(
    name: str, given: dict[str, str], office: dict[str, str]
) -> None:
    side = free_port()
    with (
        two("write-api", given) as writers,
        started(name, **given, **{f"{name.upper()}_PORT": str(side)}) as process,
    ):
        open_organisation(writers[0].url, office)
        load = Load(writers, office)
        with load.running():
            beside = Backend(f"http://127.0.0.1:{side}", process)

            def is_ready() -> bool | None:
                beside.look()
                return beside.ready or None

            until(is_ready)
            load.wait_for(50)
            process.terminate()
            assert process.wait(20) == 0
    assert load.failed == []
