"""Reading: parts of lists, conditions on an answer's freshness, who sees what, and a precise no to everything else."""

from __future__ import annotations

import random
from typing import Any
from uuid import UUID

import httpx
import pytest

from domain.roles import Role
from tests.conftest import NEIGHBOUR
from tests.test_doors import problem
from tests.views.haulage import Day
from tests.views.house import House, Person, head, seeded

CROWDED = UUID("0192f000-0000-7000-8000-000000000003")
RECORDS = ("trips/good", "trips/good/track", "trucks/T1", "drivers/D1", "sites/depot")


@pytest.fixture(scope="module")
def office(shared_house: House) -> Person:
    """The office of an organisation after a whole day, whose neighbour has but begun."""
    office = shared_house.office()
    Day(office).whole()
    neighbour = shared_house.office(NEIGHBOUR)
    neighbour.ask("/trucks/theirs/register", {"number": "1", "plate": "KR 1"})
    return office


def driver_of(office: Person, house: House, id: str = "D1") -> Person:
    """Somebody who is only a driver, as of what the office knows."""
    driver = house.person(Role.DRIVER, subject=f"user-{id}")
    driver.position = office.position
    return driver


def where(answer: httpx.Response) -> list[str]:
    """Say what a problem is about: names of parameters or headers, pointers."""
    return [value for one in answer.json()["errors"] for name, value in one.items() if name not in ("code", "detail")]


def walk(reader: Person, path: str, dice: random.Random, step: Any) -> tuple[list[str], list[str]]:
    """Walk a list to its end and back in parts of random size, doing something in between; return the ids met each way."""
    there: list[str] = []
    back: list[str] = []
    page = reader.see(f"{path}&limit={dice.randrange(1, 6)}")
    assert page["prev"] is None
    while True:
        there += [item["id"] for item in page["items"]]
        if page["next"] is None:
            break
        step()
        page = reader.see(f"{path}&limit={dice.randrange(1, 6)}&cursor={page['next']}")
    back += [item["id"] for item in page["items"]][::-1]
    while page["prev"] is not None:
        step()
        page = reader.see(f"{path}&limit={dice.randrange(1, 6)}&cursor={page['prev']}")
        back += [item["id"] for item in page["items"]][::-1]
    return there, back


def test_a_walk_by_cursors_meets_every_item_once_each_way_while_rows_change(office: Person) -> None:
    dice, ids = seeded(), [f"W{n}" for n in range(12)]
    for id in ids:
        office.ask(f"/trucks/{id}/register", {"number": f"W {dice.randrange(10**9)}", "plate": id})
        day = f"2026-10-{dice.randrange(1, 4):02}"
        office.ask(f"/trips/{id}/schedule", {"driver_id": "D1", "truck_id": "T1", "date": day})
    new = iter(range(10_000))

    def step() -> None:
        id, added = dice.choice(ids), f"new-{next(new)}"
        office.write.ask(f"/trucks/{id}/{dice.choice(['deactivate', 'activate'])}")
        office.ask(f"/trucks/{added}/register", {"number": added, "plate": added})
        plan = {"driver_id": "D1", "truck_id": "T1", "date": f"2026-10-{dice.randrange(1, 4):02}"}
        office.ask(f"/trips/{added}/schedule", plan)

    for path in ("/trucks?", "/trips?to=2026-10-31"):
        listed = [item["id"] for item in office.whole(path)]
        there, back = walk(office, path, dice, step)
        assert len(set(there)) == len(there)
        assert [id for id in there if id in listed] == listed
        assert [id for id in back[::-1] if id in there] == there
        assert len(set(back)) == len(back)


def test_a_cursor_that_was_changed_or_belongs_elsewhere_is_none(office: Person) -> None:
    cursor = office.see("/trips?limit=1")["next"]
    turned = cursor[:20] + ("A" if cursor[20] != "A" else "B") + cursor[21:]
    ticket = office.read.ask("/stream/tickets").json()["ticket"]
    strangers = {
        f"/trips?cursor={turned}": "was changed",
        "/trips?cursor=x": "is too short",
        "/trips?cursor=": "is empty",
        "/trips?cursor=%C3%A9": "is no text of ours",
        f"/trucks?cursor={cursor}": "is of another list",
        f"/trips?status=completed&cursor={cursor}": "is of other filters",
        f"/trips?cursor={ticket}": "is a ticket",
    }
    for path, why in strangers.items():
        answer = office.get(path)
        assert answer.status_code == 400, (why, answer.text)
        assert (answer.json()["code"], where(answer)) == ("malformed-query", ["cursor"]), why
    answer = office.get(f"/trips?page=1&cursor={cursor}")
    assert (answer.status_code, where(answer)) == (422, ["page"])


