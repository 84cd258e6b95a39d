"""Watching: a client that read a list and follows the stream, however often it is cut off, ends with what the list says."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta

import psycopg

from domain.roles import Role
from read_api.live import LIVE
from tests.conftest import NEIGHBOUR
from tests.test_doors import problem
from tests.views.haulage import DEPOT, Day, Load, fix
from tests.views.house import (
    House,
    Person,
    seeded,
    served_schema,
    superuser,
    wait_for,
    wait_until_folded,
)
from tests.views.watch import Copy, watching

OFFICE_COPIES = (
    {"trips": "/trips?status=started", "trucks": "/trucks?status=active"},
    {
        "locations": "/locations/latest",
        "drivers": "/drivers?duty=on",
        "trucks": "/trucks",
        "trips": "/trips?from=2026-01-01",
    },
)
DRIVERS_COPY = {"trips": "/trips", "drivers": "/drivers", "locations": "/locations/latest"}


WAITING = """select true from pg_stat_activity where datname = current_database()
    and application_name = 'fieldlog read' and wait_event_type = 'Lock'"""


def begin(house: House) -> tuple[Person, list[Load]]:
    """Open two organisations that work."""
    dice, office = seeded(), house.office()
    loads = [Load(office, dice), Load(house.office(NEIGHBOUR), dice)]
    for load in loads:
        load.begin(3)
        load.steps(20)
    office.ask("/trucks/END/register", {"number": "END", "plate": "END"})
    return office, loads


def end(office: Person) -> None:
    """Let the driver D0 begin a trip END, so that a row of each view changes that everybody sees."""
    running = office.see("/drivers/D0")["trip_id"]
    if running is not None:
        office.ask(f"/trips/{running}/cancel", {"reason": "it is late"})
    plan = {"driver_id": "D0", "truck_id": "END", "date": datetime.now(UTC).date().isoformat()}
    office.ask("/trips/END/schedule", plan)
    office.ask("/trips/END/start")
    Day(office).fixes("END", [fix(datetime.now(UTC) - timedelta(seconds=2), DEPOT)], minute=0)


def test_who_read_a_list_and_watches_it_ends_with_what_the_list_says(house: House) -> None:
    office, loads = begin(house)
    dice = seeded()
    people = [house.person(Role.VIEWER), house.person(Role.VIEWER), house.person(Role.DRIVER, subject="user-D0")]
    copies = [Copy(views) for views in (*OFFICE_COPIES, DRIVERS_COPY)]
    failures: list[BaseException] = []
    ends = time.monotonic() + 30

    def watch(person: Person, copy: Copy) -> None:
        try:
            parameters = copy.read(person)
            while not copy.follow(person, parameters, dice.randrange(1, 12 + copy.begun)):
                assert time.monotonic() < ends, "it does not come to an end"
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=watch, args=one) for one in zip(people, copies, strict=True)]
    for thread in threads:
        thread.start()
    for _ in range(150):
        dice.choice(loads).step()
    end(office)
    for thread in threads:
        thread.join()
    assert not failures, failures
    for person, copy in zip(people, copies, strict=True):
        person.position = office.position
        fresh = Copy(copy.views)
        fresh.read(person)
        for view in copy.views:
            assert copy.rows[view] == fresh.rows[view], view
        for view in copy.views:
            assert (order := [position for name, _, position in copy.seen if name == view]) == sorted(order)
    assert sum(copy.begun for copy in copies) > 6, "they were hardly ever cut off"
    assert {kind for copy in copies for kind in copy.kinds} == {"row", "leave", "gone"}


def test_a_view_is_watched_only_by_whom_its_list_is_for(house: House) -> None:
    office = house.office()
    for number in (1, 2):
        office.ask(f"/drivers/D{number}/register", {"name": f"D{number}", "user": f"user-D{number}"})
    scrutineer = house.person(Role.INSPECTION_RESPONSIBLE, Role.SCRUTINEER, Role.TEAM_LEADER, Role.TEAM_MEMBER)
    for view in (name for name, listing in LIVE.items() if listing.context == "trips"):
        problem(scrutineer.read.get(f"/stream?view={view}"), 403, "not-allowed")
    driver = house.person(Role.DRIVER, Role.TEAM_LEADER, Role.SCRUTINEER, subject="user-D1")
    driver.position = office.position
    driver.see("/drivers")
    with watching(driver, view=["drivers", "trips"]) as live:
        for number in (2, 1):
            office.ask(f"/drivers/D{number}/go-on-duty")
        events = live.until(lambda event: event.data["key"] == "D1")
    assert [event.data["key"] for event in events] == ["D1"]


def test_a_stream_that_begins_while_another_is_being_told_misses_nothing(house: House) -> None:
    office, url = house.office(), house.settings.need("projector_url")
    office.ask("/trucks/T0/register", {"number": "T0", "plate": "T0"})
    before = office.get("/trucks").headers["event-id"]
    with watching(office, view="trips"), psycopg.connect(url) as other:
        # What is asked for the stream of trips joins drivers, so it waits; what is asked for that of trucks does not.
        other.execute(f"lock table {served_schema(house.settings)}.drivers in access exclusive mode".encode())
        office.ask("/trucks/T1/register", {"number": "T1", "plate": "T1"})
        wait_until_folded(house.settings)
        wait_for(superuser(house.settings), lambda connection: connection.execute(WAITING).fetchone())
        with watching(office, before, view="trucks") as live:
            office.see("/views")
            other.rollback()
            office.ask("/trucks/T2/register", {"number": "T2", "plate": "T2"})
            events = live.until(lambda event: event.data["key"] == "T2")
    assert [event.data["key"] for event in events] == ["T1", "T2"]


def test_a_view_that_cannot_be_shown_says_so_and_does_not_fall_silent(house: House) -> None:
    office = house.office()
    with watching(office, view="trips") as live, psycopg.connect(superuser(house.settings), autocommit=True) as other:
        other.execute(f"alter table {served_schema(house.settings)}.sites rename name to nome".encode())
        office.ask("/trucks/T1/register", {"number": "T1", "plate": "T1"})
        [reset] = list(live.events())
    assert (reset.kind, reset.data) == ("reset", {"view": "trips", "reason": "this view cannot be shown"})
