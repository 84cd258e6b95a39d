"""Real processes for benchmarks: the APIs and projectors as they run, and peers behind the same server."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import httpx

from infra.local.home import Home
from infra.local.kafka import Kafka
from infra.local.postgres import Postgres
from infra.operate import prepare
from infra.settings import Settings

START_S = 30


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def house(postgres: Postgres, *, kafka: str | None = None) -> Iterator[tuple[dict[str, str], Settings]]:
    """Give the environment and settings of a local set-up over a server, with all tables and builds made, without Redis."""
    with tempfile.TemporaryDirectory(prefix="fieldlog-bench-keys-") as directory:
        home = Home(Path(directory))
        home.postgres = postgres
        named = ("WRITE_PORT", "READ_PORT", "PROJECTOR_PORT", "REACTOR_PORT", "RELAY_PORT")
        ports = {f"FIELDLOG_{name}": str(free_port()) for name in named}
        publishing = {"KAFKA_BOOTSTRAP_SERVERS": kafka} if kafka else {}
        environment = {**os.environ, **home.environment(), **ports, **publishing, "FIELDLOG_LOG_LEVEL": "warning"}
        del environment["REDIS_URL"]
        settings = Settings.from_environment(environment)
        prepare(settings)
        yield environment, settings


@contextlib.contextmanager
def broker() -> Iterator[str]:
    """Run a Kafka broker of our own meanwhile; gives its address."""
    with tempfile.TemporaryDirectory(prefix="fieldlog-bench-kafka-") as directory:
        kafka = Kafka(Path(directory))
        kafka.start(Settings.from_environment().maven_url)
        try:
            yield kafka.bootstrap
        finally:
            kafka.kill()


@contextlib.contextmanager
def running(
    environment: Mapping[str, str], *arguments: str, port: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `python -m ...` meanwhile; with a port, once it answers there."""
    command = [sys.executable, "-W", "ignore", "-m", *arguments]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        if port is not None:
            _wait_for(port, process)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + START_S
    while time.monotonic() < ends and process.poll() is None:
        with contextlib.suppress(httpx.TransportError):
            httpx.get(f"http://127.0.0.1:{port}/livez", timeout=1)
            return
        time.sleep(0.05)
    raise RuntimeError(f"nothing answers on port {port}")


def request(path: str, body: bytes, token: str) -> bytes:
    """Return a POST request as bytes."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def load(port: int, seconds: float, requests: Sequence[Sequence[bytes]], pause: float = 0.0) -> dict[str, float]:
    """Load a port from a process of its own; return what tests.bench.load prints."""
    prepared = json.dumps([[base64.b64encode(one).decode() for one in own] for own in requests])
    command = [sys.executable, "-m", "tests.bench.load", str(port), str(seconds), str(pause)]
    output = subprocess.run(command, input=prepared, capture_output=True, text=True, check=True).stdout
    found: dict[str, float] = json.loads(output)
    if found["failures"]:
        raise RuntimeError(f"{found['failures']:.0f} requests were not answered with 200")
    return found