def test_a_long_list_has_page_numbers_up_to_a_point_and_totals(shared_house: House) -> None:
    office = shared_house.office(CROWDED)
    for first in (0, 520):
        items = [
            {"op": str(n), "stream": "sites", "id": f"S{n:04}", "verb": "register", "body": {"name": f"{n:04}"}}
            for n in range(first, first + 520)
        ]
        for item in items:
            item["body"] |= {"latitude": 46.0, "longitude": 14.0}  # type: ignore[operator]
        answer = office.write.ask("/commands", {"items": items}).json()
        assert {one["status"] for one in answer["items"]} == {200}
        office.position = head(shared_house.settings)
    page = office.see("/sites?page=3&per_page=50")
    assert [site["name"] for site in page["items"]] == [f"{n:04}" for n in range(100, 150)]
    assert page["total"] == {"value": 1_000, "kind": "at_least"}
    following = office.get("/sites?page=3&per_page=50").headers["link"]
    assert 'rel="next"' in following
    assert 'rel="prev"' in following
    after = office.see(f"/sites?limit=2&cursor={page['next']}")
    assert [site["name"] for site in after["items"]] == ["0150", "0151"]
    before = office.see(f"/sites?limit=2&cursor={page['prev']}")
    assert [site["name"] for site in before["items"]] == ["0098", "0099"]
    assert where(office.get("/sites?page=21&per_page=50")) == ["page"]
    assert office.see("/sites?status=closed") == {
        "items": [],
        "next": None,
        "prev": None,
        "total": {"value": 0, "kind": "exact"},
    }


@pytest.mark.parametrize("path", ["/trucks/fresh", "/trucks?status=inactive"])
def test_who_has_the_newest_answer_is_told_so_and_gets_another_once_it_changes(office: Person, path: str) -> None:
    office.write.ask("/trucks/fresh/register", {"number": "fresh", "plate": "fresh"})
    office.ask("/trucks/fresh/deactivate")
    first = office.get(path)
    again = office.get(path, if_none_match=first.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == first.headers["etag"]
    assert int(again.headers["position"]) >= office.position
    office.ask("/trucks/fresh/activate")
    changed = office.get(path, if_none_match=f'"x", {first.headers["etag"]}')
    assert changed.status_code == 200
    assert changed.headers["etag"] != first.headers["etag"]
    assert "private" in changed.headers["cache-control"]


def test_what_was_written_is_read_by_whoever_names_its_position(office: Person) -> None:
    office.ask("/trucks/written/register", {"number": "written", "plate": "w"})
    for verb, status in (("deactivate", "inactive"), ("activate", "active")) * 10:
        office.ask(f"/trucks/written/{verb}")
        answer = office.get("/trucks/written")
        assert answer.json()["status"] == status
        assert int(answer.headers["position"]) >= office.position


def test_a_position_that_does_not_come_is_not_waited_for_for_ever(office: Person) -> None:
    impatient = office.get("/trucks", if_position_at_least=str(10**30))
    lagging = problem(impatient, 503, "lagging")
    assert lagging["position"] == int(impatient.headers["position"]) >= office.position
    assert impatient.headers["retry-after"] == "1"
    for wrong in ("-1", "soon", "1.5"):
        answer = office.get("/trucks", if_position_at_least=wrong)
        problem(answer, 422, "invalid-input")
        assert [place.lower() for place in where(answer)] == ["if-position-at-least"]


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/trips?colour=red", "colour"),
        ("/trips?status=flying", "status"),
        ("/trips?from=yesterday", "from"),
        ("/trips?limit=0", "limit"),
        ("/trips?limit=201", "limit"),
        ("/trips?page=0", "page"),
        ("/trips?per_page=19&page=1", "per_page"),
        ("/trips?driver=a%00b", "driver"),
        ("/trips/good/track?fixes=some", "fixes"),
        ("/trips/good/track?simplify=-1", "simplify"),
        ("/trips/good/track?simplify=nan", "simplify"),
        ("/dwell", "by"),
        ("/dwell?by=moon", "by"),
        ("/payroll?from=2026-01-01", "to"),
        ("/payroll?from=2026-01-01&to=2027-01-02", "to"),
        ("/payroll?from=2026-01-02&to=2026-01-01", "to"),
        ("/payroll?from=2026-01-01&to=2026-13-01", "to"),
        ("/compliance?due=perhaps", "due"),
        ("/log?after=-1", "after"),
        ("/log?limit=1001", "limit"),
        ("/log?stream=a%00b", "stream"),
    ],
)
def test_a_question_with_a_wrong_word_is_told_which(office: Person, path: str, place: str) -> None:
    answer = office.get(path)
    found = problem(answer, 422, "invalid-input")
    assert where(answer) == [place], found
    assert all(one["detail"] for one in found["errors"])


