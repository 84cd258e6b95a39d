"""`fieldlog up`: one command brings up a whole system, keeps it up, finds it again, and leaves nothing behind."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from infra.local.demo import TENANT
from tests.running import CHILDREN, LONGEST_S, READY, Up, begin, end_all, patient, postgres_of, redis_of, until, up

OPEN = {"name": "demo", "time_zone": "Europe/Ljubljana", "currency": "EUR"}


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that is empty at first, and that each start finds as the one before left it."""
    return tmp_path_factory.mktemp("up") / "data"


@pytest.fixture(scope="module")
def running(directory: Path) -> Iterator[Up]:
    """A system that was started in the empty directory; its organisation has one truck."""
    with up(directory, "--no-demo") as running:
        yield running


@pytest.fixture(scope="module")
def office(running: Up) -> dict[str, str]:
    """The headers of somebody who may do and read everything; the organisation is opened on the way."""
    return dict(running.client("admin", "auditor"))


def insisted(ask: Callable[[], httpx.Response]) -> httpx.Response:
    """Ask until there is an answer, and another one than 503, as clients do: a command with the same key each time."""

    def answered() -> httpx.Response | None:
        try:
            answer = ask()
        except httpx.TransportError:
            return None
        return None if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE else answer

    return until(answered)


def register(running: Up, office: dict[str, str], id: str) -> int:
    """Register a truck; return the position of its receipt."""
    headers, body = office | {"Idempotency-Key": f'"{id}"'}, {"number": id, "plate": id}
    with patient() as http:
        answer = insisted(lambda: http.post(f"{running.write}/trucks/{id}/register", headers=headers, json=body))
    assert answer.status_code == httpx.codes.OK, answer.text
    position: int = answer.json()["position"]
    return position


def truck(running: Up, office: dict[str, str], id: str, position: int) -> str:
    """Return the status of a truck, as readers see it from a position on."""
    headers = office | {"If-Position-At-Least": str(position)}
    with patient() as http:
        answer = insisted(lambda: http.get(f"{running.read}/trucks/{id}", headers=headers))
    status: str = answer.raise_for_status().json()["status"]
    return status


def test_one_command_brings_up_both_apis_and_what_works_behind_them(running: Up, office: dict[str, str]) -> None:
    assert sorted(running.children()) == sorted(CHILDREN)
    assert postgres_of(running.directory) is not None
    assert truck(running, office, "T1", register(running, office, "T1")) == "active"
    for url in (running.write, running.read):
        assert httpx.get(f"{url}/readyz?verbose").json()["status"] == "ready"


def test_nobody_else_can_read_the_keys_of_the_set_up(running: Up) -> None:
    secret = ["master.key", "cursor.key", "signing.jwk"]
    assert [oct((running.directory / name).stat().st_mode & 0o077) for name in secret] == ["0o0"] * 3


def test_a_second_one_in_the_same_directory_says_that_one_runs(running: Up) -> None:
    second = running.ask("up", "--no-demo")
    assert second.returncode == 2
    assert second.stderr.split() == f"a set-up runs in {running.directory} already".split()
    assert running.process.poll() is None


@pytest.mark.parametrize("name", CHILDREN)
def test_a_process_that_is_killed_is_started_again(running: Up, office: dict[str, str], name: str) -> None:
    killed = running.children()[name]
    killed.kill()
    assert f"{name} ended with -9" in running.line_with("started again")
    assert running.child(name, other_than=killed).is_running()
    assert truck(running, office, f"after-{name}", register(running, office, f"after-{name}")) == "active"


def test_a_process_that_dies_right_away_is_started_again_soon(running: Up) -> None:
    """The first pause is half a second; it grows only from death to death."""
    first = running.child("reactor")
    first.kill()
    second = running.child("reactor", other_than=first)
    second.kill()
    died = time.monotonic()
    running.child("reactor", other_than=second)
    assert time.monotonic() - died < 5


def test_a_database_that_is_killed_is_started_again(running: Up, office: dict[str, str]) -> None:
    before = register(running, office, "before")
    server = postgres_of(running.directory)
    assert server is not None
    server.kill()
    running.line_with("PostgreSQL has ended; it is started again")
    position = register(running, office, "after")
    assert position > before
    assert truck(running, office, "after", position) == "active"


def test_a_redis_that_is_killed_is_started_again(running: Up, office: dict[str, str]) -> None:
    lock = f"{running.read}/locks/trucks/T1"
    first = insisted(lambda: httpx.post(lock, headers=office)).raise_for_status().json()
    server = redis_of(running.directory)
    assert server is not None
    server.kill()
    running.line_with("redis ended with -9; it is started again")
    until(lambda: (found := redis_of(running.directory)) and (found if found != server else None))
    second = insisted(lambda: httpx.post(lock, headers=office)).raise_for_status().json()
    assert second["token"] > first["token"]


