"""Exactly once, under fire: relays killed, stopped and doubled, the broker restarted and away, while work goes on.

FIELDLOG_TEST_SEED repeats a run.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from psutil import Process

from infra.kafka.record import read_record
from infra.local.kafka import Kafka
from infra.local.postgres import Postgres
from infra.local.supervisor import LAST_WORK_S
from infra.settings import Settings
from tests.conftest import NEIGHBOUR, own_kafka
from tests.kafka.conftest import publishing_to
from tests.kafka.published import (
    assert_every_fact_once_and_in_order,
    assert_topics_equal_tables,
    wait_until_published,
)
from tests.views.conftest import fresh_database, settings_over
from tests.views.haulage import Load
from tests.views.house import head, meanwhile, open_house, process, rows_of, seeded, wait_for, wait_until_folded

KILLS = 6


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker that may be killed."""
    with own_kafka(tmp_path_factory.mktemp("mortal")) as kafka:
        yield kafka


@pytest.fixture
def settings(postgres: Postgres, keys: dict[str, str], kafka: Kafka) -> Iterator[Settings]:
    """Settings over a fresh database and topics of their own on that broker."""
    with fresh_database(postgres) as database:
        yield settings_over(database, keys | publishing_to(kafka.bootstrap))


@contextmanager
def at_work(settings: Settings, dice: random.Random) -> Iterator[None]:
    """Let an organisation work all the time; in the end everything must be published, once and in order."""
    with open_house(settings) as house:
        load = Load(house.office(), dice)
        load.begin()
        with meanwhile(load.step):
            yield
        wait_until_folded(settings)
        wait_until_published(settings)
        assert_every_fact_once_and_in_order(settings)
        assert_topics_equal_tables(settings)


def published(settings: Settings) -> int:
    """Return how far the relay says it has published."""
    record = read_record(settings)
    return record.log if record is not None else 0


def wait_for_progress(settings: Settings, beyond: int) -> None:
    """Wait until more is published than the log held at a moment."""
    ends = time.monotonic() + 30
    while published(settings) <= beyond:
        assert time.monotonic() < ends, f"nothing is published beyond {beyond}"


def test_relays_that_are_killed_at_any_moment_leave_nothing_out_and_nothing_twice(settings: Settings) -> None:
    dice = seeded()
    with process(settings, "relay") as one, process(settings, "relay") as other, at_work(settings, dice):
        wait_for_progress(settings, 0)
        for _ in range(KILLS):
            threading.Event().wait(dice.uniform(0.0, 0.6))
            victim = dice.choice([one, other])
            victim.kill()
            victim.start()
        wait_for_progress(settings, head(settings))


def test_a_relay_that_slept_through_its_succession_publishes_nothing_more(settings: Settings) -> None:
    dice = seeded()
    with ExitStack() as relays, at_work(settings, dice):
        asleep = relays.enter_context(process(settings, "relay"))
        wait_for_progress(settings, 0)
        for _ in range(2):
            asleep.process.send_signal(signal.SIGSTOP)
            rows_of(
                settings.need("database_url").replace("fieldlog_owner@", "postgres@"),
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'fieldlog relay'",
            )
            successor = relays.enter_context(process(settings, "relay"))
            wait_for_progress(settings, head(settings))
            asleep.process.send_signal(signal.SIGCONT)
            wait_for_progress(settings, head(settings))
            asleep.kill()
            asleep = successor


@pytest.mark.parametrize("end", [Kafka.kill, Kafka.stop], ids=["killed", "restarted"])
def test_a_broker_that_ends_and_comes_back_has_everything_once(
    settings: Settings, kafka: Kafka, end: Callable[[Kafka], None]
) -> None:
    dice = seeded()
    with process(settings, "relay"), at_work(settings, dice):
        wait_for_progress(settings, head(settings))
        end(kafka)
        kafka.start(settings.maven_url)
        wait_for_progress(settings, head(settings))


def test_work_goes_on_while_kafka_is_away_and_is_published_afterwards(settings: Settings, kafka: Kafka) -> None:
    dice = seeded()
    with process(settings, "relay"), at_work(settings, dice):
        wait_for_progress(settings, 0)
        kafka.stop()
        before = head(settings)
        wait_for(settings.need("projector_url"), lambda _: head(settings) > before + 200)
        kafka.start(settings.maven_url)
        wait_for_progress(settings, head(settings))


def test_a_relay_that_begins_while_kafka_is_away_publishes_once_it_is_there(settings: Settings, kafka: Kafka) -> None:
    dice = seeded()
    kafka.stop()
    with process(settings, "relay"), at_work(settings, dice):
        wait_for(settings.need("projector_url"), lambda _: head(settings) > 50)
        kafka.start(settings.maven_url)
        wait_for_progress(settings, head(settings))


@pytest.mark.parametrize("ends", [Process.suspend, Process.kill], ids=["hangs", "is gone"])
def test_a_relay_that_is_told_to_stop_ends_though_no_broker_answers(
    settings: Settings, kafka: Kafka, ends: Callable[[Process], None]
) -> None:
    with open_house(settings) as house, process(settings, "relay") as relay:
        house.office()
        wait_until_published(settings)
        broker = kafka.process()
        assert broker is not None
        ends(broker)
        try:
            house.office(NEIGHBOUR)
            wait_until_folded(settings)
            relay.process.terminate()
            assert relay.process.wait(LAST_WORK_S) == 0
        finally:
            broker.resume() if kafka.running() else kafka.start(settings.maven_url)
