"""The contract as it is served: to everybody, for long, and with a word of what there is where something is not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from infra.contract.asyncapi import asyncapi
from infra.contract.schemas import schemas
from infra.kafka.topics import Topics
from infra.settings import Settings, SettingsError
from read_api.app import ReadApi
from read_api.events import live
from tests.house import samples
from tests.test_doors import problem
from tests.views.house import House, to_the_end

BASE = "https://example.org/schemas/"


@pytest.fixture(scope="module")
def settings(house: House) -> Settings:
    """Settings of a read API that others know by another address."""
    return house.settings.model_copy(update={"schemas": BASE, "kafka_bootstrap_servers": "broker:9092"})


@pytest.fixture(scope="module")
def reading(settings: Settings) -> Iterator[httpx.Client]:
    """A client of it without a token."""
    with to_the_end(ReadApi(settings).app()) as url, httpx.Client(base_url=url) as client:
        yield client


def path_of(url: str) -> str:
    """Return the path under which the read API serves what is known by a URL."""
    return f"/schemas/{url.removeprefix(BASE)}"


def test_every_schema_is_listed_and_served_under_its_own_address(reading: httpx.Client) -> None:
    listed: dict[str, Any] = reading.get("/schemas").json()
    urls = [one["dataschema"] for one in (*listed["facts"], *listed["views"])]
    assert sorted(urls) == sorted(BASE + path for path in schemas(BASE))
    for url in urls:
        answer = reading.get(path_of(url))
        assert answer.headers["content-type"] == "application/schema+json"
        assert answer.json() == schemas(BASE)[url.removeprefix(BASE)]
        assert answer.json()["$id"] == url


def test_the_list_says_which_topics_carry_what(reading: httpx.Client) -> None:
    listed = reading.get("/schemas").json()
    assert {one["type"] for one in listed["facts"]} == set(samples.stored_names())
    everywhere = [one for one in listed["facts"] if len(one["topics"]) > 1]
    assert [one["type"] for one in everywhere] == ["fieldlog.reaction-refused.v1"]
    assert everywhere[0]["topics"] == Topics().all_facts()
    for one in listed["views"]:
        assert one["topic"] == f"fieldlog.views.{one['view']}.v{one['version']}"


def test_the_description_of_the_streams_is_served(reading: httpx.Client, settings: Settings) -> None:
    assert reading.get("/schemas").json()["asyncapi"] == "https://example.org/asyncapi.json"
    assert reading.get("/asyncapi.json").json() == asyncapi(settings, live())


@pytest.mark.parametrize(
    "path", ["/schemas", "/asyncapi.json", "/schemas/facts/trips.started.v1.json", "/schemas/views/tenants.v1.json"]
)
def test_what_a_client_has_is_not_sent_again(path: str, reading: httpx.Client) -> None:
    answer = reading.get(path)
    assert answer.headers["cache-control"] == "public, max-age=86400"
    for tag in (answer.headers["etag"], f"W/{answer.headers['etag']}", f'"other", {answer.headers["etag"]}', "*"):
        again = reading.get(path, headers={"If-None-Match": tag})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])
    assert reading.get(path, headers={"If-None-Match": '"other"'}).content == answer.content


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/schemas/facts/trips.vanished.v1.json", "trips.started.v1.json"),
        ("/schemas/facts/trips.v2.json", "trips.started.v1.json"),
        ("/schemas/facts/%00.json", "trips.started.v1.json"),
        ("/schemas/views/trips.v999.json", "tenants.v1.json"),
        ("/schemas/views/trips.json", "tenants.v1.json"),
        ("/schemas/views/trips.started.v1.json", "tenants.v1.json"),
    ],
)
def test_a_schema_that_is_not_there_is_answered_with_those_that_are(
    path: str, there: str, reading: httpx.Client
) -> None:
    answer = reading.get(path)
    assert problem(answer, 404, "not-found")
    assert there in answer.json()["detail"]


@pytest.mark.parametrize(
    "url", ["example.org/schemas/", "https://example.org/schemas", "ftp://example.org/", "https:///"]
)
def test_a_base_url_that_would_make_no_addresses_is_named_at_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="FIELDLOG_SCHEMAS: "):
        Settings.from_environment({"FIELDLOG_SCHEMAS": url})


def test_without_a_base_url_the_schemas_are_where_the_read_api_is() -> None:
    assert Settings.from_environment({"FIELDLOG_READ_PORT": "9002"}).schemas_url == "http://127.0.0.1:9002/schemas/"
