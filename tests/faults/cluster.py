"""A whole system in processes of its own: two of each kind, every one with its own way to the database, with a Kafka and a
Redis, and all of it looked after as in production: what ends is started again. What ends without having been told to is noted.

Where Kafka cannot be had, its part is left out, and that is said; the build server (CI) must have it.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import httpx
import psutil
import redis
from psycopg.conninfo import conninfo_to_dict

from infra.ending import BROKEN_OFF
from infra.local.home import Home
from infra.local.kafka import Kafka, KafkaNotThereError
from infra.local.postgres import NotStartedError
from infra.local.redis import RedisServer
from infra.local.supervisor import PARENT
from infra.operate import prepare
from infra.settings import Settings
from tests.faults.ways import Way, Ways
from tests.running import environment, free_port, postgres_of, until

LAST_WORK_S = 20.0
LOOK_S = 0.1
PROCESSES: Mapping[str, str] = {
    "write-1": "write-api",
    "write-2": "write-api",
    "read-1": "read-api",
    "read-2": "read-api",
    "projector-1": "projector",
    "projector-2": "projector",
    "reactor-1": "reactor",
    "reactor-2": "reactor",
    "relay-1": "relay",
    "relay-2": "relay",
}
# Nobody is told to wait but who asks for too much (load.Greedy); locks are lost soon; an end need not wait for proxies.
SETTINGS: Mapping[str, str] = {
    "FIELDLOG_LIMIT_REQUESTS": "100000",
    "FIELDLOG_LIMIT_POINTS": "6000",
    "FIELDLOG_LIMIT_WINDOW_SECONDS": "60",
    "FIELDLOG_LOCK_SECONDS": "2",
    "FIELDLOG_KAFKA_PARTITIONS": "2",
    "FIELDLOG_DRAIN_SECONDS": "0.5",
    "FIELDLOG_UPLOAD_PART_BYTES": "1048576",
}
PORTS = {"write-api": "FIELDLOG_WRITE_PORT", "read-api": "FIELDLOG_READ_PORT"}


class Part(Protocol):
    """What can be started, killed, told to end, and sent a signal."""

    def start(self) -> None:
        """Start it."""

    def kill(self) -> None:
        """Kill it as a power cut would."""

    def end(self) -> None:
        """Tell it to end."""

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""


class Broker:
    """The Kafka of the system. It takes its time to start, in which other things happen."""

    def __init__(self, kafka: Kafka, maven_url: str) -> None:
        self._kafka, self._maven_url = kafka, maven_url
        self._starts = ThreadPoolExecutor(1, "kafka starts")
        self._starting: Future[bool] | None = None

    def start(self) -> None:
        """Begin to start it."""
        self._starting = self._starts.submit(self._kafka.start, self._maven_url)

    def wait(self) -> None:
        """Wait until it has started. Raises KafkaNotThereError."""
        if self._starting is not None:
            self._starting.result()

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self.wait()
        self._kafka.kill()

    def end(self) -> None:
        """Tell it to end."""
        self.wait()
        self._kafka.stop()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.wait()
        process = self._kafka.process()
        assert process is not None, "Kafka ended by itself"
        process.send_signal(number)

    def close(self) -> None:
        """Kill it for good."""
        self._starts.shutdown()
        self._kafka.kill()


class Memory:
    """The Redis of the system, which begins with nothing each time."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server

    @property
    def url(self) -> str:
        """Where it is."""
        return self._server.url()

    def start(self) -> None:
        """Start it."""
        self._server.start()

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self.signal(signal.SIGKILL)
        self._server.stop()

    def end(self) -> None:
        """Tell it to end."""
        self._server.stop()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._server.process is not None
        assert self._server.process.poll() is None, "Redis ended by itself"
        self._server.process.send_signal(number)

    def flush(self) -> None:
        """Let it lose everything."""
        with redis.Redis.from_url(self.url) as client:
            client.flushall()


@dataclass
class Process:
    """A process `python -m infra <command>`; the lines of each of its lives are in a file of their own."""

    name: str
    command: str
    environment: Mapping[str, str]
    logs: Path
    way: Way
    port: int | None = None
    wanted: bool = False
    lives: int = 0
    unexpected: list[str] = field(default_factory=list)
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it."""
        self.lives += 1
        with (self.logs / f"{self.name}.{self.lives}.log").open("wb") as lines:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "infra", self.command],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=lines,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.wanted = True

    def look(self) -> None:
        """Note if it has ended by itself, and start it again then."""
        if self.wanted and self._process is not None and self._process.poll() is not None:
            self.unexpected.append(f"{self.name} ended with {self._process.returncode} in life {self.lives}")
            self.start()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it as a power cut would."""
        self.wanted = False
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()

    def end(self) -> None:
        """Tell it to end; it does so in time, and without a complaint."""
        if not self.wanted:
            return
        self.wanted = False
        self.signal(signal.SIGTERM)
        assert self._process is not None
        try:
            code = self._process.wait(LAST_WORK_S)
            if code not in (0, -signal.SIGTERM, BROKEN_OFF):
                self.unexpected.append(f"{self.name} was told to end, and ended with {code} in life {self.lives}")
        except subprocess.TimeoutExpired:
            self.unexpected.append(f"{self.name} was told to end, and did not in {LAST_WORK_S:.0f} s")
            self.kill()


