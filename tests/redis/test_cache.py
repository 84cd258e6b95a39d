"""Shared answers: the same as direct ones, for whom they are meant, at the position that they bear; made once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
import redis
from prometheus_client import REGISTRY

from domain.roles import Role
from infra.settings import Settings
from infra.views.moves import Moves
from read_api.app import ReadApi
from tests.conftest import NEIGHBOUR, TENANT
from tests.running import until
from tests.serving import Client
from tests.test_doors import problem
from tests.views.haulage import Load
from tests.views.house import (
    House,
    Person,
    projecting,
    rows_of,
    seeded,
    served_schema,
    serving,
    superuser,
    to_the_end,
    wait_until_folded,
)
from tests.views.test_parking import POISON, fails, register, stumbling

PATHS = ("/fleet/dashboard", "/trips?limit=2", "/drivers", "/trucks?status=active", "/sites", "/dwell?by=site")
RESULTS = ("hit", "shared", "miss", "bypass")
LISTENING = (
    "select pid from pg_stat_activity where application_name = 'fieldlog listen' and datname = current_database()"
)


def counts() -> dict[str, float]:
    """How often answers were shared so far."""
    return {one: REGISTRY.get_sample_value("cache_requests_total", {"result": one}) or 0.0 for one in RESULTS}


@contextmanager
def counted() -> Iterator[dict[str, float]]:
    """Count how answers come about in the block."""
    before, found = counts(), dict[str, float]()
    yield found
    found.update({one: number - before[one] for one, number in counts().items() if number != before[one]})


@contextmanager
def also_reading(settings: Settings, *roles: Role, **more: Any) -> Iterator[Client]:
    """Read through another process's read API."""
    with to_the_end(ReadApi(settings).app()) as url:
        client = Client(url, settings, *roles, **more)
        yield client
        client.http.close()


def warm(person: Person, path: str) -> httpx.Response:
    """Ask until the answer is one that others may share."""
    wait = {"if_position_at_least": str(person.position)}

    def hit() -> httpx.Response | None:
        with counted() as found:
            answer = person.read.get(path, **wait)
        return answer if found.get("hit") else None

    return until(hit)


def test_an_answer_is_made_once_and_then_shared_until_a_row_changes(house: House, settings: Settings) -> None:
    office = house.office()
    register(office, "T1")
    first = warm(office, "/trucks")
    with also_reading(settings, Role.VIEWER, subject="eva") as elsewhere, counted() as found:
        until(lambda: elsewhere.get("/trucks").headers.get("position") == first.headers["position"] or None)
        assert elsewhere.get("/trucks").content == first.content
    assert found["hit"] >= 1, "another person in another process has the same answer"
    register(office, "T2")
    assert [one["id"] for one in office.see("/trucks")["items"]] == ["T1", "T2"]


def test_what_does_not_concern_an_organisation_leaves_its_answers_and_moves_their_position(house: House) -> None:
    ours, theirs = house.office(), house.office(NEIGHBOUR)
    register(ours, "T1")
    first = warm(ours, "/trucks")
    position = register(theirs, "T9")
    with counted() as found:
        again = ours.read.get("/trucks", if_position_at_least=str(position))
    assert found == {"hit": 1}
    assert (again.content, again.headers["etag"]) == (first.content, first.headers["etag"])
    assert int(again.headers["position"]) >= position
    assert int(again.headers.get("age", 0)) <= 30


def test_whoever_asks_for_a_position_gets_what_was_there_whatever_the_cache_holds(
    house: House, settings: Settings
) -> None:
    """Two processes that share answers, and one that does not: whatever happens, they say the same, also when what they
    listen to is lost again and again.
    """
    office, dice = house.office(), seeded()
    load = Load(office, dice)
    load.begin(3)
    alone = settings.model_copy(update={"redis_url": None})
    with (
        also_reading(alone, Role.ADMIN) as direct,
        also_reading(settings, Role.ADMIN) as second,
        counted() as found,
    ):
        for number in range(60):
            for _ in range(dice.randrange(3)):
                load.step()
            if number % 20 == 10:
                rows_of(superuser(settings), f"select pg_terminate_backend(pid) from ({LISTENING}) s")
            path, at_least = dice.choice(PATHS), {"if_position_at_least": str(office.position)}
            answers = [client.get(path, **at_least) for client in (direct, office.read, second, office.read)]
            assert {answer.status_code for answer in answers} == {200}, path
            assert len({answer.content for answer in answers}) == 1, path
            assert len({answer.headers["etag"] for answer in answers}) == 1, path
            assert all(int(answer.headers["position"]) >= office.position for answer in answers)
    assert found["hit"] > 20


