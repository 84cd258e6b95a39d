"""The paddock: what officials and teams read of people, bookings and stations, and what they do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from domain.roles import Role
from tests.conftest import NEIGHBOUR, TENANT
from tests.test_doors import problem
from tests.views.house import House, Person
from tests.views.scrutineering import Paddock, noon_zone, scrutineering
from tests.views.watch import Event, watching

TODAY = datetime.now(UTC).astimezone(ZoneInfo(noon_zone())).date()
YESTERDAY = TODAY - timedelta(days=1)
OFFICIALS_ONLY = ("/scrutineers", "/bookings/soon/scrutineers", f"/kpis?from={TODAY}&to={TODAY}")


@pytest.fixture(scope="module")
def paddock(shared_house: House) -> Iterator[Paddock]:
    """An organisation in the midst of its day; its neighbour has teams of the same names, and a car that waits since yesterday."""
    neighbour = shared_house.person(Role.ADMIN, tenant=NEIGHBOUR)
    with scrutineering(shared_house, neighbour) as other:
        other.begin()
        other.check_in("forgotten", "blue", "brake", -1_500)
        other.check_in("theirs", "red", "pre", -10)
    with scrutineering(shared_house, shared_house.person(Role.ADMIN, tenant=TENANT)) as paddock:
        paddock.whole()
        yield paddock


@pytest.fixture
def staff(paddock: Paddock) -> Person:
    """Who sees everything."""
    return paddock.person("ida", Role.INSPECTION_RESPONSIBLE)


@pytest.fixture
def rita(paddock: Paddock) -> Person:
    """Who leads the red team."""
    return paddock.person("rita", Role.TEAM_LEADER)


def ids(items: list[dict[str, Any]]) -> list[str]:
    """The ids of items, in their order."""
    return [one["id"] for one in items]


# Bookings


def test_the_board_is_ordered_by_priority_then_time(staff: Person) -> None:
    wanted = ["urgent", "soon", "next", "done", "absent", "going", "held", "lapsed", "off"]
    assert ids(staff.whole("/bookings")) == wanted
    assert ids(staff.whole(f"/bookings?day={TODAY}&from={TODAY}&to={TODAY}")) == wanted
    first = staff.see("/bookings?limit=4")
    assert ids(first["items"]) == wanted[:4]
    assert ids(staff.see(f"/bookings?limit=4&cursor={first['next']}")["items"]) == wanted[4:8]
    assert first["total"] == {"value": 9, "kind": "exact"}


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("team=red", ["urgent", "soon", "done", "off"]),
        ("status=checked_in", ["urgent", "next"]),
        ("type=brake&team=blue", ["next", "absent"]),
        ("type=pre&lane=2", ["soon"]),
        (f"day={YESTERDAY}", []),
        (f"to={YESTERDAY}", []),
    ],
)
def test_the_board_is_filtered(staff: Person, query: str, found: list[str]) -> None:
    assert ids(staff.whole(f"/bookings?{query}")) == found


def test_a_booking_says_all_there_is_to_say(paddock: Paddock, staff: Person) -> None:
    done = staff.see("/bookings/done")
    assert (done["status"], done["result"], done["seconds"]) == ("completed", "conditional_pass", 1_500)
    assert (done["team_name"], done["team_code"], done["team_number"]) == ("Red Racing", "RED", 7)
    assert (done["inspection_type_name"], done["attendees"], done["notes"]) == ("Pre-inspection", ["rita"], "First")
    assert datetime.fromisoformat(done["started_at"]) == paddock.at(-120)
    [assigned] = staff.see("/bookings/soon")["scrutineers"]
    assert (assigned["person_id"], assigned["name"], assigned["assigned_by"]) == ("sam", "Sam", "ana")


def test_a_hold_is_over_when_its_time_is(staff: Person) -> None:
    assert staff.see("/bookings/lapsed")["status"] == "expired"
    assert staff.see("/bookings/lapsed/workspace")["booking"]["status"] == "expired"
    assert staff.see("/bookings/held")["status"] == "requested"


def test_todays_ongoing_bookings(staff: Person, rita: Person) -> None:
    assert ids(staff.whole("/bookings/ongoing")) == ["going"]
    assert rita.see("/bookings/ongoing")["total"]["value"] == 0


def test_an_answer_bears_its_tag_and_caching_rule(staff: Person) -> None:
    for path, seconds in (("/bookings", 30), ("/bookings/done", 30), ("/stations", 5), ("/stations/pre", 5)):
        answer = staff.get(path)
        assert answer.headers["cache-control"] == f"private, max-age={seconds}, stale-while-revalidate={2 * seconds}"
        assert int(answer.headers["position"]) >= staff.position
    answer = staff.get("/bookings/done")
    assert staff.get("/bookings/done", if_none_match=answer.headers["etag"]).status_code == 304


# Those who inspect


def test_who_could_inspect_a_booking(staff: Person) -> None:
    soon = staff.see("/bookings/soon/scrutineers")
    assert [one["person_id"] for one in soon["assigned"]] == ["sam"]
    assert [one["person_id"] for one in soon["available"]] == ["tea"]  # ida has no time for all of it
    held = staff.see("/bookings/held/scrutineers")
    assert [one["person_id"] for one in held["available"]] == ["tea"]  # sam inspects another car then
    problem(staff.get("/bookings/nothing/scrutineers"), 404, "no-such-record")


def test_scrutineers_show_their_day(staff: Person) -> None:
    ida, sam, tea = staff.whole("/scrutineers")
    assert staff.whole(f"/scrutineers?day={TODAY}") == [ida, sam, tea]
    assert (ida["id"], ida["roles"]) == ("ida", ["inspection_responsible"])  # who may be assigned as well
    assert (sam["id"], ids(sam["bookings"]), sam["assigned_minutes"], sam["present"]) == ("sam", ["soon"], 20, 0)
    assert (tea["id"], ids(tea["bookings"]), tea["assigned_minutes"], tea["present"]) == ("tea", ["going"], 20, 1)
    assert (len(sam["availability"]), len(tea["availability"])) == (1, 2)
    [_, before, _] = staff.whole(f"/scrutineers?day={YESTERDAY}")
    assert (before["day"], before["availability"], before["bookings"]) == (str(YESTERDAY), None, [])


# Slots


def taken(person: Person, kind: str = "pre") -> list[list[str | None]]:
    """Which bookings have something of a type's lanes today, by lane."""
    lanes = person.see(f"/slots?type={kind}&day={TODAY}")["lanes"]
    return [[one["booking_id"] for one in lane["taken"]] for lane in lanes]


