"""Houses with a Redis: one that stays, and one that may be stopped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from infra.local.postgres import Postgres
from infra.local.redis import RedisServer
from infra.settings import Settings
from tests.conftest import Database
from tests.views.conftest import fresh_database, settings_over
from tests.views.house import House, open_house


def with_redis(settings: Settings, url: str, **more: Any) -> Settings:
    """Return settings with a Redis, and with others that are given."""
    return settings.model_copy(update={"redis_url": SecretStr(url), **more})


@pytest.fixture
def database(postgres: Postgres) -> Iterator[Database]:
    """A fresh database for one test."""
    with fresh_database(postgres) as database:
        yield database


@pytest.fixture
def settings(database: Database, keys: dict[str, str], redis_url: str) -> Settings:
    """Settings over it, and over an empty Redis; what a test asks is not limited."""
    return with_redis(settings_over(database, keys), redis_url, limit_requests=0)


@pytest.fixture
def house(settings: Settings) -> Iterator[House]:
    """A house for one test."""
    with open_house(settings) as house:
        yield house


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A Redis that a test may stop, hang and start again."""
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.stop()