@pytest.mark.parametrize("path", ["/trips/none", "/trucks/a%00b", "/drivers/%F0%9F%9A%9A", "/tenants/me", "/nothing"])
def test_what_is_not_there_is_a_problem_too(office: Person, path: str) -> None:
    assert problem(office.get(path), 404, "not-found" if path == "/nothing" else "no-such-record")


def test_an_organisation_does_not_see_records_of_another(shared_house: House, office: Person) -> None:
    neighbour = shared_house.person(Role.ADMIN, tenant=NEIGHBOUR)
    neighbour.position = office.position
    for record in (*RECORDS, f"tenants/{office.tenant}"):
        assert office.get(f"/{record}").status_code == 200
        problem(neighbour.get(f"/{record}"), 404, "no-such-record")
    assert [truck["id"] for truck in neighbour.whole("/trucks")] == ["theirs"]
    assert "theirs" not in [truck["id"] for truck in office.whole("/trucks")]
    for path in ("/trips", "/drivers", "/sites", "/compliance", "/locations/latest"):
        assert neighbour.whole(path) == [], path
    assert neighbour.see("/dwell?by=trip")["items"] == []
    assert {fact["stream"] for fact in neighbour.see("/log")["items"]} <= {"tenants", "trucks", "claims"}


def test_a_driver_sees_his_own_rows_whatever_he_asks_for(shared_house: House, office: Person) -> None:
    driver = driver_of(office, shared_house)
    assert {trip["driver_id"] for trip in office.whole("/trips")} >= {"D1", "D2"}
    assert {trip["driver_id"] for trip in driver.whole("/trips")} == {"D1"}
    assert driver.whole("/trips?driver=D2") == []
    assert [one["id"] for one in driver.whole("/drivers")] == ["D1"]
    assert [one["driver_id"] for one in driver.whole("/locations/latest")] == ["D1"]
    assert driver.get("/trips/good").status_code == driver.get("/trips/good/track").status_code == 200
    for path in ("/trips/bad", "/trips/bad/track", "/drivers/D2"):
        problem(driver.get(path), 404, "no-such-record")
    assert {one["key"] for one in driver.see("/dwell?by=driver")["items"]} == {"D1"}
    assert driver.see("/trips")["total"]["value"] == len(driver.whole("/trips"))
    nobody = shared_house.person(Role.DRIVER, subject="somebody")
    assert [nobody.whole(path) for path in ("/trips", "/drivers", "/locations/latest")] == [[], [], []]


def test_a_driver_who_oversees_inspections_too_sees_of_the_road_only_his_own(
    shared_house: House, office: Person
) -> None:
    driver = shared_house.person(Role.DRIVER, Role.INSPECTION_RESPONSIBLE, Role.SCRUTINEER, subject="user-D1")
    driver.position = office.position
    assert {trip["driver_id"] for trip in driver.whole("/trips")} == {"D1"}
    assert {one["key"] for one in driver.see("/dwell?by=driver")["items"]} == {"D1"}
    for path in ("/trips/bad", "/trips/bad/track", "/drivers/D2"):
        problem(driver.get(path), 404, "no-such-record")
    for path in ("/fleet/dashboard", "/compliance"):
        problem(driver.get(path), 403, "not-allowed")


@pytest.mark.usefixtures("office")
def test_who_has_no_role_for_it_is_refused(shared_house: House) -> None:
    everybody = set(Role) - {Role.SYSTEM}
    office = {Role.ADMIN, Role.DISPATCHER, Role.VIEWER, Role.AUDITOR}
    road = office | {Role.DRIVER}
    allowed = {
        "/trips": road,
        "/trucks": road,
        "/sites": road,
        "/views": everybody,
        "/dwell?by=day": road,
        "/fleet/dashboard": office,
        "/compliance": office,
        "/payroll?from=2026-01-01&to=2026-12-31": office,
        "/log": {Role.ADMIN, Role.AUDITOR},
    }
    for role in everybody:
        person = shared_house.person(role)
        for path, roles in allowed.items():
            assert person.get(path).status_code == (200 if role in roles else 403), (path, role)
    roleless = shared_house.person()
    for path in allowed:
        problem(roleless.get(path), 403, "not-allowed")
    nobody = httpx.get(f"{shared_house.read_url}/trips")
    assert nobody.headers["www-authenticate"] == "Bearer"
    problem(nobody, 401, "unauthenticated")