def test_slots_say_what_is_taken_and_by_which_rules(paddock: Paddock, staff: Person) -> None:
    slots = staff.see(f"/slots?type=pre&day={TODAY}")
    rules = {key: slots[key] for key in ("duration_minutes", "buffer_minutes", "notice_minutes", "hold_minutes")}
    assert rules == {"duration_minutes": 20, "buffer_minutes": 5, "notice_minutes": 0, "hold_minutes": 15}
    assert taken(staff) == [["going", "held"], ["soon"]]  # what is done takes nothing any more
    [_, held] = slots["lanes"][0]["taken"]
    assert (datetime.fromisoformat(held["from"]), datetime.fromisoformat(held["until"])) == (
        paddock.at(25),
        paddock.at(50),
    )
    assert held["held_until"] is not None
    assert taken(staff, "brake") == [["urgent", "next"]]
    problem(staff.get(f"/slots?type=nothing&day={TODAY}"), 404, "no-such-record")


def test_a_team_sees_of_others_only_that_a_slot_is_taken(rita: Person) -> None:
    assert taken(rita) == [[None, None], ["soon"]]


# Stations


def test_stations_say_how_long_their_queues_take(staff: Person, rita: Person) -> None:
    brake, pre = staff.whole("/stations")
    assert (brake["waiting"], brake["ongoing"], brake["average_minutes"], brake["timed"]) == (2, 0, 30, 0)
    assert (brake["minutes"], brake["text"]) == (60, "Brake test: 2 cars, about 60 min")
    assert (pre["waiting"], pre["ongoing"], pre["average_minutes"], pre["timed"]) == (0, 1, 25, 1)
    assert pre["minutes"] in (4, 5)  # of 25, some 20 are over
    assert pre["text"] == f"Pre-inspection: 1 car, about {pre['minutes']} min"
    assert rita.whole("/stations") == [brake, pre]


def test_a_queue_shows_a_team_its_own_place(staff: Person, rita: Person) -> None:
    queue = staff.see("/stations/brake")["queue"]
    assert [(one["place"], one["booking_id"], one["team_name"]) for one in queue] == [
        (1, "urgent", "Red Racing"),
        (2, "next", "Blue Racing"),
    ]
    seen = rita.see("/stations/brake")["queue"]
    assert [(one["place"], one["booking_id"], one["team_name"]) for one in seen] == [
        (1, "urgent", "Red Racing"),
        (2, None, None),
    ]
    nothing = staff.get("/stations/nothing")
    problem(nothing, 404, "no-such-record")
    assert int(nothing.headers["position"]) >= staff.position


def test_a_queue_is_that_of_today(shared_house: House, paddock: Paddock) -> None:
    neighbour = shared_house.person(Role.VIEWER, tenant=NEIGHBOUR)
    neighbour.position = paddock.staff.position
    assert [one["waiting"] for one in neighbour.whole("/stations")] == [0, 1]
    assert neighbour.see("/stations/brake")["queue"] == []


