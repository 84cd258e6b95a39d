"""Edit locks: one holder at a time, a token that only grows, saves that need it, and everybody told at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest
import redis

from domain.roles import Role
from infra.settings import Settings
from tests.conftest import NEIGHBOUR
from tests.redis.conftest import with_redis
from tests.running import until
from tests.serving import Client
from tests.test_doors import problem
from tests.views.conftest import settings_over
from tests.views.house import House, Person, open_house, rows_of, superuser, to_the_end
from tests.views.watch import watching
from write_api.app import WriteApi

S1 = "/locks/sites/S1"
RATE = {"rate": {"amount_minor": 100, "currency": "EUR", "unit": "m3"}}


@pytest.fixture
def ana(house: House) -> Person:
    """Ana of the office, who has registered a site."""
    ana = house.office()
    ana.ask("/sites/S1/register", {"name": "Landfill", "latitude": 46.0, "longitude": 14.5})
    return ana


@pytest.fixture
def bojan(house: House) -> Person:
    """A colleague of hers."""
    return house.person(Role.DISPATCHER, subject="bojan")


def acquired(person: Person, path: str = S1, **wish: Any) -> dict[str, Any]:
    answer = person.read.ask(path, wish)
    assert answer.status_code == httpx.codes.OK, answer.text
    lock: dict[str, Any] = answer.json()
    return lock


def rate(minor: int) -> dict[str, Any]:
    return {"rate": RATE["rate"] | {"amount_minor": minor}}


def test_one_at_a_time_holds_the_lock_of_a_record(ana: Person, bojan: Person) -> None:
    held = acquired(ana)
    refused = problem(bojan.read.ask(S1), 423, "locked")
    assert (refused["locked_by"], refused["detail"]) == ("ana", "ana is editing this record.")
    assert refused["expires_at"] == held["expires_at"]
    assert bojan.read.get(S1).json()["lock"]["locked_by"] == "ana"
    assert "token" not in bojan.read.get(S1).json()["lock"]
    assert ana.read.ask(f"{S1}/release", {"token": held["token"]}).status_code == 204
    assert ana.read.ask(f"{S1}/release", {"token": held["token"]}).status_code == 204
    assert bojan.read.get(S1).json()["lock"] is None
    assert acquired(bojan)["token"] > held["token"]
    problem(ana.read.ask(f"{S1}/release", {"token": held["token"]}), 423, "locked")


def test_of_many_who_ask_at_once_one_gets_it(house: House) -> None:
    people = [house.person(Role.DISPATCHER, subject=f"user-{n}") for n in range(16)]
    with ThreadPoolExecutor(16) as pool:
        statuses = [answer.status_code for answer in pool.map(lambda person: person.read.ask(S1), people)]
    assert sorted(statuses) == [200] + [423] * 15


def test_who_asks_again_has_the_same_lock_and_another_tab_of_his_is_another_holder(ana: Person) -> None:
    first = acquired(ana, place="tab 1")
    again = acquired(ana, place="tab 1")
    assert (again["token"], again["locked_at"]) == (first["token"], first["locked_at"])
    assert problem(ana.read.ask(S1, {"place": "tab 2"}), 423, "locked")["locked_by"] == "ana"
    taken = acquired(ana, place="tab 2", take_over=True)
    assert taken["token"] > first["token"]
    problem(ana.read.ask(f"{S1}/extend", {"token": first["token"]}), 423, "locked")
    extended = ana.read.ask(f"{S1}/extend", {"token": taken["token"]}).json()
    assert extended["expires_at"] >= taken["expires_at"]


def test_a_driver_takes_over_from_nobody_but_himself_and_locks_only_what_he_sees(house: House, ana: Person) -> None:
    ana.ask("/drivers/D1/register", {"name": "Cvetka", "user": "cvetka"})
    ana.ask("/drivers/D2/register", {"name": "Dane", "user": "dane"})
    driver = house.person(Role.DRIVER, subject="cvetka")
    driver.position = ana.position
    held = acquired(ana, "/locks/drivers/D1")
    problem(
        driver.read.ask("/locks/drivers/D1", {"take_over": True}, if_position_at_least=str(ana.position)), 423, "locked"
    )
    responsible = house.person(Role.DRIVER, Role.INSPECTION_RESPONSIBLE, subject="cvetka")
    problem(responsible.read.ask("/locks/drivers/D1", {"take_over": True}), 423, "locked")
    problem(driver.get("/locks/drivers/D2"), 404, "no-such-record")
    problem(driver.read.ask("/locks/drivers/D2"), 404, "no-such-record")
    problem(driver.get("/locks"), 403, "not-allowed")
    problem(driver.get("/locks?stream=drivers"), 403, "not-allowed")
    problem(driver.get("/stream?view=locks"), 403, "not-allowed")
    problem(house.person(Role.VIEWER, subject="eva").read.ask(S1), 403, "not-allowed")
    assert [one["locked_by"] for one in driver.see("/locks?stream=drivers&id=D1")["items"]] == ["ana"]
    assert ana.read.ask("/locks/drivers/D1/release", {"token": held["token"]}).status_code == 204
    own = acquired(driver, "/locks/drivers/D1", place="phone")
    assert acquired(driver, "/locks/drivers/D1", place="tablet", take_over=True)["token"] > own["token"]


def test_locks_of_neighbours_are_others(house: House, ana: Person) -> None:
    neighbour = house.office(NEIGHBOUR)
    acquired(ana)
    assert neighbour.read.get(S1).json()["lock"] is None
    theirs = acquired(neighbour)
    assert theirs["taken_from"] is None
    assert len(neighbour.see("/locks")["items"]) == 1
    problem(ana.write.ask("/sites/S1/change-rate", RATE, lock_token=str(theirs["token"])), 423, "locked")


def test_a_command_with_a_token_is_carried_out_only_while_that_lock_is_held(ana: Person, bojan: Person) -> None:
    held = acquired(ana)
    saved = ana.write.ask("/sites/S1/change-rate", RATE, lock_token=str(held["token"]))
    assert saved.status_code == 200
    taken = acquired(bojan, take_over=True)
    late = problem(ana.write.ask("/sites/S1/change-rate", rate(7), lock_token=str(held["token"])), 423, "locked")
    assert (late["locked_by"], late["expires_at"]) == ("bojan", taken["expires_at"])
    problem(ana.write.ask("/sites/S1/change-rate", rate(7), lock_token=str(taken["token"])), 423, "locked")
    assert bojan.write.ask("/sites/S1/close", lock_token=str(taken["token"])).status_code == 200
    bojan.read.ask(f"{S1}/release", {"token": taken["token"]})
    ended = problem(bojan.write.ask("/sites/S1/change-rate", rate(7), lock_token=str(taken["token"])), 423, "locked")
    assert (ended["locked_by"], ended["expires_at"]) == (None, None)


def test_without_a_token_only_what_replaces_a_value_waits_for_another_holder(ana: Person, bojan: Person) -> None:
    acquired(ana)
    assert problem(bojan.write.ask("/sites/S1/change-rate", RATE), 423, "locked")["locked_by"] == "ana"
    assert ana.write.ask("/sites/S1/change-rate", RATE).status_code == 200
    assert bojan.write.ask("/sites/S1/close").status_code == 200


@pytest.mark.parametrize("token", ["x", "-1", "1.5", '"1"', "1, 2", ""])
def test_a_token_that_is_none_is_named(ana: Person, token: str) -> None:
    wrong = problem(ana.write.ask("/sites/S1/close", lock_token=token), 400, "malformed-header")
    assert wrong["errors"][0]["header"] == "Lock-Token"


def test_items_of_a_batch_have_tokens_of_their_own(ana: Person, bojan: Person) -> None:
    held = acquired(bojan)
    items = [
        {"op": "1", "stream": "sites", "id": "S1", "verb": "change-rate", "body": RATE, "lock_token": held["token"]},
        {"op": "2", "stream": "sites", "id": "S1", "verb": "change-rate", "body": rate(3), "lock_token": 1},
        {"op": "3", "stream": "sites", "id": "S1", "verb": "close"},
    ]
    answer = bojan.write.ask("/commands", {"items": items}).json()["items"]
    assert [one["status"] for one in answer] == [200, 423, 200]
    assert answer[1]["problem"]["locked_by"] == "bojan"
    items = [{**item, "op": f"again-{item['op']}"} for item in items]
    answer = ana.write.ask("/commands", {"items": items, "atomic": True}).json()["items"]
    assert [one["status"] for one in answer] == [423, 423, 424]


def test_a_repeated_command_has_its_receipt_though_its_lock_has_ended_since(ana: Person) -> None:
    held = acquired(ana)
    sent = {"lock_token": str(held["token"]), "idempotency_key": "save-1"}
    first = ana.write.ask("/sites/S1/change-rate", RATE, **sent)
    ana.read.ask(f"{S1}/release", {"token": held["token"]})
    assert ana.write.ask("/sites/S1/change-rate", RATE, **sent).json() == first.json()


def test_a_takeover_between_look_and_append_is_seen_when_the_record_has_moved(
    settings: Settings, ana: Person, bojan: Person
) -> None:
    """Two processes: the record moves by a command in the other one, so the save is decided again, on the lock as it is then."""
    held, answers = acquired(ana), dict[str, httpx.Response]()

    def send(name: str, client: Client, path: str, **headers: str) -> threading.Thread:
        thread = threading.Thread(
            target=lambda: answers.update({name: client.ask(path, RATE if headers else {}, **headers)})
        )
        thread.start()
        return thread

    with psycopg.connect(superuser(settings)) as other, to_the_end(WriteApi(settings).app()) as url:
        other.execute("lock table fieldlog.log in exclusive mode")
        closing = send("close", Client(url, settings, Role.ADMIN), "/sites/S1/close")
        until(lambda: waiting(settings) == 1 or None)
        saving = send("save", ana.write, "/sites/S1/change-rate", lock_token=str(held["token"]))
        until(lambda: waiting(settings) == 2 or None)
        acquired(bojan, take_over=True)
        other.rollback()
        closing.join()
        saving.join()
    assert answers["close"].status_code == 200
    assert problem(answers["save"], 423, "locked")["locked_by"] == "bojan"


def waiting(settings: Settings) -> int:
    """Return how many appends wait for a lock of the database."""
    statement = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    [(number,)] = rows_of(superuser(settings), statement)
    return int(number)


def test_a_token_grows_although_redis_has_lost_everything(ana: Person, redis_url: str) -> None:
    tokens = []
    for _ in range(5):
        tokens.append(acquired(ana)["token"])
        with redis.Redis.from_url(redis_url) as client:
            client.flushdb()
    assert tokens == sorted(set(tokens))
    assert all(token < 10**15 for token in tokens), "more digits than a structured field takes"
    problem(ana.write.ask("/sites/S1/change-rate", RATE, lock_token=str(tokens[-1])), 423, "locked")


def test_a_token_grows_although_the_clock_stands_behind_the_last_one(ana: Person, redis_url: str) -> None:
    first = acquired(ana)["token"]
    with redis.Redis.from_url(redis_url) as client:
        client.set(f"fieldlog:tokens:{ana.tenant}", first + 10**12)
    ana.read.ask(f"{S1}/release", {"token": first})
    assert acquired(ana)["token"] == first + 10**12 + 1


def test_everybody_who_watches_is_told_who_has_the_lock(house: House, ana: Person, bojan: Person) -> None:
    eva = house.person(Role.VIEWER, subject="eva")
    with watching(eva, view=["locks", "sites"], locks__stream="sites", locks__id="S1") as live:
        assert live.ready["locks"] is None
        events = live.events()
        assert next(events).kind == "fresh"
        held = acquired(ana)
        acquired(ana, "/locks/sites/S2")
        assert next(events).data["row"]["locked_by"] == "ana"
        taken = acquired(bojan, take_over=True)
        told = next(events).data
        assert (told["key"], told["row"]["locked_by"]) == ("sites/S1", "bojan")
        assert told["row"]["taken_from"] == {"by": "ana", "name": "ana"}
        assert taken["token"] > held["token"]
        bojan.read.ask(f"{S1}/release", {"token": taken["token"]})
        assert next(events).kind == "gone"
        last = live.last_id
    acquired(ana)
    with watching(eva, last, view="locks", by="ana") as live:
        events = live.events()
        assert [next(events).kind for _ in range(3)] == ["fresh", "row", "row"]


def test_an_end_that_nobody_caused_is_told_too(database: Any, keys: dict[str, str], redis_url: str) -> None:
    settings = with_redis(settings_over(database, keys), redis_url, limit_requests=0, lock_seconds=1)
    with open_house(settings) as house:
        ana = house.office()
        with watching(ana, view="locks") as live:
            events = live.events()
            held = acquired(ana)
            assert [next(events).kind for _ in range(3)] in (["fresh", "row", "gone"],)
        assert ana.read.get(S1).json()["lock"] is None
        problem(ana.read.ask(f"{S1}/extend", {"token": held["token"]}), 423, "locked")
        bojan = house.person(Role.DRIVER, Role.DISPATCHER, subject="bojan")
        assert acquired(bojan)["taken_from"] is None


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/locks/horses/H1", 404, "not-found"),
        ("/locks/sites/-S1", 422, "invalid-input"),
        ("/locks/sites/S1/extend", 422, "invalid-input"),
    ],
)
def test_what_cannot_be_locked_is_named(ana: Person, path: str, status: int, code: str) -> None:
    problem(ana.read.ask(path), status, code)


def test_a_body_that_is_too_large_is_not_read(house: House, ana: Person) -> None:
    large = ana.read.http.post(
        S1, content=b" " * (house.settings.max_body_bytes + 1), headers={"Content-Type": "application/json"}
    )
    problem(large, 413, "too-large")


def test_no_file_is_imported_under_the_hands_of_who_edits_a_draft(house: House, ana: Person) -> None:
    kind = {"key": "noise", "duration_minutes": 10, "prerequisites": {"EV": []}}
    item = {"inspection_type": "noise", "section": "A", "item_code": "1", "description": "Loud"}
    sheet = {"inspection_types": [kind], "items": [item]}
    first = ana.write.ask("/imports/checklists", sheet)
    ana.position = first.json()["position"]
    acquired(ana, "/locks/checklist-templates/noise")
    responsible = house.person(Role.INSPECTION_RESPONSIBLE, subject="dunja")
    other = {"items": [item | {"description": "Louder"}]}
    assert problem(responsible.write.ask("/imports/checklists", other), 423, "locked")["locked_by"] == "ana"
    assert responsible.write.ask("/imports/checklists", sheet, idempotency_key="k").status_code == 423
    assert ana.write.ask("/imports/checklists", other).json()["items"]["drafted"] == {"noise": 1}
