"""Presence: who is at which record, told live, gone when he is not heard of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import redis
from joserfc import jwk, jwt

from domain.roles import Role
from infra.redis.boards import board_of
from read_api.locks import Held, LocksShown, LockState
from read_api.presence import PresenceShown
from tests.conftest import NEIGHBOUR, TENANT
from tests.test_doors import problem
from tests.views.house import House, Person
from tests.views.watch import watching

HERE = {"stream": "trips", "id": "T1", "activity": "viewing"}


def be(person: Person, **more: Any) -> None:
    answer = person.read.ask("/presence", HERE | more)
    assert answer.status_code == 204, answer.text


def forget(redis_url: str, key: str) -> None:
    """Let a presence end now, as if nothing had been heard for two minutes."""
    board = board_of("presence", TENANT)
    with redis.Redis.from_url(redis_url) as client:
        text = client.hget(board, key)
        assert isinstance(text, bytes)
        client.hset(board, key, b"1 " + text.partition(b" ")[2])
        client.publish("fieldlog:boards", board)


def test_who_is_at_a_record_and_what_he_does_there(house: House) -> None:
    ana, bojan = house.person(Role.ADMIN), house.person(Role.VIEWER, subject="bo/jan")
    be(ana, activity="editing", page="/trips/T1/edit")
    be(bojan)
    be(bojan, id="T2")
    found = ana.see("/presence?stream=trips&id=T1")["items"]
    assert [(one["by"], one["activity"], one["page"]) for one in found] == [
        ("ana", "editing", "/trips/T1/edit"),
        ("bo/jan", "viewing", None),
    ]
    assert [one["id"] for one in ana.see("/presence?by=bo/jan")["items"]] == ["T1", "T2"]
    be(ana, activity="idle")
    again = ana.see("/presence?by=ana")["items"]
    assert [(one["activity"], one["since"]) for one in again] == [("idle", found[0]["since"])]


def test_answers_have_the_shape_that_they_promise(house: House) -> None:
    ana = house.person(Role.ADMIN)
    be(ana)
    held = ana.read.ask("/locks/trips/T1").json()
    taken = ana.read.ask("/locks/trips/T1", {"place": "elsewhere", "take_over": True}).json()
    extended = ana.read.ask("/locks/trips/T1/extend", {"token": taken["token"]}).json()
    for answer in (held, taken, extended):
        Held.model_validate_json(json.dumps(answer))
    LockState.model_validate_json(ana.get("/locks/trips/T1").content)
    LocksShown.model_validate_json(ana.get("/locks").content)
    PresenceShown.model_validate_json(ana.get("/presence").content)


def test_whoever_is_not_heard_of_is_gone_and_those_who_watch_are_told(house: House, redis_url: str) -> None:
    ana, bojan = house.person(Role.ADMIN), house.person(Role.VIEWER, subject="bojan")
    with watching(bojan, view="presence", stream="trips", id="T1") as live:
        events = live.events()
        assert next(events).kind == "fresh"
        be(ana)
        be(ana, id="T2")
        told = next(events)
        assert (told.kind, told.data["key"], told.data["row"]["by"]) == ("row", "trips/T1/ana", "ana")
        forget(redis_url, "trips/T1/ana")
        gone = next(events)
        assert (gone.kind, gone.data["key"]) == ("gone", "trips/T1/ana")
    assert [one["id"] for one in bojan.see("/presence")["items"]] == ["T2"]


def test_whoever_matched_and_does_not_any_more_leaves(house: House) -> None:
    ana = house.person(Role.ADMIN)
    with watching(ana, view="presence", by="ana") as live:
        events = live.events()
        next(events)
        be(ana, activity="editing")
        be(ana, activity="idle")
        assert [next(events).data["row"]["activity"] for _ in range(2)] == ["editing", "idle"]


def test_neighbours_see_nothing_of_each_other(house: House) -> None:
    ana, neighbour = house.person(Role.ADMIN), house.person(Role.ADMIN, tenant=NEIGHBOUR)
    be(ana)
    assert neighbour.see("/presence")["items"] == []
    with watching(neighbour, view="presence") as live:
        events = live.events()
        assert next(events).kind == "fresh"
        be(ana, id="T2")
        be(neighbour, id="T3")
        assert next(events).data["row"]["id"] == "T3"


def test_a_driver_is_seen_and_sees_only_where_he_may_look(house: House) -> None:
    office = house.office()
    office.ask("/drivers/D1/register", {"name": "Cvetka", "user": "cvetka"})
    office.ask("/drivers/D2/register", {"name": "Dane", "user": "dane"})
    driver = house.person(Role.DRIVER, subject="cvetka")
    driver.position = office.position
    assert driver.get("/drivers").json()["total"]["value"] == 1
    be(driver, stream="drivers", id="D1")
    problem(driver.read.ask("/presence", HERE | {"stream": "drivers", "id": "D2"}), 404, "no-such-record")
    problem(driver.get("/presence"), 403, "not-allowed")
    for path in ("/stream?view=presence&stream=drivers", "/presence?stream=locations&id=D1"):
        problem(driver.get(path), 403, "not-allowed")
    with watching(driver, view="presence", stream="drivers", id="D1") as live:
        events = live.events()
        assert [next(events).kind for _ in range(2)] == ["fresh", "row"]


def test_scrutineering_is_not_seen_at_records_of_haulage_and_sees_nobody_there(house: House) -> None:
    be(house.office(), stream="trips", id="T1")
    everyone = house.person(Role.INSPECTION_RESPONSIBLE, Role.SCRUTINEER, Role.TEAM_LEADER, Role.TEAM_MEMBER)
    for stream in ("trips", "trucks", "payroll-periods"):
        problem(everyone.read.ask("/presence", HERE | {"stream": stream}), 403, "not-allowed")
        problem(everyone.read.ask(f"/locks/{stream}/T1"), 403, "not-allowed")
        for path in ("/presence?", "/locks?", "/stream?view=presence&", "/stream?view=locks&"):
            problem(everyone.get(f"{path}stream={stream}&id=T1"), 403, "not-allowed")
            problem(everyone.get(f"{path}stream={stream}"), 403, "not-allowed")
    member = house.person(Role.TEAM_MEMBER, Role.DRIVER)
    for path in ("/presence", "/locks", f"/locks/tenants/{TENANT}", "/stream?view=presence", "/stream?view=locks"):
        problem(member.get(path), 403, "not-allowed")


def test_the_name_of_a_token_is_shown(house: House, keys: dict[str, str]) -> None:
    ana = house.person(Role.ADMIN)
    key = jwk.ECKey.import_key(json.loads(Path(keys["FIELDLOG_SIGNING_KEY"]).read_text()))
    token = ana.read.http.headers["Authorization"].removeprefix("Bearer ")
    claims = jwt.decode(token, key, algorithms=["ES256"]).claims | {"name": "Ana Novak"}
    header = {"alg": "ES256", "kid": key.kid, "typ": "at+jwt"}
    ana.read.http.headers["Authorization"] = f"Bearer {jwt.encode(header, claims, key, algorithms=['ES256'])}"
    be(ana)
    assert [(one["by"], one["name"]) for one in ana.see("/presence")["items"]] == [("ana", "Ana Novak")]


@pytest.mark.parametrize(
    ("wrong", "status", "code"),
    [
        ({"stream": "horses"}, 404, "not-found"),
        ({"id": "a/b"}, 422, "invalid-input"),
        ({"activity": "sleeping"}, 422, "invalid-input"),
        ({"page": "x" * 201}, 422, "invalid-input"),
        ({"page": "\0"}, 422, "invalid-input"),
        ({"by": "bojan"}, 422, "invalid-input"),
    ],
)
def test_what_cannot_be_is_named(house: House, wrong: dict[str, Any], status: int, code: str) -> None:
    problem(house.person(Role.ADMIN).read.ask("/presence", HERE | wrong), status, code)


def test_a_body_that_is_no_json_is_named(house: House) -> None:
    person = house.person(Role.ADMIN)
    answer = person.read.http.post("/presence", content=b"{", headers={"Content-Type": "application/json"})
    problem(answer, 400, "malformed-body")
