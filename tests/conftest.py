"""A real PostgreSQL for the whole run, and a database of its own for each test that asks for one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from infra.database import LOGINS, migrate
from infra.local.postgres import Postgres

TEMPLATE = "fieldlog_template"
_numbers = count(1)


@dataclass(frozen=True)
class Database:
    """URLs of one test's database, by login."""

    owner: str
    writer: str
    projector: str
    reader: str


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server that lives as long as the run; its tables are made once, as a template."""
    directory = Path(tempfile.mkdtemp(prefix="fieldlog-test-"))
    os.chmod(directory, 0o755)
    server = Postgres(directory / "pg")
    server.start()
    server.make_database(TEMPLATE)
    migrate(server.url(database=TEMPLATE), {login: server.url(login, TEMPLATE) for login in LOGINS})
    yield server
    server.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def database(postgres: Postgres) -> Database:
    """A fresh database with all tables."""
    name = f"test_{next(_numbers)}"
    postgres.make_database(name, TEMPLATE)
    return Database(postgres.url(database=name), *(postgres.url(login, name) for login in LOGINS))
