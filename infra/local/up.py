"""`fieldlog up`: a whole system on one machine, from an empty directory or from the one of last time."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from types import FrameType

import httpx
from rich.console import Console

from domain.roles import Role
from infra.local.demo import TENANT
from infra.local.home import Home, issue_token
from infra.local.kafka import KafkaNotThereError
from infra.local.postgres import NotStartedError
from infra.local.supervisor import LONGEST_PAUSE_S, Supervisor
from infra.operate import prepare
from infra.settings import Settings, SettingsError, variable
from infra.web.serving import listening

START_S = 30.0
TOKEN_HOURS = 24.0
PORTS = ("write_port", "read_port", "projector_port", "reactor_port", "relay_port")


class Up:
    """Everything of a local set-up, until it is stopped."""

    def __init__(self, settings: Settings, console: Console, *, demo: bool, kafka: bool) -> None:
        self._console, self._demo, self._kafka = console, demo, kafka
        self._home = Home(settings.data)
        self._ours = {
            **{variable(name): str(getattr(settings, name)) for name in PORTS},
            "FIELDLOG_DRAIN_SECONDS": "0",  # nothing here would notice
            **({"FIELDLOG_OBJECTS": settings.objects} if settings.objects is not None else {}),
        }
        self._settings = settings
        self._pauses: dict[str, tuple[float, float]] = {}

    def run(self) -> None:
        """Start everything, say where it is, look after it, and stop it all at the first signal."""
        with (self._home.directory / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SettingsError(f"a set-up runs in {self._home.directory} already") from None
            for port in PORTS:
                listening(self._settings, port).close()  # says in one line which one is taken
            self._run()

    def _run(self) -> None:
        postgres, stopping = self._home.postgres, threading.Event()

        def stop(_: int, __: FrameType | None) -> None:
            stopping.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, stop)
        try:
            with self._console.status("starting PostgreSQL"):
                postgres.start()
                postgres.make_database()
            if self._kafka:
                with self._console.status("starting Kafka (the first time, it is fetched)"):
                    self._home.kafka.start(self._settings.maven_url)
            environment = {**self._home.environment(), **self._ours}
            self._settings = Settings.from_environment({**os.environ, **environment})
            prepare(self._settings)
            if not stopping.is_set():
                self._look_after(Supervisor(self._home.directory / "logs", environment, self._console.print, stopping))
        finally:
            with self._console.status("stopping"):
                self._home.kafka.stop()
                if postgres.running():
                    postgres.stop()
            self._console.print("Everything has stopped.")

    def _look_after(self, supervisor: Supervisor) -> None:
        try:
            supervisor.add("redis", "redis", str(self._home.redis.directory))
            relay = ["relay"] if self._settings.kafka_bootstrap_servers else []
            for name in ("projector", "reactor", *relay, "write-api", "read-api"):
                supervisor.add(name, name)
            if self._wait_until_ready(supervisor):
                if self._demo:
                    supervisor.add("demo", "demo")
                self._welcome()
                supervisor.watch(self._look_after_servers)
        finally:
            with self._console.status("stopping"):
                supervisor.stop()

    def _look_after_servers(self) -> None:
        self._keep_up("PostgreSQL", self._home.postgres.running, self._home.postgres.start)
        if self._kafka:
            start = partial(self._home.kafka.start, self._settings.maven_url)
            self._keep_up("Kafka", self._home.kafka.running, start)

    def _keep_up(self, name: str, running: Callable[[], bool], start: Callable[[], object]) -> None:
        """Start a server again if it has ended; if it cannot be, as while its disk is full, again after a pause."""
        due, pause = self._pauses.get(name, (0.0, 0.0))
        if running() or time.monotonic() < due:
            return
        self._console.print(f"{name} has ended; it is started again")
        try:
            start()
            self._pauses.pop(name, None)
        except (NotStartedError, KafkaNotThereError) as error:
            pause = min(max(2 * pause, 0.5), LONGEST_PAUSE_S)
            self._pauses[name] = time.monotonic() + pause, pause
            self._console.print(f"{name} does not start: {error}", soft_wrap=True)

    def _wait_until_ready(self, supervisor: Supervisor) -> bool:
        """Wait for both APIs; say which process ended if one did. Returns False if it was told to stop meanwhile."""
        settings, ends = self._settings, time.monotonic() + START_S
        with self._console.status("starting the processes"):
            waiting = {settings.write_port, settings.read_port}
            while waiting and not supervisor.stopping.is_set():
                ended = [child for child in supervisor.children if child.process and child.process.poll() is not None]
                if ended or time.monotonic() > ends:
                    named = ", ".join(child.name for child in ended) or "an API"
                    raise SettingsError(f"{named} did not start; its lines are in {self._home.directory / 'logs'}")
                waiting = {port for port in waiting if not self._is_ready(port)}
                supervisor.stopping.wait(0.1)
        return not supervisor.stopping.is_set()

    def _is_ready(self, port: int) -> bool:
        try:
            return httpx.get(f"http://{self._settings.host}:{port}/readyz", timeout=1).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def _welcome(self) -> None:
        settings = self._settings
        write, read = (f"http://{settings.host}:{port}" for port in (settings.write_port, settings.read_port))
        token = issue_token(settings, TENANT, [Role.ADMIN, Role.DISPATCHER, Role.AUDITOR], "you", TOKEN_HOURS)
        say = self._console.print
        say(f"\n[bold]Fieldlog runs.[/bold] Its data is in {self._home.directory}; Ctrl-C stops it.\n")
        say(f"  commands   {write}      OpenAPI: {write}/docs")
        say(f"  reading    {read}      OpenAPI: {read}/docs\n")
        if self._settings.kafka_bootstrap_servers:
            say(f"  Kafka      {self._settings.kafka_bootstrap_servers}      fieldlog tail\n")
        if self._demo:
            say("Watch the demo fleet move, and cars being inspected (a token for a day is in it):\n")
        else:
            say("A token for a day; open its organisation first (POST /tenants/{id}/open):\n")
        say(
            f"curl -N -H 'Authorization: Bearer {token}' '{read}/stream?view=dashboard&view=locations&view=checks'",
            soft_wrap=True,
        )
        say(f"curl -H 'Authorization: Bearer {token}' {read}/fleet/dashboard\n", soft_wrap=True)
