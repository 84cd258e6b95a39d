"""The supervisor: starts the processes of a local set-up, starts them again when they die, and stops them in order."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PARENT = "FIELDLOG_SUPERVISOR"
LEAST_LIFE_S = 1.0
LONGEST_PAUSE_S = 10.0
LAST_WORK_S = 15.0
LOOK_S = 0.2
PR_SET_PDEATHSIG = 1


@dataclass
class Child:
    """A process to be kept alive: `python -m infra <arguments>`."""

    name: str
    arguments: Sequence[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    pause: float = 0.0
    restarts: int = field(default=-1)
    due: float | None = None


class Supervisor:
    """Keeps children alive until it is told to stop; their lines go to one file each."""

    def __init__(
        self, logs: Path, environment: Mapping[str, str], tell: Callable[[str], None], stopping: threading.Event
    ) -> None:
        logs.mkdir(parents=True, exist_ok=True)
        self._logs, self._tell = logs, tell
        self._environment = {**os.environ, **environment, PARENT: str(os.getpid())}
        self.children: list[Child] = []
        self.stopping = stopping

    def add(self, name: str, *arguments: str) -> None:
        """Start a child, and keep it alive."""
        child = Child(name, arguments)
        self.children.append(child)
        self._start(child)

    def watch(self, also: Callable[[], None]) -> None:
        """Look after the children, and do something else each time, until it is told to stop."""
        while not self.stopping.wait(LOOK_S):
            also()
            for child in self.children:
                if child.process is not None and child.process.poll() is not None:
                    self._again(child, child.process.returncode)

    def stop(self) -> None:
        """Stop the children, the newest first; one that does not end in time is killed."""
        for child in reversed(self.children):
            if child.process is None or child.process.poll() is not None:
                continue
            child.process.send_signal(signal.SIGTERM)
            try:
                child.process.wait(LAST_WORK_S)
            except subprocess.TimeoutExpired:
                self._tell(f"{child.name} does not end, so it is killed")
                child.process.kill()
                child.process.wait()

    def _start(self, child: Child) -> None:
        with (self._logs / f"{child.name}.log").open("ab") as lines:
            child.process = subprocess.Popen(
                [sys.executable, "-m", "infra", *child.arguments],
                env=self._environment,
                stdout=lines,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # so that Ctrl-C reaches the supervisor alone
            )
        child.started = time.monotonic()
        child.restarts += 1

    def _again(self, child: Child, code: int) -> None:
        """Start a child again: at once if it had lived, else after a growing pause."""
        now = time.monotonic()
        if child.due is None:
            lived = now - child.started > LEAST_LIFE_S + child.pause
            child.pause = 0.0 if lived else min(max(2 * child.pause, 0.5), LONGEST_PAUSE_S)
            child.due = now + child.pause
        if now < child.due:
            return
        child.due = None
        self._tell(f"{child.name} ended with {code}; it is started again")
        self._start(child)


def die_with_parent() -> None:
    """Let the system end this process when the supervisor is gone, also if it becomes another program (Linux alone)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def end_with_parent() -> None:
    """End this process when the supervisor that started it is gone, however that came about."""
    parent = os.environ.get(PARENT)
    if parent is None:
        return

    def look() -> None:
        while os.getppid() == int(parent):
            time.sleep(LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=look, name="end with parent", daemon=True).start()