class Database:
    """The PostgreSQL of the system."""

    def __init__(self, home: Home) -> None:
        self._home, self._wanted = home, True
        self._turn = threading.Lock()  # it is started by one at a time

    def look(self) -> None:
        """Start it again if it has ended by itself, as it may when it is hurt while it recovers."""
        with self._turn, suppress(NotStartedError):
            if self._wanted and not self._home.postgres.running():
                self._home.postgres.start()

    def start(self) -> None:
        """Start it, as often as it takes."""

        def started() -> bool | None:
            with self._turn, suppress(NotStartedError):
                self._home.postgres.start()
                return True
            return None

        until(started)
        self._wanted = True

    def stop(self) -> None:
        """Stop it in order, once it has recovered from what was before; connections are closed first."""
        self.start()
        self._wanted = False
        self._home.postgres.stop()

    def kill(self) -> None:
        """Kill its main process as a power cut would; the others follow it."""
        self._wanted = False
        self._main().kill()

    def kill_one(self, dice: random.Random) -> None:
        """Kill one of its processes, upon which it throws out everybody and recovers."""
        which = dice.random()  # one draw, however many there are, so that a seed leads to the same faults again
        with suppress(IndexError, psutil.NoSuchProcess):
            children = self._main().children()
            children[int(which * len(children))].kill()

    def freeze(self) -> list[psutil.Process]:
        """Stop all of its processes in their tracks; return them."""
        frozen = [main := self._main(), *main.children()]
        for one in frozen:
            with suppress(psutil.NoSuchProcess):
                one.suspend()
        return frozen

    def _main(self) -> psutil.Process:
        return until(lambda: postgres_of(self._home.directory))


class Cluster:
    """The database, Kafka, Redis, the processes, and somebody who looks after them; `broker` None: there is no Kafka here."""

    def __init__(self, directory: Path, ways: Ways, home: Home, broker: Broker | None) -> None:
        self.database, self.memory, self._home = Database(home), Memory(home.redis), home
        self.logs = directory / "logs"
        self.logs.mkdir()
        self.settings = Settings.from_environment(home.environment() | SETTINGS)
        named = {name: command for name, command in PROCESSES.items() if broker or command != "relay"}
        self.processes = {name: self._process(name, command, ways.new()) for name, command in named.items()}
        self.parts: dict[str, Part] = {**self.processes, "redis": self.memory, **({"kafka": broker} if broker else {})}
        self._stopping = threading.Event()

    def _process(self, name: str, command: str, way: Way) -> Process:
        port = free_port() if command in PORTS else None
        sockets = str(sockets_of(self._home))
        ours = {key: value.replace(sockets, way.directory) for key, value in self._home.environment().items()}
        named = {} if port is None else {PORTS[command]: str(port)}
        ours |= SETTINGS | named | {PARENT: str(os.getpid())}
        return Process(name, command, environment() | ours, self.logs, way, port)

    @property
    def targets(self) -> set[str]:
        """What can be hurt."""
        return {*self.parts, "database"}

    def urls(self, command: str) -> list[str]:
        """Where the processes of a kind answer."""
        return [one.url for one in self.processes.values() if one.command == command]

    def wait_until_ready(self) -> None:
        """Wait until both APIs say so, in all of their processes."""
        for url in (*self.urls("write-api"), *self.urls("read-api")):
            until(lambda url=url: _is_ready(url) or None)  # type: ignore[misc]

    def look_after(self) -> None:
        """Look after the processes until the end."""
        while not self._stopping.wait(LOOK_S):
            self.database.look()
            for process in self.processes.values():
                process.look()

    @contextmanager
    def running(self) -> Iterator[Cluster]:
        """Run all processes until the end of the block."""
        watchman = threading.Thread(target=self.look_after, name="watchman")
        with ExitStack() as stack:
            for process in self.processes.values():
                process.start()
                stack.callback(process.end)
            stack.callback(watchman.join)
            stack.callback(self._stopping.set)
            watchman.start()
            self.wait_until_ready()
            yield self


def sockets_of(home: Home) -> Path:
    """Return the directory with the database's own socket."""
    return Path(str(conninfo_to_dict(home.postgres.url())["host"]))


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def _started(home: Home, broker: Broker) -> bool:
    """Start the database, Redis and Kafka. False: there is no Kafka here, and that is said."""
    broker.start()
    home.redis.start()
    home.postgres.start()
    home.postgres.make_database()
    try:
        broker.wait()
    except KafkaNotThereError as error:
        if os.environ.get("CI"):
            raise
        warnings.warn(f"NOT SHOWN HERE: Kafka and its relays under faults. {error}", stacklevel=2)
        return False
    return True


@contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """Make a whole system in a directory and run it until the end of the block."""
    directory.chmod(0o755)
    home = Home(directory / "data")
    broker = Broker(home.kafka, Settings.from_environment().maven_url)
    try:
        has_kafka = _started(home, broker)
        with Ways(sockets_of(home)).running() as ways:
            made = Cluster(directory, ways, home, broker if has_kafka else None)
            prepare(made.settings)
            with made.running():
                yield made
    finally:
        broker.close()
        if home.redis.process is not None:
            home.redis.stop()
        if home.postgres.running():
            home.postgres.stop()
