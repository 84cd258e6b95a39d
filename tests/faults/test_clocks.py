"""Clocks that disagree, and that are set back: the log's own time goes on, and what was promised does not depend on them.

The write processes run under a clock of their own (clock.c, compiled here); the database keeps the machine's.
"""

from __future__ import annotations

import json
import shutil
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from joserfc import jwk

from infra.settings import Settings
from tests.conftest import TENANT
from tests.faults import checks
from tests.identity_provider import claims, signed
from tests.running import free_port, until
from tests.test_doors import OPEN, problem
from tests.views.house import environment, rows_of

HOUR_S = 3600
LEEWAY_S = 120


@dataclass
class Door:
    """A write process, and its clock: how many seconds it is ahead of the machine's."""

    url: str
    clock: Path
    http: httpx.Client

    def set(self, ahead_s: int) -> None:
        """Set its clock."""
        with self.clock.open("r+b") as file:
            file.write(struct.pack("q", ahead_s))

    def ask(self, path: str, body: object = None, token: str | None = None, **headers: str) -> httpx.Response:
        """Send a command."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if token is not None:
            named["Authorization"] = f"Bearer {token}"
        return self.http.post(self.url + path, json=body or {}, headers=named)


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clock, compiled."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler is here (gcc), so no process can be given a clock of its own")
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(library), str(source), "-ldl"], check=True)
    return library


def token(settings: Settings, from_s: int, until_s: int, **more: object) -> str:
    """Return a token that is good from and until so many seconds from now, by the machine's clock."""
    key = jwk.ECKey.import_key(json.loads(Path(settings.need("signing_key")).read_text()))
    now = int(datetime.now(UTC).timestamp())
    return signed(key, claims(iat=now + from_s, exp=now + until_s, **more))


@contextmanager
def door(settings: Settings, shim: Path, clock: Path, ahead_s: int) -> Iterator[Door]:
    """Run a write process under a clock of its own."""
    port = free_port()
    clock.write_bytes(struct.pack("q", ahead_s))
    ours = {"LD_PRELOAD": str(shim), "CLOCK_AHEAD": str(clock), "FIELDLOG_WRITE_PORT": str(port)}
    command = [sys.executable, "-m", "infra", "write-api"]
    process = subprocess.Popen(command, env=environment(settings) | ours, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    lasting = {"Authorization": f"Bearer {token(settings, -9 * HOUR_S, 9 * HOUR_S)}"}

    def ready() -> bool | None:
        try:
            return httpx.get(f"{url}/readyz").status_code == httpx.codes.OK or None
        except httpx.TransportError:
            return None

    try:
        until(ready)
        with httpx.Client(headers=lasting, timeout=10) as http:
            yield Door(url, clock, http)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


@dataclass
class Doors:
    """Three doors: two hours behind, right, two hours ahead."""

    behind: Door
    right: Door
    ahead: Door


@pytest.fixture
def doors(settings: Settings, shim: Path, tmp_path: Path) -> Iterator[Doors]:
    """Three write processes over one log."""
    with (
        door(settings, shim, tmp_path / "behind", -2 * HOUR_S) as behind,
        door(settings, shim, tmp_path / "right", 0) as right,
        door(settings, shim, tmp_path / "ahead", 2 * HOUR_S) as ahead,
    ):
        assert right.ask(f"/tenants/{TENANT}/open", OPEN).status_code == httpx.codes.OK
        yield Doors(behind, right, ahead)


def register(door: Door, id: str, **headers: str) -> httpx.Response:
    """Register a truck."""
    return door.ask(f"/trucks/{id}/register", {"number": id, "plate": id}, **headers)


def at(seconds: int) -> str:
    """Return a moment so many seconds from now, by the machine's clock."""
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def test_the_logs_own_time_goes_on_whatever_the_doors_believe(settings: Settings, doors: Doors) -> None:
    began, positions = datetime.now(UTC), []
    for n in range(8):
        for name, one in vars(doors).items():
            positions.append(register(one, f"{name}-{n}").json()["position"])
        doors.right.set(-3 * HOUR_S * (n % 2))  # and one of them is set back, and right again, while it runs
    assert positions == sorted(positions)
    rows = checks.check_log(settings)
    assert all(began - timedelta(seconds=5) <= row[checks.RECORDED] <= datetime.now(UTC) for row in rows[1:])
    said = rows_of(
        settings.need("projector_url"),
        """select id, extract(epoch from occurred_at - recorded_at)::float8 from fieldlog.log
            where topic = 'trucks.registered.v1' and id like any(array['behind-%%', 'ahead-%%'])""",
    )
    assert {(id.partition("-")[0], round(seconds / HOUR_S)) for id, seconds in said} == {("behind", -2), ("ahead", 2)}


def test_what_lies_ahead_is_judged_by_the_clock_of_the_door_that_is_asked(doors: Doors) -> None:
    assert register(doors.right, "now", occurred_at=at(0)).status_code == httpx.codes.OK
    assert register(doors.ahead, "later", occurred_at=at(HOUR_S)).status_code == httpx.codes.OK
    for one, seconds in ((doors.right, HOUR_S), (doors.behind, 0), (doors.ahead, 3 * HOUR_S)):
        refused = problem(register(one, "never", occurred_at=at(seconds)), 422, "invalid-input")
        assert refused["errors"][0]["header"] == "Occurred-At"
    doors.behind.set(0)
    assert register(doors.behind, "mended", occurred_at=at(0)).status_code == httpx.codes.OK


def test_tokens_are_good_by_the_clock_of_the_door_that_is_asked(settings: Settings, doors: Doors) -> None:
    register(doors.right, "T")
    expiring = token(settings, -9 * HOUR_S, HOUR_S)
    beginning = token(settings, -9 * HOUR_S, 9 * HOUR_S, nbf=int(datetime.now(UTC).timestamp()) - LEEWAY_S)
    for one, sent, status in (
        (doors.right, expiring, httpx.codes.OK),
        (doors.behind, expiring, httpx.codes.OK),
        (doors.ahead, expiring, httpx.codes.UNAUTHORIZED),
        (doors.right, beginning, httpx.codes.OK),
        (doors.ahead, beginning, httpx.codes.OK),
        (doors.behind, beginning, httpx.codes.UNAUTHORIZED),
    ):
        assert one.ask("/trucks/T/activate", token=sent).status_code == status, (one.url, status)
    doors.right.set(2 * HOUR_S)
    assert doors.right.ask("/trucks/T/activate", token=expiring).status_code == httpx.codes.UNAUTHORIZED, "remembered"
    doors.right.set(0)
    assert doors.right.ask("/trucks/T/activate", token=expiring).status_code == httpx.codes.OK


def test_a_key_has_its_receipt_at_every_door_and_after_every_change_of_its_clock(doors: Doors) -> None:
    first = register(doors.ahead, "T", idempotency_key='"once"')
    doors.ahead.set(-5 * HOUR_S)
    for one in (doors.behind, doors.right, doors.ahead):
        assert register(one, "T", idempotency_key='"once"').json() == first.json()
