"""A process that is told to end does so, also while its database is silent; one that starts before its database waits for it."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from psycopg.conninfo import conninfo_to_dict

from infra.settings import Settings
from tests.faults.ways import Way, Ways
from tests.running import free_port, until
from tests.views.house import environment

FOR_EVER_S = 3_600.0
MOST_S = 20
PORTS = {
    "write-api": "FIELDLOG_WRITE_PORT",
    "read-api": "FIELDLOG_READ_PORT",
    "projector": "FIELDLOG_PROJECTOR_PORT",
    "reactor": "FIELDLOG_REACTOR_PORT",
    "relay": "FIELDLOG_RELAY_PORT",
}


@pytest.fixture
def way(settings: Settings) -> Iterator[Way]:
    """A way to the database of a test."""
    with Ways(sockets(settings)).running() as ways:
        yield ways.new()


def sockets(settings: Settings) -> Path:
    return Path(str(conninfo_to_dict(settings.need("database_url"))["host"]))


@contextmanager
def process(name: str, settings: Settings, way: Way) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run a process that reaches its database by this way; it is killed if a test leaves it."""
    port = free_port()
    given: Mapping[str, str] = {
        key: value.replace(str(sockets(settings)), way.directory) for key, value in environment(settings).items()
    }
    ours = {
        PORTS[name]: str(port),
        "FIELDLOG_DRAIN_SECONDS": "0",
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}",
    }
    running = subprocess.Popen([sys.executable, "-m", "infra", name], env={**given, **ours}, stdout=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}", running
    finally:
        running.kill()
        running.wait()


def status(url: str) -> int | None:
    """Return the status of an answer, if there is one."""
    try:
        return httpx.get(url, timeout=5).status_code
    except httpx.TransportError:
        return None


@pytest.mark.parametrize("name", PORTS)
def test_who_is_told_to_end_ends_also_while_the_database_is_silent(name: str, settings: Settings, way: Way) -> None:
    with process(name, settings, way) as (url, running):
        until(lambda: status(f"{url}/startupz") == httpx.codes.OK or None)
        way.delay_s = FOR_EVER_S
        running.send_signal(signal.SIGTERM)
        running.wait(MOST_S)


@pytest.mark.parametrize("name", ["read-api", "reactor"])
def test_who_is_told_to_end_before_the_database_ever_spoke_ends(name: str, settings: Settings, way: Way) -> None:
    way.delay_s = FOR_EVER_S
    with process(name, settings, way) as (_, running):
        until(lambda: way.visitors or None)
        running.send_signal(signal.SIGTERM)
        running.wait(MOST_S)


@pytest.mark.parametrize("name", ["write-api", "read-api", "projector", "reactor"])
def test_who_starts_before_the_database_waits_for_it(name: str, settings: Settings, way: Way) -> None:
    way.closed = True
    with process(name, settings, way) as (url, running):
        until(lambda: way.visitors > 2 or None)
        way.closed = False
        until(lambda: status(f"{url}/startupz") == httpx.codes.OK or None)
        assert running.poll() is None
