"""A disk that is full: commands are told to come back, nothing that was acknowledged is lost, and once there is room again
everything goes on by itself. The disk is a small one of its own, in memory.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psycopg
import pytest

from infra.settings import Settings
from tests.running import Up, free_port, patient, until, up
from tests.test_up import insisted, truck
from tests.views.house import environment

SIZE = "220m"
BLOCK = 1 << 20


@pytest.fixture
def disk() -> Iterator[Path]:
    """A small disk."""
    place = Path(tempfile.mkdtemp(prefix="fieldlog-disk-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=755", "tmpfs", str(place)],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"NOT SHOWN HERE: a full disk needs the right to mount one ({mounted.stderr.strip()})")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)
    place.rmdir()


def fill(place: Path) -> Path:
    """Fill a disk to the last byte; return the file that does."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (BLOCK, 4096, 1):
            try:
                while True:
                    os.write(file.fileno(), b"\0" * size)
            except OSError:
                continue
    return filler


class Office:
    """Somebody who registers trucks, and notes what was acknowledged."""

    def __init__(self, running: Up) -> None:
        self.headers = dict(running.client("admin", "auditor"))
        self._running = running
        self.acknowledged: dict[str, int] = {}
        self.statuses: Counter[int] = Counter()

    def register(self, http: httpx.Client, id: str) -> int:
        """Register a truck, once; return the status."""
        headers = self.headers | {"Idempotency-Key": f'"{id}"'}
        body = {"number": id, "plate": f"{id} {'x' * 180}"}
        answer = http.post(f"{self._running.write}/trucks/{id}/register", headers=headers, json=body)
        self.statuses[answer.status_code] += 1
        if answer.status_code == httpx.codes.OK:
            self.acknowledged[id] = answer.json()["position"]
        return answer.status_code


def superuser(running: Up) -> str:
    """Return the URL of the server's superuser."""
    sockets = (running.directory / "postgres" / "postmaster.pid").read_text().splitlines()[4]
    return f"postgresql://postgres@/fieldlog?host={sockets}"


def fill_wal(url: str) -> None:
    """Write log records until there is no room for another file of them, upon which the database ends."""
    with suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True) as connection:
        while True:
            connection.execute("select pg_switch_wal(), pg_logical_emit_message(false, 'full', 'disk')")


@pytest.mark.parametrize("wal", [False, True], ids=["tables cannot grow", "the write-ahead log cannot grow"])
def test_a_full_disk_is_waited_out_and_nothing_acknowledged_is_lost(disk: Path, wal: bool) -> None:
    with up(disk / "data", "--no-demo") as running, patient() as http:
        office = Office(running)
        for n in range(20):
            assert office.register(http, f"before-{n}") == httpx.codes.OK
        url = superuser(running)
        filler = fill(disk)
        if wal:
            fill_wal(url)
        numbers = iter(range(100_000))
        until(lambda: office.register(http, f"full-{next(numbers)}") == httpx.codes.SERVICE_UNAVAILABLE or None)
        for n in range(3):
            office.register(http, f"still-full-{n}")
        filler.unlink()
        assert office.statuses.keys() <= {httpx.codes.OK, httpx.codes.SERVICE_UNAVAILABLE}, office.statuses
        until(lambda: office.register(http, "after") == httpx.codes.OK or None)
        for id, position in office.acknowledged.items():
            assert truck(running, office.headers, id, position) == "active"
        assert insisted(lambda: http.get(f"{running.read}/readyz")).status_code == httpx.codes.OK
        assert running.process.poll() is None


def test_lines_that_cannot_be_written_keep_no_answer_back(settings: Settings) -> None:
    port = free_port()
    ours = environment(settings) | {"FIELDLOG_WRITE_PORT": str(port)}
    with Path("/dev/full").open("wb") as full, httpx.Client(base_url=f"http://127.0.0.1:{port}") as http:
        process = subprocess.Popen([sys.executable, "-m", "infra", "write-api"], env=ours, stdout=full, stderr=full)
        try:
            insisted(lambda: http.get("/readyz"))
            assert [http.get("/nowhere").status_code for _ in range(200)] == [httpx.codes.NOT_FOUND] * 200
            assert process.poll() is None
        finally:
            process.terminate()
            process.wait(20)