def test_figures_add_up(staff: Person) -> None:
    figures = staff.see(f"/kpis?from={TODAY}&to={TODAY}")
    everything, of_type = figures["all"], {one["inspection_type_id"]: one["figures"] for one in figures["types"]}
    assert (everything["bookings"], everything["no_show"], everything["cancelled"]) == (9, 1, 1)
    assert (everything["completed"], everything["completion_rate"]) == (1, 0.3333)
    assert (of_type["pre"]["conditional_pass"], of_type["pre"]["completion_rate"]) == (1, 1)
    assert (of_type["pre"]["average_minutes"], of_type["pre"]["feedback"]) == (25, 4)
    assert (of_type["brake"]["completion_rate"], of_type["brake"]["average_minutes"]) == (0, None)
    nothing = staff.see(f"/kpis?from={YESTERDAY}&to={YESTERDAY}")
    assert (nothing["all"]["bookings"], nothing["all"]["completion_rate"], nothing["types"]) == (0, None, [])


# People


def test_people_are_found_by_role_team_and_status(staff: Person) -> None:
    assert ids(staff.whole("/people?role=scrutineer")) == ["sam", "tea"]
    assert ids(staff.whole("/people?team=red")) == ["rita", "rok"]
    assert ids(staff.whole("/people?role=team_leader&status=active")) == ["ben", "rita"]
    assert ids(staff.whole("/people?status=gone")) == ["gus"]
    assert staff.see("/people/sam")["email"] == "sam@hub.si"
    assert ids(staff.whole("/teams?class=CV")) == ["blue"]


# Who sees what


def test_a_team_sees_its_own_only(rita: Person) -> None:
    assert ids(rita.whole("/bookings")) == ["urgent", "soon", "done", "off"]
    assert rita.see("/bookings?limit=1")["total"]["value"] == 4
    assert rita.whole("/bookings?team=blue") == []
    assert ids(rita.whole("/people")) == ["rita", "rok"]
    assert [(one["id"], ids(one["members"])) for one in rita.whole("/teams")] == [("red", ["rita", "rok"])]
    assert rita.see("/bookings/soon")["scrutineers"][0]["name"] == "Sam"
    for path in ("/bookings/going", "/people/ben", "/people/sam", "/teams/blue"):
        problem(rita.get(path), 404, "no-such-record")
    for path in OFFICIALS_ONLY:
        problem(rita.get(path), 403, "not-allowed")


@pytest.mark.parametrize("user", ["nobody", "gus"])  # gus has left
def test_who_belongs_to_no_team_sees_nothing(paddock: Paddock, user: str) -> None:
    nobody = paddock.person(user, Role.TEAM_MEMBER)
    for path in ("/bookings", "/people", "/teams"):
        assert nobody.see(path)["total"]["value"] == 0
    assert taken(nobody) == [[None, None], [None]]


def test_who_drives_trucks_has_no_business_here(paddock: Paddock) -> None:
    driver = paddock.person("rita", Role.DRIVER)
    for path in ("/bookings", "/bookings/soon", "/people", "/teams", "/stations", "/stations/pre", *OFFICIALS_ONLY):
        problem(driver.get(path), 403, "not-allowed")


def test_a_neighbour_sees_nothing_of_it(shared_house: House, paddock: Paddock) -> None:
    neighbour = shared_house.person(Role.ADMIN, tenant=NEIGHBOUR)
    neighbour.position = paddock.staff.position
    assert ids(neighbour.whole("/bookings")) == ["forgotten", "theirs"]
    assert taken(neighbour) == [["theirs"], []]
    assert neighbour.see(f"/kpis?from={TODAY}&to={TODAY}")["all"]["bookings"] == 1
    assert {one["assigned_minutes"] for one in neighbour.whole("/scrutineers")} == {0}
    assert neighbour.see("/bookings/theirs/scrutineers")["available"] == []
    problem(neighbour.get("/bookings/soon"), 404, "no-such-record")
    leader = shared_house.person(Role.TEAM_LEADER, subject="ben", tenant=NEIGHBOUR)
    leader.position = paddock.staff.position
    assert ids(leader.whole("/bookings")) == ["forgotten"]


# Watching


def told_of(*views: str) -> Callable[[Event], bool]:
    """Say whether the last of these views has told of somebody who was checked in; which is the first to do so is open."""
    waiting = set(views)

    def told(event: Event) -> bool:
        row = event.data["row"]
        if row.get("status") == "checked_in" or row.get("waiting", 0) > 0:
            waiting.discard(event.data["view"])
        return not waiting

    return told


def test_a_team_watches_its_own_bookings_and_every_station(paddock: Paddock, rita: Person) -> None:
    with watching(rita, view=["bookings", "stations"]) as live:
        paddock.check_in("unseen", "blue", "pre", -200)
        paddock.check_in("seen", "red", "pre", -170, rescrutineering=True)
        events = live.until(told_of("bookings", "stations"))
    bookings = [event.data["key"] for event in events if event.data["view"] == "bookings"]
    assert set(bookings) == {"seen"}
    stations = [event.data["row"] for event in events if event.data["view"] == "stations"]
    assert {one["inspection_type_id"] for one in stations} == {"pre"}
    assert stations[-1]["waiting"] > 0
