"""Settings over a fresh database and topics of its own on the run's broker."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from infra.local.postgres import Postgres
from infra.settings import Settings
from tests.views.conftest import fresh_database, settings_over
from tests.views.house import House, open_house


def publishing_to(broker: str) -> dict[str, str]:
    """Return settings for topics of their own on a broker."""
    return {
        "KAFKA_BOOTSTRAP_SERVERS": broker,
        "FIELDLOG_TOPIC_PREFIX": f"test-{uuid4()}",
        "FIELDLOG_KAFKA_PARTITIONS": "2",
    }


@pytest.fixture
def settings(postgres: Postgres, keys: dict[str, str], broker: str) -> Iterator[Settings]:
    """Settings with Kafka, for one test."""
    with fresh_database(postgres) as database:
        yield settings_over(database, keys | publishing_to(broker))


@pytest.fixture
def house(settings: Settings) -> Iterator[House]:
    """A house for one test."""
    with open_house(settings) as house:
        yield house
