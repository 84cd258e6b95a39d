"""Databases that are dropped after use, and houses over them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import psycopg
import pytest
from psycopg import sql

from infra.database import LOGINS
from infra.local.postgres import Postgres
from infra.settings import Settings
from tests.conftest import TEMPLATE, Database
from tests.views.house import House, open_house

_numbers = count(1)


@contextmanager
def fresh_database(postgres: Postgres) -> Iterator[Database]:
    """Make a database with all tables, and drop it in the end."""
    name = f"views_{next(_numbers)}"
    postgres.make_database(name, TEMPLATE)
    yield Database(postgres.url(database=name), *(postgres.url(login, name) for login in LOGINS))
    with psycopg.connect(postgres.url("postgres", TEMPLATE), autocommit=True) as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def settings_over(database: Database, keys: dict[str, str]) -> Settings:
    """Settings over a database; nobody waits very long for a position."""
    urls = {
        "FIELDLOG_DATABASE_URL": database.owner,
        "FIELDLOG_WRITER_URL": database.writer,
        "FIELDLOG_PROJECTOR_URL": database.projector,
        "FIELDLOG_READER_URL": database.reader,
        "FIELDLOG_RELAY_URL": database.relay,
    }
    return Settings.from_environment({**keys, **urls, "FIELDLOG_POSITION_WAIT_SECONDS": "3"})


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    """A fresh database for one test."""
    with fresh_database(postgres) as database:
        yield database


@pytest.fixture
def settings(database: Database, keys: dict[str, str]) -> Settings:
    """Settings over it."""
    return settings_over(database, keys)


@pytest.fixture
def house(settings: Settings) -> Iterator[House]:
    """A house for one test."""
    with open_house(settings) as house:
        yield house


@pytest.fixture(scope="module")
def shared_house(postgres: Postgres, keys: dict[str, str]) -> Iterator[House]:
    """A house for all tests of a module, which keep to records of their own."""
    with fresh_database(postgres) as database, open_house(settings_over(database, keys)) as house:
        yield house
