"""Traces: from a request to the rows that readers see, collected where they are wanted, and at no other cost to anybody."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

import httpx
import psycopg
import pytest

from domain.roles import Role
from infra import tracing
from infra.settings import Settings
from tests.collector import collecting
from tests.conftest import TENANT, Database
from tests.running import free_port, started, until
from tests.serving import Client, served
from tests.views.house import projecting
from tests.views.test_forgetting import reacting
from tests.views.test_reactor import deactivate, when_registered
from write_api.app import WriteApi

OPEN = {"name": "Eco-Haul", "time_zone": "Europe/Ljubljana", "currency": "EUR"}
TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED, UNSAMPLED = f"00-{TRACE}-{CALLER}-01", "00-0af7651916cd43dd8448eb211c803199-b7ad6b7169203331-00"


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let spans be sent soon after they have ended."""
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")


@pytest.fixture
def given(database: Database, keys: dict[str, str]) -> dict[str, str]:
    """What processes over a fresh database are told."""
    urls = {"WRITER_URL": database.writer, "PROJECTOR_URL": database.projector, "READER_URL": database.reader}
    return urls | {name.removeprefix("FIELDLOG_"): value for name, value in keys.items()}


@contextmanager
def writing(given: dict[str, str], settings: Settings) -> Iterator[Client]:
    """Run a write API; gives a client of it."""
    port = free_port()
    with started("write-api", **given, WRITE_PORT=str(port)) as child:
        client = Client(f"http://127.0.0.1:{port}", settings, Role.ADMIN)

        def answers() -> bool | None:
            assert child.poll() is None, "it ended"
            with suppress(httpx.TransportError):
                return client.get("/readyz").status_code == httpx.codes.OK
            return None

        until(answers)
        yield client


def stored_traceparents(database: Database) -> list[str]:
    """Return what is stored beside the facts of trucks."""
    with psycopg.connect(database.projector) as connection:
        return [
            str(one)
            for (one,) in connection.execute(
                """select convert_from(envelope, 'UTF8')::json ->> 'traceparent' from fieldlog.log
                    where stream = 'trucks' order by 1"""
            )
        ]


@pytest.mark.usefixtures("soon")
def test_one_trace_leads_from_the_caller_to_the_rows_that_readers_see_and_to_kafka(
    given: dict[str, str], settings: Settings, database: Database, broker: str
) -> None:
    kafka = {"KAFKA_BOOTSTRAP_SERVERS": broker, "RELAY_URL": database.relay, "TOPIC_PREFIX": f"test-{uuid4()}"}
    with collecting() as collector:
        given |= kafka | {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
        with started("projector", **given), started("relay", **given), writing(given, settings) as office:
            office.ask(f"/tenants/{TENANT}/open", OPEN, traceparent=UNSAMPLED)
            body = {"number": "7", "plate": "x"}
            receipt = office.ask("/trucks/T1/register", body, traceparent=SAMPLED).json()
            request = collector.wait_for("POST /trucks/{id}/register", trace=TRACE)
            here = (TRACE, request.id)
            assert (request.service, request.parent) == ("fieldlog-write-api", CALLER)
            assert request.attributes == request.attributes | {
                "http.request.method": "POST",
                "http.route": "/trucks/{id}/register",
                "http.response.status_code": 200,
                "tenant.id": str(TENANT),
                "command.name": "trucks.register",
                "aggregate.type": "trucks",
                "event.position": receipt["position"],
            }
            assert {collector.wait_for(name, trace=TRACE).parent for name in ("decide", "append")} == {request.id}
            append = collector.wait_for("append batch", link=here)
            assert (append.attributes["db.system.name"], append.trace != TRACE) == ("postgresql", True)
            folded = collector.wait_for("project trips", link=here)
            assert folded.service == "fieldlog-projector"
            assert folded.attributes["event.position"] >= receipt["position"]
            published = collector.wait_for("relay publish", link=here)
            assert (published.service, published.attributes["messaging.system"]) == ("fieldlog-relay", "kafka")
            assert published.attributes["event.position"] >= receipt["position"]
    assert stored_traceparents(database) == [f"00-{TRACE}-{request.id}-01"]
    traces = {span.trace for span in collector.spans} | {trace for span in collector.spans for trace, _ in span.links}
    assert UNSAMPLED.split("-")[1] not in traces, "what the caller does not sample is not collected"


@pytest.mark.usefixtures("soon")
def test_what_follows_from_a_fact_is_linked_to_it_and_goes_on_from_there(
    settings: Settings, database: Database
) -> None:
    with collecting() as collector:
        traced = settings.model_copy(update={"otel_exporter_otlp_endpoint": collector.url})
        with served(WriteApi(traced).app()) as url, projecting(settings):
            office = Client(url, settings, Role.ADMIN)
            office.ask(f"/tenants/{TENANT}/open", OPEN)
            with reacting(settings, when_registered(deactivate), []):
                office.ask("/trucks/T1/register", {"number": "7", "plate": "x"}, traceparent=SAMPLED)
                request = collector.wait_for("POST /trucks/{id}/register", trace=TRACE)
                reaction = collector.wait_for("react greet", link=(TRACE, request.id))
                assert collector.wait_for("decide", trace=reaction.trace).parent == reaction.id
                collector.wait_for("project trips", link=(reaction.trace, reaction.id))
    stored = {one.rpartition("-")[0] for one in stored_traceparents(database)}
    assert stored == {f"00-{TRACE}-{request.id}", f"00-{reaction.trace}-{reaction.id}"}


def test_without_a_collector_nothing_is_measured_and_a_trace_is_handed_on(
    settings: Settings, database: Database
) -> None:
    with served(WriteApi(settings).app()) as url:
        office = Client(url, settings, Role.ADMIN)
        office.ask(f"/tenants/{TENANT}/open", OPEN)
        assert not tracing.on()
        office.ask("/trucks/T1/register", {"number": "1", "plate": "x"}, traceparent=SAMPLED)
        office.ask("/trucks/T2/register", {"number": "2", "plate": "y"}, traceparent=f"00-{'0' * 32}-{CALLER}-01")
    known, other = sorted(set(stored_traceparents(database)), key=lambda one: one != SAMPLED)
    assert known == SAMPLED
    assert tracing.TRACEPARENT.fullmatch(other)
    assert other.endswith("-00"), "nobody collects it"


@pytest.mark.usefixtures("soon")
@pytest.mark.parametrize("listens", [True, False], ids=["never answers", "is not there"])
def test_a_collector_that_is_away_keeps_nobody_waiting(
    listens: bool, given: dict[str, str], settings: Settings
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1] if listens else 1
        given |= {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}"}
        with writing(given, settings) as office:
            answers = [office.ask(f"/tenants/{TENANT}/open", OPEN).status_code for _ in range(20)]
            assert answers == [httpx.codes.OK, *[httpx.codes.CONFLICT] * 19]


def test_a_batch_has_links_to_a_few_of_many_traces_and_none_to_what_is_not_sampled() -> None:
    with collecting() as collector:
        settings = Settings(otel_exporter_otlp_endpoint=collector.url)
        many = [f"00-{n:032x}-{n:016x}-01" for n in range(1, 100)]
        with tracing.exporting(settings, "test"):
            with tracing.batch("many", [*many, *many, None, "nonsense", UNSAMPLED]):
                assert tracing.traceparent() is not None
            with tracing.batch("none", [UNSAMPLED, None]), tracing.span("part"):
                assert tracing.traceparent() is None
    [span] = collector.spans
    assert (span.name, len(span.links)) == ("many", tracing.MOST_LINKS)