def test_nobody_gets_an_answer_that_was_made_for_somebody_else(house: House) -> None:
    office, theirs = house.office(), house.office(NEIGHBOUR)
    for number in (1, 2):
        office.ask(f"/drivers/D{number}/register", {"name": f"Driver {number}", "user": f"user-{number}"})
    theirs.ask("/drivers/D1/register", {"name": "Somebody else", "user": "user-1"})
    people = [house.person(Role.DRIVER, subject=f"user-{number}") for number in (1, 2)]
    people.append(house.person(Role.DRIVER, subject="user-1", tenant=NEIGHBOUR))
    names = [["Driver 1"], ["Driver 2"], ["Somebody else"]]
    for _ in range(3):
        for person, name in zip(people, names, strict=True):
            person.position = theirs.position
            assert [one["name"] for one in person.see("/drivers")["items"]] == name
        assert len(office.see("/drivers")["items"]) == 2
        problem(people[0].get("/fleet/dashboard"), 403, "not-allowed")


def test_parts_of_a_list_are_answers_of_their_own_with_links_of_the_caller(house: House) -> None:
    office = house.office()
    for number in range(5):
        register(office, f"T{number}")
    warm(office, "/trucks?limit=2")
    seen = []
    path = "/trucks?limit=2"
    for _ in range(3):
        answer = office.get(path)
        page = answer.json()
        seen += [one["id"] for one in page["items"]]
        path = f"/trucks?limit=2&cursor={page['next']}"
    assert seen == [f"T{number}" for number in range(5)]
    named = office.get("/trucks?limit=2", host="fieldlog.example").headers["link"]
    assert named.startswith("<http://fieldlog.example/trucks?limit=2&cursor=")


def test_an_answer_that_the_caller_has_is_not_sent_again_and_a_stream_goes_on_after_it(house: House) -> None:
    office = house.office()
    register(office, "T1")
    first = warm(office, "/trucks")
    assert office.get("/trucks", if_none_match=first.headers["etag"]).status_code == 304
    with office.read.http.stream("GET", f"/stream?view=trucks&last_event_id={first.headers['event-id']}") as stream:
        register(office, "T2")
        rows = (line for line in stream.iter_lines() if line.startswith('data: {"view":"trucks","key"'))
        assert '"key":"T2"' in next(rows), "what the list showed comes again"


def test_many_who_ask_at_once_in_two_processes_have_it_made_once(house: House, settings: Settings) -> None:
    office = house.office()
    register(office, "T1")
    with also_reading(settings, Role.ADMIN) as elsewhere:
        warm(office, "/sites")
        wait = {"if_position_at_least": str(office.position)}
        elsewhere.get("/sites", **wait)
        lock = f"lock table {served_schema(settings)}.trucks in access exclusive mode"
        with counted() as found, ThreadPoolExecutor(16) as pool, superuser_session(settings, lock) as release:
            asked = [pool.submit(client.get, "/trucks") for client in (office.read, elsewhere) * 8]
            until(lambda: counts()["shared"] >= 1 or None)
            release()
            answers = [one.result() for one in asked]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert found["miss"] <= 2, "one per process at most, and that only if the other one took long"
    assert sum(found.values()) == 16


@contextmanager
def superuser_session(settings: Settings, statement: str) -> Iterator[Any]:
    """Hold what a statement locks until it is released."""
    with psycopg.connect(superuser(settings)) as connection:
        connection.execute(statement.encode())
        yield connection.rollback


