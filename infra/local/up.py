"""`fieldlog up`: a whole system on one machine, from an empty directory or from the one of last time."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from types import FrameType

import httpx
from rich.console import Console

from domain.roles import Role
from infra.local.demo import TENANT
from infra.local.home import Home, issue_token
from infra.local.postgres import NotStartedError
from infra.local.supervisor import LONGEST_PAUSE_S, Supervisor
from infra.operate import prepare
from infra.settings import Settings, SettingsError

START_S = 30.0
TOKEN_HOURS = 24.0


class Up:
    """Everything of a local set-up, until it is stopped."""

    def __init__(self, settings: Settings, console: Console, *, demo: bool) -> None:
        self._console, self._demo = console, demo
        self._home = Home(settings.data)
        self._ports = {"FIELDLOG_WRITE_PORT": str(settings.write_port), "FIELDLOG_READ_PORT": str(settings.read_port)}
        self._settings = settings
        self._due = self._pause = 0.0

    def run(self) -> None:
        """Start everything, say where it is, look after it, and stop it all at the first signal."""
        with (self._home.directory / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise SettingsError(f"a set-up runs in {self._home.directory} already") from None
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
            environment = {**self._home.environment(), **self._ports}
            self._settings = Settings.from_environment({**os.environ, **environment})
            prepare(self._settings)
            if not stopping.is_set():
                self._look_after(Supervisor(self._home.directory / "logs", environment, self._console.print, stopping))
        finally:
            with self._console.status("stopping"):
                if postgres.running():
                    postgres.stop()
            self._console.print("Everything has stopped.")

    def _look_after(self, supervisor: Supervisor) -> None:
        try:
            for name in ("projector", "reactor", "write-api", "read-api"):
                supervisor.add(name, name)
            if self._wait_until_ready(supervisor):
                if self._demo:
                    supervisor.add("demo", "demo")
                self._welcome()
                supervisor.watch(self._look_after_database)
        finally:
            with self._console.status("stopping"):
                supervisor.stop()

    def _look_after_database(self) -> None:
        """Start the database again if it has ended; if it cannot be, as while its disk is full, again after a pause."""
        if self._home.postgres.running() or time.monotonic() < self._due:
            return
        self._console.print("PostgreSQL has ended; it is started again")
        try:
            self._home.postgres.start()
            self._pause = 0.0
        except NotStartedError as error:
            self._pause = min(max(2 * self._pause, 0.5), LONGEST_PAUSE_S)
            self._due = time.monotonic() + self._pause
            self._console.print(f"PostgreSQL does not start: {error}", soft_wrap=True)

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
        if self._demo:
            say("Watch the demo fleet move (a token for a day is in it):\n")
        else:
            say("A token for a day; open its organisation first (POST /tenants/{id}/open):\n")
        say(f"curl -N -H 'Authorization: Bearer {token}' '{read}/stream?view=dashboard&view=locations'", soft_wrap=True)
        say(f"curl -H 'Authorization: Bearer {token}' {read}/fleet/dashboard\n", soft_wrap=True)
