"""What follows from scrutineering by itself: a day of it comes to the same however often the reactor is killed, and what is
due is done when it is due.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from domain.attachments import TIME_TO_COME, AttachmentAbandoned
from domain.bookings.bookings import HoldExpired
from domain.inspections.checks import HELD_AT_MOST, HeldCheckReleased
from domain.roles import Role
from infra.local.scrutineering import Scrutineering, read_sheets
from infra.log.identity import tenant_id_of
from infra.objects import Objects, new_key, part_of
from infra.settings import Settings
from tests.follows import check_what_follows, ids
from tests.views.house import House, Process, process, rows_of, seeded, wait_for, wait_until_folded
from tests.views.memory import assert_tables_are_the_folds, read_log
from tests.views.scrutineering import Paddock, scrutineering
from tests.views.test_forgetting import reacting, wait_until_reacted

KILLS = 8
BOOKMARK = "select position from fieldlog.bookmarks where name = 'reactor'"
HELD = "select from fieldlog.log where topic = %s"


@contextmanager
def killed_again_and_again(house: House, reactor: Process, dice: random.Random) -> Iterator[Counter[str]]:
    """Kill the reactor soon after it has come on a little, and start it again, a few times."""
    done, stopping = Counter[str](), threading.Event()

    def bookmark() -> list[tuple[int]]:
        return rows_of(house.settings.need("projector_url"), BOOKMARK)

    def run() -> None:
        for _ in range(KILLS):
            begun = bookmark()
            while bookmark() == begun:
                if stopping.wait(0.05):
                    return
            if stopping.wait(dice.uniform(0, 0.3)):
                return
            reactor.kill()
            reactor.start()
            done["kills"] += 1

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield done
    finally:
        stopping.set()
        thread.join()


def test_a_day_of_scrutineering_leads_to_the_same_however_often_its_reactor_is_killed(house: House) -> None:
    dice = seeded()
    port = urlsplit(house.write_url).port
    settings = house.settings.model_copy(update={"write_port": port})
    tenant = tenant_id_of("scrutineering")
    house.office(tenant)
    day = Scrutineering(settings, tenant, read_sheets(), dice)
    day.load()
    kills = random.Random(dice.randrange(10**6))
    with process(house.settings, "reactor") as reactor, killed_again_and_again(house, reactor, kills) as done:
        cars = day.cars()
        while cars:
            cars = [car for car in cars if next(car, None) is not None]
    with reacting(house.settings):
        wait_until_reacted(house.settings)
    assert done["kills"] > 2
    check_what_follows(read_log(house.settings))
    assert all(len(passed) == len(set(passed)) >= 5 for passed in day.passed.values())
    wait_until_folded(house.settings)
    assert_tables_are_the_folds(house.settings)


@pytest.fixture
def paddock(house: House) -> Iterator[Paddock]:
    """A paddock with its teams and people."""
    with scrutineering(house, house.person(Role.ADMIN)) as paddock:
        paddock.begin()
        yield paddock


def happened(settings: Settings, topic: str) -> bool:
    """Wait until such a fact is in the log."""
    return wait_for(
        settings.need("projector_url"), lambda connection: bool(connection.execute(HELD, [topic]).fetchall())
    )


def test_a_hold_that_nobody_confirmed_frees_its_slot_by_itself(house: House, paddock: Paddock) -> None:
    paddock.request("lapsed", "red", "pre", 30, -60)
    paddock.request("held", "blue", "pre", 30)
    with reacting(house.settings):
        assert happened(house.settings, "bookings.hold-expired.v1")
        wait_until_reacted(house.settings)
    assert ids(read_log(house.settings), HoldExpired) == {"lapsed": 1}
    paddock.staff.position = 0
    wait_until_folded(house.settings)
    assert [paddock.staff.see(f"/bookings/{id}")["status"] for id in ("lapsed", "held")] == ["expired", "requested"]


def test_a_check_that_waited_long_enough_takes_effect_without_those_before_it(house: House, paddock: Paddock) -> None:
    papers = [{"code": "P1", "section": "Papers", "description": "Registration"}]
    paddock.staff.ask("/checklist-templates/pre/draft", {"items": papers})
    paddock.staff.ask("/checklist-templates/pre/publish")
    paddock.check_in("going", "red", "pre", -120)
    paddock.start("going", -110)
    late = {"item": "P1", "status": "passed", "based_on": 0, "branch": "tablet", "step": 2}
    paddock.did("/inspections/going/check", -1 - HELD_AT_MOST / timedelta(minutes=1), late)
    with reacting(house.settings):
        assert happened(house.settings, "inspections.held-check-released.v1")
    assert ids(read_log(house.settings), HeldCheckReleased) == {"going": 1}
    wait_until_folded(house.settings)
    [check] = paddock.staff.see("/inspections/going/checks")["items"]
    assert (check["item"], check["status"]) == ("P1", "passed")


def test_what_came_of_a_file_that_did_not_come_in_time_is_thrown_away(
    house: House, paddock: Paddock, tmp_path: Path
) -> None:
    settings = house.settings.model_copy(update={"objects": str(tmp_path)})
    key = new_key(paddock.staff.tenant)
    asyncio.run(Objects(settings).put(part_of(key, 1), _some_bytes()))
    paddock.check_in("going", "red", "pre", -2_000)
    file = {"name": "P1.jpg", "size": 30, "media_type": "image/jpeg", "sha256": "00" * 32, "key": key, "parts": 3}
    paddock.did("/attachments/lost/declare", -1 - TIME_TO_COME / timedelta(minutes=1), {**file, "booking_id": "going"})
    with reacting(settings):
        assert happened(settings, "attachments.abandoned.v1")
        wait_until_reacted(settings)
    assert ids(read_log(house.settings), AttachmentAbandoned) == {"lost": 1}
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_parts_that_a_killed_upload_left_beside_its_file_are_thrown_away(
    house: House, paddock: Paddock, tmp_path: Path
) -> None:
    settings = house.settings.model_copy(update={"objects": str(tmp_path)})
    key = new_key(paddock.staff.tenant)
    for name in (key, part_of(key, 1)):
        asyncio.run(Objects(settings).put(name, _some_bytes()))
    paddock.check_in("going", "red", "pre", -20)
    found = {"size": 10, "media_type": "image/jpeg", "sha256": "00" * 32}
    paddock.did(
        "/attachments/photo/declare", 0, found | {"name": "P1.jpg", "key": key, "parts": 1, "booking_id": "going"}
    )
    paddock.did("/attachments/photo/complete", 0, found)
    with reacting(settings):
        wait_until_reacted(settings)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == [key]


async def _some_bytes() -> AsyncIterator[bytes]:
    yield b"ten bytes."