def test_a_database_that_is_killed_while_it_starts_is_started_again_and_again(
    running: Up, office: dict[str, str]
) -> None:
    for _ in range(3):
        server = until(lambda: postgres_of(running.directory))
        server.kill()
        server.wait()
    position = register(running, office, "after-many")
    assert truck(running, office, "after-many", position) == "active"
    assert running.process.poll() is None


def test_a_database_that_cannot_start_is_tried_again_until_it_can(running: Up, office: dict[str, str]) -> None:
    kept = running.directory / "postgres" / "global" / "pg_control"
    away = kept.with_name("away")
    server = until(lambda: postgres_of(running.directory))
    kept.rename(away)
    server.kill()
    running.line_with("PostgreSQL does not start")
    running.line_with("PostgreSQL does not start")
    away.rename(kept)
    position = register(running, office, "after-all")
    assert truck(running, office, "after-all", position) == "active"


def test_ctrl_c_ends_everything_and_the_next_start_finds_it_all_again(running: Up, office: dict[str, str]) -> None:
    position = register(running, office, "kept")
    children, server = running.children(), postgres_of(running.directory)
    assert running.end(signal.SIGINT) == 0
    gone, alive = psutil.wait_procs([*children.values(), *filter(None, [server])], LONGEST_S)
    assert (len(gone), alive) == (len(CHILDREN) + 1, [])
    assert redis_of(running.directory) is None
    for port in (running.write_port, running.read_port):
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", port)) != 0
    with up(running.directory, "--no-demo") as again:
        assert truck(again, office, "kept", position) == "active"
        assert register(again, office, "next") > position


def test_if_the_supervisor_is_killed_its_children_end_and_the_next_start_takes_over(tmp_path: Path) -> None:
    with up(tmp_path, "--no-demo") as running:
        office = dict(running.client("admin"))
        children = running.children()
        assert running.end(signal.SIGKILL) == -signal.SIGKILL
        gone, alive = psutil.wait_procs(children.values(), LONGEST_S)
        assert (len(gone), alive) == (len(CHILDREN), [])
        until(lambda: redis_of(tmp_path) is None or None)
        with up(tmp_path, "--no-demo") as again:
            assert truck(again, office, "late", register(again, office, "late")) == "active"
        assert postgres_of(tmp_path) is None


def test_a_port_that_is_taken_is_named_and_nothing_is_left_running(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        running = begin(tmp_path, "--no-demo", ports=(taken.getsockname()[1], taken.getsockname()[1]))
        try:
            said = running.process.communicate(timeout=LONGEST_S)[0]
        finally:
            end_all(running)
    assert running.process.returncode == 2
    assert "FIELDLOG_WRITE_PORT" in said
    assert "Address already in use" in " ".join(said.split())
    assert postgres_of(tmp_path) is None


@pytest.mark.parametrize("there", ["postgres/PG_VERSION", "postgres/postmaster.pid", "logs"])
def test_ctrl_c_during_the_start_leaves_nothing_running_and_nothing_half_made(tmp_path: Path, there: str) -> None:
    """While the database is made, while it starts, and while the processes start."""
    running = begin(tmp_path, "--no-demo")
    try:
        until(lambda: (tmp_path / there).exists() or None)
        running.end(signal.SIGINT)
        until(lambda: postgres_of(tmp_path) is None or None)
    finally:
        end_all(running)
    with up(tmp_path, "--no-demo") as again:
        assert sorted(again.children()) == sorted(CHILDREN)


def test_the_demo_fleet_can_be_watched_moving_with_the_command_that_is_shown(tmp_path: Path) -> None:
    running = begin(tmp_path, settings={})
    try:
        shown = running.line_with("curl -N")
        token, url = shown.split("'")[1].removeprefix("Authorization: "), shown.split("'")[3]
        seen = set()
        with httpx.stream("GET", url, headers={"Authorization": token}, timeout=LONGEST_S) as stream:
            for line in stream.iter_lines():
                seen |= {view for view in ("dashboard", "locations") if line.startswith(f'data: {{"view":"{view}"')}
                if len(seen) == 2:
                    break
        assert sorted(running.children()) == sorted([*CHILDREN, "demo"])
        assert running.end(signal.SIGTERM) == 0
    finally:
        end_all(running)
    assert str(TENANT) not in (tmp_path / "logs" / "demo.log").read_text()


def test_what_people_ask_is_limited_as_it_is_in_production(tmp_path: Path) -> None:
    running = begin(tmp_path, "--no-demo", settings={})
    try:
        running.line_with(READY)
        office = dict(running.client("admin"))
        with httpx.Client(base_url=running.read, headers=office) as http:
            answers = [http.get("/trucks").status_code for _ in range(120)]
    finally:
        end_all(running)
    assert answers[:100] == [200] * 100
    assert 429 in answers[100:]
