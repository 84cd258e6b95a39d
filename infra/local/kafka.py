"""A local Kafka: a real broker in KRaft mode, fetched by its Maven coordinates, over one data directory, on loopback alone.

Needs Java 17 or newer. The jars are fetched once, checked against the checksums in `kafka.jars`, and kept for every set-up.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

import httpx
import psutil

from infra.settings import SettingsError

JARS = Path(__file__).with_name("kafka.jars")
START_S, STOP_S, LOOK_S, FETCH_S = 60.0, 20.0, 0.05, 120.0
LEAST_JAVA = 17
JVM = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn")
PROPERTIES = """process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port}
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={directory}/logs
auto.create.topics.enable=false
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
share.coordinator.state.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
"""


class KafkaNotThereError(SettingsError):
    """There is no Kafka here and none can be had; the message says what is missing."""


class Kafka:
    """A broker over a data directory; starting it again finds the topics of before, at the same address if it is free."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory.resolve()
        self._properties, self._pid = self._directory / "server.properties", self._directory / "kafka.pid"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def bootstrap(self) -> str:
        """Where the broker is, once it was started for the first time: `host:port`."""
        [listeners] = [line for line in self._properties.read_text().splitlines() if line.startswith("advertised")]
        return listeners.rpartition("//")[2]

    def start(self, maven_url: str) -> bool:
        """Start the broker; return once it accepts connections. False: it ran already. Raises KafkaNotThereError."""
        if self.running():
            return False
        java, jars = find_java(), _jars(maven_url)
        if not self._properties.exists():
            self._format(java, jars)
        elif not all(map(_is_free, self._ports())):
            self._draft().rename(self._properties)
        with (self._directory / "kafka.log").open("ab") as lines:
            self._process = subprocess.Popen(
                [java, *JVM, "-cp", jars, "kafka.Kafka", str(self._properties)],
                stdout=lines,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._pid.write_text(str(self._process.pid))
        self._wait()
        return True

    def process(self) -> psutil.Process | None:
        """Return the broker's process, if it lives."""
        if self._process is not None:
            self._process.poll()  # so that one of ours that has ended is not taken for alive
        with contextlib.suppress(FileNotFoundError, ValueError, psutil.Error):
            process = psutil.Process(int(self._pid.read_text()))
            if str(self._properties) in process.cmdline():
                return process
        return None

    def running(self) -> bool:
        """Say whether the broker lives."""
        return self.process() is not None

    def stop(self) -> None:
        """Stop the broker; one that does not end in time is killed."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the broker, as a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process = self.process()
        if process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):  # it may end by itself meanwhile
            process.send_signal(number)
            try:
                process.wait(STOP_S)
            except psutil.TimeoutExpired:
                process.kill()
                process.wait()

    def _format(self, java: str, jars: str) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        draft = self._draft()
        shutil.rmtree(self._directory / "logs", ignore_errors=True)
        cluster = uuid4().hex[:22]
        tool = [java, *JVM, "-cp", jars, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(draft)]
        done = subprocess.run(tool, capture_output=True, text=True, check=False)
        if done.returncode:
            raise KafkaNotThereError(
                f"Kafka's directory could not be made: {(done.stderr or done.stdout).strip()[-500:]}"
            )
        draft.rename(self._properties)  # last: what was not formatted to its end is formatted anew

    def _draft(self) -> Path:
        """Write properties with ports that are free, beside those that count."""
        port, controller = _free_ports(2)
        draft = self._properties.with_suffix(".draft")
        draft.write_text(PROPERTIES.format(port=port, controller=controller, directory=self._directory))
        return draft

    def _ports(self) -> list[int]:
        [listeners] = [line for line in self._properties.read_text().splitlines() if line.startswith("listeners=")]
        return [int(listener.rpartition(":")[2]) for listener in listeners.split(",")]

    def _wait(self) -> None:
        host, _, port = self.bootstrap.partition(":")
        ends = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
                return
            assert self._process is not None
            if self._process.poll() is not None or time.monotonic() > ends:
                self._process.kill()
                raise KafkaNotThereError(f"Kafka did not start; its lines are in {self._directory / 'kafka.log'}")
            time.sleep(LOOK_S)


def find_java() -> str:
    """Return the Java to run Kafka with. Raises KafkaNotThereError."""
    home = os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if java is None or not Path(java).exists():
        raise KafkaNotThereError(
            f"Kafka needs Java {LEAST_JAVA} or newer, and there is no {java or '`java` on the PATH'}"
        )
    said = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = said.partition('"')[2].partition('"')[0]
    major = version.removeprefix("1.").partition(".")[0].partition("-")[0]
    if not major.isdigit() or int(major) < LEAST_JAVA:
        raise KafkaNotThereError(f"Kafka needs Java {LEAST_JAVA} or newer, and {java} is {version or 'none'}")
    return java


def _jars(maven_url: str) -> str:
    """Return the class path of Kafka; what is missing is fetched. Raises KafkaNotThereError."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fieldlog" / "kafka"
    cache.mkdir(parents=True, exist_ok=True)
    wanted = [tuple(line.split()) for line in JARS.read_text().splitlines()]
    files = {coordinates: cache / f"{coordinates.replace(':', '_')}.jar" for coordinates, _ in wanted}
    missing = [(coordinates, checksum) for coordinates, checksum in wanted if not files[coordinates].exists()]
    if missing:
        _fetch(maven_url, missing, files)
    return os.pathsep.join(str(file) for file in files.values())


def _fetch(maven_url: str, missing: Iterable[tuple[str, ...]], files: dict[str, Path]) -> None:
    with httpx.Client(timeout=FETCH_S, follow_redirects=True) as client, ThreadPoolExecutor(8) as threads:

        def fetch(coordinates: str, checksum: str) -> None:
            group, artifact, version = coordinates.split(":")
            url = f"{maven_url.rstrip('/')}/{group.replace('.', '/')}/{artifact}/{version}/{artifact}-{version}.jar"
            answer = client.get(url).raise_for_status()
            if sha256(answer.content).hexdigest() != checksum:
                raise KafkaNotThereError(f"{url} is not what it should be: its SHA-256 is not {checksum}")
            draft = files[coordinates].with_suffix(f".{uuid4()}")
            draft.write_bytes(answer.content)
            draft.rename(files[coordinates])

        try:
            for fetched in [threads.submit(fetch, *one) for one in missing]:
                fetched.result()
        except httpx.HTTPError as error:
            raise KafkaNotThereError(f"Kafka could not be fetched from {maven_url}: {error}") from error


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        listeners = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [listener.getsockname()[1] for listener in listeners]
