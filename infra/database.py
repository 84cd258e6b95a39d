"""Connections to PostgreSQL, and the migrations that make its tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import sql
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from infra.arrays import register
from infra.measured import operation

AsyncConnection = psycopg.AsyncConnection[TupleRow]
Connection = psycopg.Connection[TupleRow]

LOGINS = ("fieldlog_writer", "fieldlog_projector", "fieldlog_reader", "fieldlog_relay")
MIGRATIONS = Path(__file__).parent / "schema"
MIGRATION_NAMES = tuple(file.stem for file in sorted(MIGRATIONS.glob("*.sql")))
MIGRATE_LOCK = 7305210330


OPTIONS: dict[str, Any] = {
    "autocommit": True,
    "prepare_threshold": 0,
    "options": "-c timezone=UTC",
    "tcp_user_timeout": 5_000,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


async def connect_async(url: str, name: str) -> AsyncConnection:
    """Open a connection on which every statement commits by itself and is prepared at its first use."""
    connection = await psycopg.AsyncConnection.connect(url, application_name=name, **OPTIONS)
    register(connection)
    return connection


def connect(url: str, name: str) -> Connection:
    """Open a blocking connection on which every statement commits by itself and is prepared at its first use."""
    connection = psycopg.connect(url, application_name=name, **OPTIONS)
    register(connection)
    return connection


def pool_async(url: str, name: str, size: int) -> AsyncConnectionPool[AsyncConnection]:
    """Return a closed pool of such connections, to be opened by its user."""

    async def configure(connection: AsyncConnection) -> None:
        register(connection)

    return AsyncConnectionPool(
        url,
        kwargs={"application_name": name, **OPTIONS},
        min_size=1,
        max_size=size,
        open=False,
        configure=configure,
    )


def migrate(owner_url: str, login_urls: Mapping[str, str]) -> list[str]:
    """Make logins and tables that are missing; return the names of the migrations that were applied.

    `login_urls` gives each of LOGINS its URL, whose password becomes the login's. One process at a time does this.
    """
    with psycopg.connect(owner_url, application_name="fieldlog migrate") as connection:
        connection.execute("select pg_advisory_xact_lock(%s)", [MIGRATE_LOCK])
        for login in LOGINS:
            _make_login(connection, login, unquote(urlsplit(login_urls[login]).password or "") or None)
        # One slow answer must not hold a connection that every other reader of the process waits for.
        connection.execute("alter role fieldlog_reader set statement_timeout = '10s'")
        connection.execute("create schema if not exists fieldlog")
        connection.execute(
            "create table if not exists fieldlog.migrations (name text primary key, applied_at timestamptz default now())"
        )
        done = {name for (name,) in connection.execute("select name from fieldlog.migrations")}
        pending = [file for file in sorted(MIGRATIONS.glob("*.sql")) if file.stem not in done]
        for file in pending:
            with operation("migrate", migration=file.stem):
                connection.execute(file.read_bytes())
                connection.execute("insert into fieldlog.migrations (name) values (%s)", [file.stem])
        return [file.stem for file in pending]


def _make_login(connection: psycopg.Connection[Any], login: str, password: str | None) -> None:
    name = sql.Identifier(login)
    if connection.execute("select from pg_roles where rolname = %s", [login]).fetchone() is None:
        connection.execute(sql.SQL("create role {} login").format(name))
    if password is not None:
        connection.execute(sql.SQL("alter role {} password {}").format(name, sql.Literal(password)))