def test_who_promised_an_answer_and_died_is_waited_for_only_a_little(house: House, redis_url: str) -> None:
    office = house.office()
    register(office, "T1")
    warm(office, "/trucks")
    with redis.Redis.from_url(redis_url) as client:
        [key] = [key for key in client.scan_iter() if b":answer:" in key]
        client.delete(key)
        client.set(key + b":claim", "", px=60_000)
        with counted() as found:
            assert office.read.get("/trucks").status_code == 200
        assert found == {"miss": 1}
        assert client.exists(key), "what was made in the end is kept"


def test_what_is_kept_is_kept_no_longer_than_it_is_fresh(house: House, redis_url: str) -> None:
    office = house.office()
    register(office, "T1")
    office.ask("/sites/S1/register", {"name": "Depot", "latitude": 46.0, "longitude": 14.5})
    for path, seconds in (("/trucks", 30), ("/sites", 60), ("/locations/latest", 5)):
        with redis.Redis.from_url(redis_url) as client:
            client.flushdb()
            answer = office.get(path)
            assert f"max-age={seconds}" in answer.headers["cache-control"]
            warm(office, path)
            lives = [client.pttl(key) for key in client.scan_iter() if b":answer:" in key]
        assert lives
        assert max(lives) <= seconds * 1000


def test_an_organisation_that_is_parked_never_says_that_it_is_further(settings: Settings) -> None:
    with serving(settings.model_copy(update={"position_wait_seconds": 0.2})) as house:
        ours, theirs = house.office(), house.office(NEIGHBOUR)
        register(ours, "T1")
        with projecting(settings, stumbling(fails)):
            warm(ours, "/trucks")
            poison = register(ours, "T2", POISON)
            for number in range(3):
                further = register(theirs, f"N{number}")
                wait_until_folded(settings)
                assert theirs.get("/trucks").status_code == 200
                answer = ours.read.get("/trucks")
                assert [one["id"] for one in answer.json()["items"]] == ["T1"]
                assert int(answer.headers["position"]) < poison
                problem(ours.read.get("/trucks", if_position_at_least=str(further)), 503, "lagging")


ANA, BOJAN = TENANT, NEIGHBOUR


def hearing(position: int) -> Moves:
    moves = Moves()
    moves.listening(position)
    return moves


def test_nothing_is_known_before_it_was_read_or_heard() -> None:
    moves = Moves()
    moves.read(ANA, 50, 40)
    assert moves.last(ANA) is None
    moves.listening(50)
    assert moves.last(ANA) is None
    moves.read(ANA, 50, 40)
    assert (moves.last(ANA), moves.last(BOJAN)) == (40, None)


def test_what_was_heard_counts_for_more_than_an_answer_from_before() -> None:
    moves = hearing(50)
    moves.heard(60, {ANA})
    moves.read(ANA, 59, 40)
    assert moves.last(ANA) == 60
    moves.read(ANA, 61, 60)
    assert moves.last(ANA) == 60


def test_after_a_move_of_anybody_only_later_answers_teach_something() -> None:
    moves = hearing(50)
    moves.read(ANA, 50, 40)
    moves.heard(60, None)
    moves.read(ANA, 59, 40)
    assert moves.last(ANA) is None
    moves.read(ANA, 60, 58)
    assert moves.last(ANA) == 58


def test_what_may_have_been_missed_is_forgotten_until_it_is_heard_again() -> None:
    moves = hearing(50)
    moves.read(ANA, 50, 40)
    moves.forget()
    moves.read(ANA, 90, 40)
    assert moves.last(ANA) is None
    moves.heard(95, {BOJAN})
    moves.listening(95)
    moves.read(ANA, 94, 40)
    assert (moves.last(ANA), moves.last(BOJAN)) == (None, 95)


@pytest.mark.parametrize("most", [3])
def test_what_there_is_no_room_for_is_not_taken_from_an_answer_from_before(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infra.views.moves.MOST_TENANTS", most)
    moves = hearing(50)
    moves.heard(60, {ANA})
    for number in range(most):
        moves.heard(61 + number, {UUID(int=number + 1)})
    assert moves.last(ANA) is None
    moves.read(ANA, 59, 40)
    assert moves.last(ANA) is None
    moves.read(ANA, 64, 60)
    assert moves.last(ANA) == 60
