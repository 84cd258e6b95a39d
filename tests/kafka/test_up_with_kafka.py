"""`fieldlog up --kafka`: a broker beside everything else, the README's consumer, and `fieldlog tail`."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from infra.local.kafka import Kafka, KafkaNotThereError, find_java
from infra.log.identity import tenant_id_of
from tests.conftest import missing
from tests.house import markdown, readme
from tests.running import LONGEST_S, Up, begin, end_all, environment, until, up

CONSUMER = markdown.blocks(markdown.section(readme.FILE.read_text(), "Consume"), "python")[0]
OPEN = {"name": "demo", "time_zone": "Europe/Ljubljana", "currency": "EUR"}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A system with Kafka; its organisation has a truck."""
    with missing(KafkaNotThereError):
        find_java()
    with up(tmp_path_factory.mktemp("kafka-up") / "data", "--no-demo", "--kafka") as running:
        office = running.client("admin")
        httpx.post(f"{running.write}/tenants/{tenant_id_of('demo')}/open", headers=office, json=OPEN)
        register(running, "truck-7")
        yield running


def register(running: Up, id: str) -> None:
    """Register a truck."""
    answer = httpx.post(
        f"{running.write}/trucks/{id}/register", headers=running.client("admin"), json={"number": id, "plate": id}
    )
    assert answer.status_code == httpx.codes.OK, answer.text


def broker(running: Up) -> Kafka:
    """The broker of a system."""
    return Kafka(running.directory / "kafka")


def lines(*command: str, count: int, env: dict[str, str]) -> list[str]:
    """Return the first lines that a command prints."""
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as process:
        alarm = threading.Timer(LONGEST_S, process.kill)
        alarm.start()
        assert process.stdout is not None
        found = [process.stdout.readline() for _ in range(count)]
        alarm.cancel()
        process.kill()
    return found


def tail(running: Up, *options: str) -> list[dict[str, object]]:
    """Return what `fieldlog tail --json` shows."""
    asked = running.ask("tail", "--json", *options)
    assert (asked.returncode, asked.stderr) == (0, "")
    return [json.loads(line) for line in asked.stdout.splitlines()]


def test_the_consumer_of_the_readme_reads_the_facts(running: Up, tmp_path: Path) -> None:
    script = tmp_path / "consumer.py"
    script.write_text(CONSUMER)
    [line] = lines(sys.executable, "-W", "ignore", str(script), broker(running).bootstrap, count=1, env=environment())
    assert line.startswith("2 trucks.registered.v1 trucks/truck-7 {'number': 'truck-7'")


def test_facts_are_shown_from_a_position_on(running: Up) -> None:
    shown = tail(running, "--from", "2", "--count", "1", "--stream", "trucks")
    assert [(one["attributes"]["position"], one["data"]["plate"]) for one in shown] == [("2", "truck-7")]  # type: ignore[index]


def test_rows_are_shown_for_people(running: Up) -> None:
    asked = running.ask("tail", "--view", "trucks", "--from", "0", "--count", "1")
    assert "  fieldlog.views.trucks.v" in asked.stdout
    assert "truck-7  {" in asked.stdout


def test_what_comes_from_now_on_is_shown(running: Up) -> None:
    found: list[dict[str, object]] = []
    terminal = threading.Thread(
        target=lambda: found.extend(tail(running, "--topic", "fieldlog.facts.trips", "--count", "1"))
    )
    terminal.start()
    numbers = iter(range(1_000))
    until(lambda: register(running, f"truck-{next(numbers) + 100}") or (None if terminal.is_alive() else True))
    [shown] = found
    assert str(shown["attributes"]["subject"]).startswith("trucks/truck-1")  # type: ignore[index]


def test_the_status_says_how_far_it_is_published(running: Up) -> None:
    def published() -> bool | None:
        said = json.loads(running.ask("status", "--json").stdout)
        return (said["relay"]["log"] == said["head"]) or None

    assert until(published)
    assert "Published to Kafka: log " in running.ask("status").stdout


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--view", "spaceships"], "there is no view spaceships; there are: "),
        (["--stream", "spaceships"], "there is no stream spaceships; there are: "),
        (["--topic", "spaceships"], "there is no topic spaceships yet"),
        (["--view", "trips", "--stream", "trips"], "only one of --topic, --view and --stream can be read"),
    ],
)
def test_what_is_not_there_is_named(running: Up, options: list[str], sentence: str) -> None:
    asked = running.ask("tail", *options)
    assert asked.returncode == 2
    assert sentence in asked.stderr


def test_a_broker_that_is_killed_is_started_again_and_nothing_is_missing(running: Up) -> None:
    dead = broker(running).process()
    assert dead is not None
    dead.kill()
    register(running, "truck-8")
    running.line_with("Kafka has ended; it is started again")
    shown = until(lambda: tail(running, "--from", "1", "--count", "1", "--stream", "claims"))
    assert shown
    assert broker(running).process() != dead


def test_a_second_start_finds_the_topics_of_the_first(tmp_path: Path) -> None:
    with missing(KafkaNotThereError):
        find_java()
    directory = tmp_path / "data"
    with up(directory, "--no-demo", "--kafka") as first:
        httpx.post(f"{first.write}/tenants/{tenant_id_of('demo')}/open", headers=first.client("admin"), json=OPEN)
        assert tail(first, "--from", "1", "--count", "1")
        address = broker(first).bootstrap
    assert not Kafka(directory / "kafka").running(), "the broker was left behind"
    again = begin(directory, "--no-demo", "--kafka")
    try:
        again.line_with("Fieldlog runs")
        assert broker(again).bootstrap == address
        assert tail(again, "--from", "1", "--count", "1")
    finally:
        end_all(again)


def test_a_machine_without_java_is_told_what_is_missing(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, "-m", "infra", "up", "--kafka", "--no-demo", "--data", str(tmp_path / "data")],
        env=environment() | {"JAVA_HOME": "/nowhere"},
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    assert said.returncode == 2
    assert "Kafka needs Java 17 or newer, and there is no /nowhere/bin/java" in " ".join(said.stderr.split())
