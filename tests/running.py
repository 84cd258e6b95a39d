"""Fieldlog as its users run it: the `fieldlog` command in processes of its own, over a directory that a test gives."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import redis

from infra.local.redis import RedisServer
from infra.settings import Settings, variable

READY = "/fleet/dashboard"
CHILDREN = ("projector", "reactor", "write-api", "read-api")
LONGEST_S = 60.0
AT_ONCE = {"FIELDLOG_DRAIN_SECONDS": "0"}
NO_LIMIT = {"FIELDLOG_LIMIT_REQUESTS": "0"}  # what is tried again every few milliseconds is soon more than people ask
Found = TypeVar("Found")


def environment(**settings: str) -> dict[str, str]:
    """Return the environment of a user who has set these settings, and whose processes have no proxy to wait for at their end."""
    ours = {variable(name) for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | AT_ONCE | side_ports() | {variable(name): value for name, value in settings.items()}


def fieldlog(*arguments: str, seconds: float = LONGEST_S, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run the command to its end, with these settings and no others."""
    return subprocess.run(
        [sys.executable, "-m", "infra", *arguments],
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


@contextmanager
def started(*arguments: str, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """Run the command, with these settings and no others, until the end of the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "infra", *arguments], env=environment(**settings), stdout=subprocess.DEVNULL, text=True
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(LONGEST_S)


def until(find: Callable[[], Found | None]) -> Found:
    """Return what is found once it is there; it is looked for again and again."""
    ends, pause = time.monotonic() + LONGEST_S, threading.Event()
    while (found := find()) is None:
        assert time.monotonic() < ends, "it was not found in time"
        pause.wait(0.02)
    return found


def free_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def side_ports() -> dict[str, str]:
    """Return free ports for the health and metrics of processes without an API, as environment variables."""
    return {variable(name): str(free_port()) for name in ("projector_port", "reactor_port", "relay_port")}


def postgres_of(directory: Path) -> psutil.Process | None:
    """Return the main process of a directory's PostgreSQL, if it runs."""
    try:
        return psutil.Process(int((directory / "postgres" / "postmaster.pid").read_text().split()[0]))
    except (FileNotFoundError, IndexError, ValueError, psutil.NoSuchProcess):  # a negative id is of initdb at work
        return None


def redis_of(directory: Path) -> psutil.Process | None:
    """Return the process of a directory's Redis, if it runs."""
    url = RedisServer(directory / "redis").url()
    try:
        with redis.Redis.from_url(url, socket_timeout=1) as client:
            about: Any = client.info("server")
        return psutil.Process(about["process_id"])
    except (redis.RedisError, OSError, psutil.NoSuchProcess):
        return None


@dataclass
class Up:
    """`fieldlog up` while it runs."""

    directory: Path
    write_port: int
    read_port: int
    process: subprocess.Popen[str]
    _tokens: dict[tuple[str, ...], str] = field(default_factory=dict)

    @property
    def write(self) -> str:
        """Where commands go."""
        return f"http://127.0.0.1:{self.write_port}"

    @property
    def read(self) -> str:
        """Where questions go."""
        return f"http://127.0.0.1:{self.read_port}"

    @property
    def settings(self) -> dict[str, str]:
        """What a user sets who asks this set-up for something from another terminal."""
        ports = {"WRITE_PORT": str(self.write_port), "READ_PORT": str(self.read_port)}
        return {"DATA": str(self.directory), **ports}

    def ask(self, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run a command against this set-up to its end."""
        return fieldlog(*arguments, **{**self.settings, **more})

    def line_with(self, words: str) -> str:
        """Wait for a line of the output that has these words; return it."""
        assert self.process.stdout is not None
        alarm = threading.Timer(LONGEST_S, self.process.kill)
        alarm.start()
        told = []
        try:
            for line in self.process.stdout:
                told.append(line)
                if words in line:
                    return line
        finally:
            alarm.cancel()
        raise AssertionError(f"{words!r} was not said, but:\n{''.join(told)}")

    def children(self) -> dict[str, psutil.Process]:
        """Return the processes that the supervisor keeps alive, by name."""
        found = {}
        for one in psutil.Process(self.process.pid).children():
            with suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                command = one.cmdline()
                if command[1:3] == ["-m", "infra"] and command[3:4] != ["up"]:  # not a fork that is about to become one
                    found[command[3]] = one
        return found

    def child(self, name: str, other_than: psutil.Process | None = None) -> psutil.Process:
        """Return the process of this name, once there is one that is not the other one."""
        return until(lambda: (found := self.children().get(name)) and (found if found != other_than else None))

    def client(self, *roles: str, tenant: str = "demo", subject: str = "ana") -> Mapping[str, str]:
        """Return the headers of somebody with these roles."""
        wanted = (tenant, subject, *roles)
        if wanted not in self._tokens:
            named = [part for role in roles for part in ("--role", role)]
            self._tokens[wanted] = self.ask("token", "--tenant", tenant, "--subject", subject, *named).stdout.strip()
        return {"Authorization": f"Bearer {self._tokens[wanted]}"}

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Send a signal and wait for the end; return the exit code. Ctrl-C reaches all of a terminal's processes at once."""
        if number == signal.SIGINT:
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        return self.process.wait(LONGEST_S)


def _ports(write: int, read: int) -> list[str]:
    return ["--write-port", str(write), "--read-port", str(read)]


def begin(
    directory: Path, *options: str, ports: tuple[int, int] | None = None, settings: Mapping[str, str] = NO_LIMIT
) -> Up:
    """Start `fieldlog up` over a directory, on free ports, and do not wait for it."""
    write, read = ports or (free_port(), free_port())
    process = subprocess.Popen(
        [sys.executable, "-m", "infra", "up", "--data", str(directory), *_ports(write, read), *options],
        env=environment() | {"PYTHONUNBUFFERED": "1", **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    return Up(directory, write, read, process)


@contextmanager
def up(directory: Path, *options: str) -> Iterator[Up]:
    """Run `fieldlog up` until the end of the block; it is ready when the block begins."""
    running = begin(directory, *options)
    try:
        running.line_with(READY)
        yield running
    finally:
        end_all(running)


def end_all(running: Up) -> None:
    """End the supervisor if it still runs, and whatever a failed test would leave behind."""
    left = [psutil.Process(running.process.pid), *running.children().values()] if running.process.poll() is None else []
    try:
        if running.process.poll() is None:
            running.end()
    finally:
        for one in [*left, *filter(None, [postgres_of(running.directory), redis_of(running.directory)])]:
            if one.is_running():
                one.kill()
        running.process.wait()
        if running.process.stdout is not None:
            running.process.stdout.close()


def patient() -> httpx.Client:
    """Return a client that tries again while nobody listens."""
    return httpx.Client(transport=httpx.HTTPTransport(retries=6), timeout=20)
