"""A real PostgreSQL for the whole run, and a database of its own for each test that asks for one."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from infra.database import LOGINS, migrate
from infra.local.home import Home
from infra.local.kafka import Kafka, KafkaNotThereError
from infra.local.postgres import Postgres
from infra.local.redis import RedisServer
from infra.settings import Settings
from infra.views.builds import ensure_builds
from projections.catalog import CONTEXTS

TEMPLATE = "fieldlog_template"
DATABASES = 10_000
_numbers = count(1)


@dataclass(frozen=True)
class Database:
    """URLs of one test's database, by login."""

    owner: str
    writer: str
    projector: str
    reader: str
    relay: str


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server that lives as long as the run; its tables are made once, as a template."""
    directory = Path(tempfile.mkdtemp(prefix="fieldlog-test-"))
    os.chmod(directory, 0o755)
    server = Postgres(directory / "pg")
    server.start()
    server.make_database(TEMPLATE)
    migrate(server.url(database=TEMPLATE), {login: server.url(login, TEMPLATE) for login in LOGINS})
    with psycopg.connect(server.url(database=TEMPLATE), autocommit=True) as connection:
        ensure_builds(connection, CONTEXTS.values())
    yield server
    server.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def database(postgres: Postgres) -> Database:
    """A fresh database with all tables."""
    name = f"test_{next(_numbers)}"
    postgres.make_database(name, TEMPLATE)
    return Database(postgres.url(database=name), *(postgres.url(login, name) for login in LOGINS))


@contextmanager
def missing(kind: type[Exception]) -> Iterator[None]:
    """Skip a test where this says that something is missing; the build server never skips."""
    try:
        yield
    except kind as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@contextmanager
def own_kafka(directory: Path) -> Iterator[Kafka]:
    """Run a broker that may be killed."""
    kafka = Kafka(directory)
    with missing(KafkaNotThereError):
        kafka.start(Settings.from_environment().maven_url)
    yield kafka
    kafka.kill()


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where a real broker is: KAFKA_BOOTSTRAP_SERVERS, or one of this run. Each test has topics under its own prefix."""
    given = os.environ.get("KAFKA_BOOTSTRAP_SERVERS")
    if given:
        yield given
        return
    with own_kafka(tmp_path_factory.mktemp("kafka")) as kafka:
        yield kafka.bootstrap


TENANT = UUID("0192f000-0000-7000-8000-000000000001")
NEIGHBOUR = UUID("0192f000-0000-7000-8000-000000000002")


@pytest.fixture(scope="session")
def keys(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres) -> dict[str, str]:
    """The keys of a local set-up, as settings."""
    home = Home(tmp_path_factory.mktemp("home"))
    home.postgres = postgres
    return {name: value for name, value in home.environment().items() if not name.endswith("_URL")}


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that lives as long as the run; each test has a database of its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start(databases=DATABASES)
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: RedisServer) -> str:
    """The URL of a Redis in which there is nothing."""
    return redis_server.url(next(_numbers) % DATABASES)


@pytest.fixture
def settings(database: Database, keys: dict[str, str]) -> Settings:
    """Settings over a fresh database."""
    urls = {
        "FIELDLOG_DATABASE_URL": database.owner,
        "FIELDLOG_WRITER_URL": database.writer,
        "FIELDLOG_PROJECTOR_URL": database.projector,
        "FIELDLOG_READER_URL": database.reader,
        "FIELDLOG_RELAY_URL": database.relay,
    }
    return Settings.from_environment({**keys, **urls})
