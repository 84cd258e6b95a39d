"""Without Redis: what needs it says so, everything else goes on, and all of it comes back when Redis does."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
import redis
import uvloop
from prometheus_client import REGISTRY

from domain.roles import Role
from infra.local.redis import RedisServer
from infra.redis.boards import READ
from infra.redis.client import AwayError, Shared
from infra.settings import Settings
from tests.conftest import Database
from tests.redis.conftest import with_redis
from tests.redis.test_locks import RATE, S1, acquired
from tests.running import until
from tests.test_doors import problem
from tests.views.conftest import settings_over
from tests.views.house import House, Person, meanwhile, open_house
from tests.views.watch import watching

HERE = {"stream": "sites", "id": "S1", "activity": "editing"}


@pytest.fixture
def settings(database: Database, keys: dict[str, str], own_redis: RedisServer) -> Settings:
    """Settings over a Redis that may be stopped; the quota is larger than what a test asks."""
    return with_redis(settings_over(database, keys), own_redis.url(), limit_requests=100_000)


@pytest.fixture
def office(house: House) -> Person:
    """The office, with a site."""
    office = house.office()
    office.ask("/sites/S1/register", {"name": "Landfill", "latitude": 46.0, "longitude": 14.5})
    return office


def killed(server: RedisServer) -> Callable[[], None]:
    server.stop()
    return server.start


def hung(server: RedisServer) -> Callable[[], None]:
    process = server.process
    assert process is not None
    process.send_signal(signal.SIGSTOP)
    return lambda: process.send_signal(signal.SIGCONT)


@contextmanager
def without(server: RedisServer, how: Callable[[RedisServer], Callable[[], None]]) -> Iterator[None]:
    """Take a Redis away for the block, and bring it back."""
    bring_back = how(server)
    try:
        yield
    finally:
        bring_back()


def count(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def check(person: Person, which: str = "read") -> str:
    client = person.read if which == "read" else person.write
    return str(client.get("/readyz?verbose").json()["checks"]["redis"])


@pytest.mark.parametrize("how", [killed, hung])
def test_all_that_can_goes_on_without_redis_and_the_rest_comes_back_with_it(
    office: Person, own_redis: RedisServer, how: Callable[[RedisServer], Callable[[], None]]
) -> None:
    held = acquired(office)
    token = str(held["token"])
    assert (check(office), check(office, "write")) == ("answers", "answers")
    answers: list[httpx.Response] = []

    def ask() -> None:
        answers.append(office.read.get("/fleet/dashboard"))
        answers.append(office.write.ask("/sites/S1/change-rate", RATE))

    with meanwhile(ask) as asked:
        until(lambda: asked() > 5 or None)
        with without(own_redis, how):
            unlimited, unchecked = count("rate_limit_unavailable_total"), count("lock_unavailable_total")
            until(lambda: check(office).startswith("degraded") or None)
            until(lambda: check(office, "write").startswith("degraded") or None)
            until(lambda: count("rate_limit_unavailable_total") > unlimited + 5 or None)
            assert count("lock_unavailable_total") > unchecked
            assert office.read.get("/readyz").status_code == 200
            for refused in (
                office.read.get(S1),
                office.read.get("/locks"),
                office.read.ask(S1),
                office.read.ask(f"{S1}/extend", {"token": 1}),
                office.read.ask(f"{S1}/release", {"token": 1}),
                office.read.ask("/presence", HERE),
                office.read.get("/presence"),
                office.write.ask("/sites/S1/change-rate", RATE, lock_token=token),
            ):
                assert problem(refused, 503, "no-shared-state")["detail"]
                assert refused.headers["retry-after"] == "1"
        until(lambda: check(office) == "answers" or None)
        until(lambda: check(office, "write") == "answers" or None)
    assert {answer.status_code for answer in answers} == {200}
    again = acquired(office)
    assert again["token"] >= held["token"]
    assert office.write.ask("/sites/S1/change-rate", RATE, lock_token=str(again["token"])).status_code == 200
    assert "ratelimit" in office.read.get("/sites").headers


def test_a_redis_that_hangs_slows_down_hardly_a_request(office: Person, own_redis: RedisServer) -> None:
    """Counted, not timed: once it is known to be away, nobody asks it on behalf of a request."""
    before = count("redis_losses_total")
    with without(own_redis, hung):
        for _ in range(50):
            assert office.read.get("/sites").status_code == 200
        assert count("redis_losses_total") == before + 1
    until(lambda: check(office) == "answers" or None)


def test_a_command_that_waits_for_its_lock_is_not_taken_for_done(office: Person, own_redis: RedisServer) -> None:
    """The first answer that is missing is missed by the requests that are under way as well."""
    held = acquired(office)
    results: list[httpx.Response] = []
    with without(own_redis, hung):
        path, token = "/sites/S1/change-rate", str(held["token"])
        asking = [
            threading.Thread(target=lambda: results.append(office.write.ask(path, RATE, lock_token=token)))
            for _ in range(5)
        ]
        for one in asking:
            one.start()
        for one in asking:
            one.join()
    assert {problem(one, 503, "no-shared-state")["status"] for one in results} == {503}


def test_a_redis_without_room_drops_answers_and_no_lock(office: Person, own_redis: RedisServer) -> None:
    held = acquired(office)
    with redis.Redis.from_url(own_redis.url()) as client:
        client.config_set("maxmemory", "4mb")
        number = 0
        while client.info("stats")["evicted_keys"] < 5_000:  # type: ignore[index]
            client.set(f"fieldlog:answer:{number}", b"x" * 1_000, px=60_000)
            number += 1
    assert acquired(office)["token"] == held["token"]
    assert office.write.ask("/sites/S1/change-rate", RATE, lock_token=str(held["token"])).status_code == 200


def test_a_redis_that_has_forgotten_scripts_and_all_is_told_them_again(office: Person, own_redis: RedisServer) -> None:
    held = acquired(office)
    with redis.Redis.from_url(own_redis.url()) as client:
        client.flushall()
        client.script_flush()
    assert office.read.get(S1).json()["lock"] is None
    problem(office.write.ask("/sites/S1/change-rate", RATE, lock_token=str(held["token"])), 423, "locked")
    assert acquired(office)["token"] > held["token"]


def test_who_watches_is_told_that_nothing_can_be_told_and_then_afresh(office: Person, own_redis: RedisServer) -> None:
    acquired(office)
    with watching(office, view=["locks", "sites"]) as live:
        events = live.events()
        assert [next(events).kind for _ in range(2)] == ["fresh", "row"]
        own_redis.stop()
        assert next(events).kind == "lost"
        office.ask("/sites/S1/close")
        told = next(events)
        assert (told.data["view"], told.data["row"]["status"]) == ("sites", "closed")
        own_redis.start()
        assert next(events).kind == "fresh"
        until(lambda: check(office) == "answers" or None)
        acquired(office)
        assert next(events).data["row"]["locked_by"] == "ana"


def test_where_no_redis_is_set_that_is_said_and_everything_else_works(database: Database, keys: dict[str, str]) -> None:
    with open_house(settings_over(database, keys)) as house:
        office = house.office()
        assert check(office) == check(office, "write")
        assert check(office).startswith("degraded: REDIS_URL is not set")
        assert "ratelimit" not in office.get("/trucks").headers
        for path in ("/locks", "/presence", "/stream?view=locks", "/stream?view=presence&view=trucks"):
            said: dict[str, Any] = problem(office.get(path), 503, "no-shared-state")
            assert "REDIS_URL is not set" in said["detail"]
        problem(office.read.ask("/presence", HERE), 503, "no-shared-state")
        office.ask("/sites/S1/register", {"name": "Landfill", "latitude": 46.0, "longitude": 14.5})
        office.ask("/sites/S1/change-rate", RATE)
        problem(office.write.ask("/sites/S1/close", lock_token="7"), 503, "no-shared-state")
        with watching(house.person(Role.VIEWER), view="trucks") as live:
            assert live.ready["trucks"] >= 0


def cannot_write(connection: Any) -> None:
    connection._writer.transport.abort()


def is_closed_elsewhere(connection: Any) -> None:
    def close() -> None:
        connection._reader = connection._writer = None

    asyncio.get_running_loop().call_soon(close)


@pytest.mark.parametrize("closes", [cannot_write, is_closed_elsewhere])
def test_a_connection_that_closes_as_it_is_written_to_is_lost_and_nobody_waits_for_its_answer(
    redis_url: str, closes: Callable[[Any], None]
) -> None:
    async def ask() -> None:
        async with Shared(redis_url) as shared, asyncio.timeout(10):
            assert await shared.run(READ, ["board"], "nobody") is None
            [connection] = shared._client.connection_pool._available_connections

            class LastWord(str):
                def encode(self, *_: str) -> bytes:
                    closes(connection)
                    return b"nobody"

            with pytest.raises(AwayError):
                await shared.run(READ, ["board"], LastWord())
            assert shared._returning is not None
            await shared._returning
            assert await shared.run(READ, ["board"], "nobody") is None

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(ask())
