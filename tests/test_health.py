"""Health and metrics: every process says what it is up to, also one that stands by, waits or has no API."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import psycopg
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parsed_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed
from structlog.testing import capture_logs

from domain.roles import Role
from infra import measured
from infra.reactor import LEASE
from infra.settings import Settings
from infra.views.runner import LEASES
from projections.catalog import CONTEXTS
from tests.conftest import TENANT, Database
from tests.running import fieldlog, free_port, started, until
from tests.serving import Client, served
from write_api.app import WriteApi

OPEN = {"name": "Eco-Haul", "time_zone": "Europe/Ljubljana", "currency": "EUR"}
SIDE_DOORS = {"projector": ("PROJECTOR_PORT", LEASES, "projection"), "reactor": ("REACTOR_PORT", LEASE, "reactor")}
BUILDS, TAKE = "select build from fieldlog.builds", "select pg_try_advisory_lock(%s, %s)"


@pytest.fixture
def given(database: Database, keys: dict[str, str]) -> dict[str, str]:
    """What processes over a fresh database are told."""
    urls = {"WRITER_URL": database.writer, "PROJECTOR_URL": database.projector, "READER_URL": database.reader}
    return urls | {name.removeprefix("FIELDLOG_"): value for name, value in keys.items()}


@pytest.fixture
def office(settings: Settings) -> Iterator[Client]:
    with served(WriteApi(settings).app()) as url:
        yield Client(url, settings, Role.ADMIN)


@contextmanager
def running(process: str, given: Mapping[str, str]) -> Iterator[httpx.Client]:
    """Run a process that has no API; gives a client of its health."""
    port = free_port()
    named = {SIDE_DOORS[process][0]: str(port)}
    with (
        started(process, **{**given, **named}) as child,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=10) as client,
    ):

        def answers() -> bool | None:
            assert child.poll() is None, "it ended"
            with suppress(httpx.TransportError):
                return client.get("/livez").status_code == httpx.codes.OK
            return None

        until(answers)
        yield client


def values(client: httpx.Client, name: str) -> dict[str, float]:
    """Return the values of a metric, by projection."""
    return {
        sample.labels.get("projection", ""): sample.value
        for family in parsed(client.get("/metrics").text)
        for sample in family.samples
        if sample.name == name
    }


def checks(client: httpx.Client) -> tuple[int, dict[str, Any]]:
    answer = client.get("/readyz?verbose")
    return answer.status_code, answer.json()["checks"]


def taken_over(other: psycopg.Connection[Any], lease: int, number: int) -> bool | None:
    """Try to take a lease, from whoever holds it."""
    holders = (
        "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and classid = %s and objid = %s"
    )
    other.execute(f"{holders} and pid <> pg_backend_pid()", [lease, number])
    return other.execute(TAKE, [lease, number]).fetchone() == (True,) or None


@pytest.mark.parametrize("process", SIDE_DOORS)
def test_lag_is_told_also_while_nothing_moves_and_ends_when_it_does(
    process: str, given: dict[str, str], database: Database, office: Client
) -> None:
    """A lease that somebody else holds keeps the process from its work for as long as the test wants."""
    _, lease, what = SIDE_DOORS[process]
    with (
        psycopg.connect(database.projector, autocommit=True) as other,
        running(process, given | {"MAX_LAG_SECONDS": "0.5"}) as client,
    ):
        numbers = [0] if process == "reactor" else [build for (build,) in other.execute(BUILDS)]
        until(lambda: values(client, f"{what}_works") or None)
        for one in numbers:
            until(lambda one=one: taken_over(other, lease, one))  # type: ignore[misc]
        assert office.ask(f"/tenants/{TENANT}/open", OPEN).status_code == httpx.codes.OK
        until(lambda: set(values(client, f"{what}_works").values()) == {0.0} or None)
        until(lambda: min(values(client, f"{what}_lag_seconds").values()) > 0.6 or None)
        status, said = checks(client)
        assert status == httpx.codes.SERVICE_UNAVAILABLE
        assert [check for check, text in said.items() if "lag" in text and text.startswith("failed")]
        assert any("stands by" in text for text in said.values())
        assert client.get("/startupz").status_code == client.get("/livez").status_code == httpx.codes.OK
        other.execute("select pg_advisory_unlock_all()")
        until(lambda: set(values(client, f"{what}_lag_seconds").values()) == {0.0} or None)
        assert set(values(client, f"{what}_works").values()) == {1.0}
        assert checks(client)[0] == httpx.codes.OK


def test_what_is_parked_is_counted_and_leaves_the_process_ready(given: dict[str, str], database: Database) -> None:
    with psycopg.connect(database.projector, autocommit=True) as connection:
        connection.execute(
            """insert into fieldlog.parked (build, tenant_id, position, topic, error)
               select build, %s, 1, 'x', 'x' from fieldlog.builds""",
            [TENANT],
        )
    with running("projector", given) as client:
        assert values(client, "projection_parked") == dict.fromkeys(CONTEXTS, 1.0)
        status, said = checks(client)
        assert (status, said["parked"]) == (httpx.codes.OK, f"{len(CONTEXTS)} tenants")


@pytest.mark.parametrize("process", SIDE_DOORS)
def test_a_port_that_is_taken_is_named_in_one_line(process: str, given: dict[str, str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        name, port = SIDE_DOORS[process][0], str(taken.getsockname()[1])
        asked = fieldlog(process, **{**given, name: port})
    assert asked.returncode == 2
    assert asked.stderr.split() == f"FIELDLOG_{name}: 127.0.0.1:{port} cannot be had: Address already in use".split()


def test_without_its_database_a_process_lives_is_not_ready_and_makes_no_figure_up(given: dict[str, str]) -> None:
    away = given | {"PROJECTOR_URL": "postgresql://fieldlog_projector@127.0.0.1:1/fieldlog"}
    with running("projector", away) as client:
        assert checks(client)[0] == httpx.codes.SERVICE_UNAVAILABLE
        assert values(client, "projection_lag_seconds") == {}


def test_requests_are_counted_by_route_with_trace_ids_for_whoever_asks_for_openmetrics(office: Client) -> None:
    office.ask(f"/tenants/{TENANT}/open", OPEN)
    trace = "0af7651916cd43dd8448eb211c80319c"
    office.ask("/trucks/T1/register", {"number": "7", "plate": "x"})
    office.ask("/trucks/T2/register", {"number": "7", "plate": "x"})
    office.ask("/trucks/T1/deactivate", traceparent=f"00-{trace}-b7ad6b7169203331-01")
    plain, exact = office.get("/metrics"), office.get("/metrics", accept="application/openmetrics-text; version=1.0.0")
    assert plain.headers["content-type"].startswith("text/plain")
    assert exact.headers["content-type"].startswith("application/openmetrics-text")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in parsed(plain.text)
        for sample in family.samples
    }
    assert found["command_total", "trucks.register", "accepted"] >= 1
    assert found["command_total", "trucks.register", "TruckNumberTaken"] >= 1
    assert found["http_requests_total", "POST", "/trucks/{id}/register", "409"] >= 1
    assert found["db_queries_total", "append", "ok"] >= 3
    assert found["append_batch_size_count",] >= 3
    assert found["append_queue_length",] == 0
    exemplars = [
        (sample.labels["route"], sample.exemplar.labels["trace_id"])
        for family in parsed_openmetrics(exact.text)
        for sample in family.samples
        if sample.exemplar is not None
    ]
    assert ("/trucks/{id}/deactivate", trace) in exemplars


def test_nothing_measured_is_told_apart_by_organisation(office: Client) -> None:
    office.ask(f"/tenants/{TENANT}/open", OPEN)
    text = office.get("/metrics").text
    assert str(TENANT) not in text
    assert "tenant" not in {label for family in parsed(text) for sample in family.samples for label in sample.labels}


def test_what_takes_longer_than_a_second_is_a_warning_with_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measured, "lines", measured.structlog.get_logger())
    monkeypatch.setattr(measured, "SLOW_S", 0.0)
    with capture_logs() as lines, measured.operation("project", facts=3):
        pass
    [line] = lines
    assert (line["event"], line["log_level"]) == ("slow operation", "warning")
    assert (line["operation"], line["facts"]) == ("project", 3)
    assert line["duration_ms"] >= 0


def test_a_question_that_fails_is_counted_as_such_and_fails() -> None:
    def count(outcome: str) -> float:
        value: float = measured.QUERIES.labels("test", outcome)._value.get()
        return value

    with suppress(ValueError), measured.query("test"):
        raise ValueError
    with measured.query("test"):
        pass
    assert (count("failed"), count("ok")) == (1, 1)
