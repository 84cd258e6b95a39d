"""Settings over a fresh database and topics of its own on the run's broker."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest

from infra.local.postgres import Postgres
from infra.settings import Settings
from tests.conftest import Broker
from tests.views.conftest import fresh_database, settings_over
from tests.views.house import House, open_house


@pytest.fixture
def settings(postgres: Postgres, keys: dict[str, str], broker: Broker) -> Iterator[Settings]:
    """Settings with Kafka, for one test."""
    kafka = {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap, "FIELDLOG_TOPIC_PREFIX": f"test-{uuid4()}"}
    with fresh_database(postgres) as database:
        yield settings_over(database, keys | kafka)


@pytest.fixture
def house(settings: Settings) -> Iterator[House]:
    """A house for one test."""
    with open_house(settings) as house:
        yield house
