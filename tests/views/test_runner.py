"""The runner: whatever happens to its process, its connections or its bookmark, no fact is lost and none counts twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from infra.settings import Settings
from projections.catalog import CONTEXTS
from tests.conftest import NEIGHBOUR
from tests.log.proxy import cutting
from tests.views.haulage import Day, Load
from tests.views.house import (
    House,
    Process,
    head,
    meanwhile,
    open_house,
    process,
    projecting,
    rows_of,
    seeded,
    served_build,
    serving,
    superuser,
    wait_for,
    wait_until_folded,
)
from tests.views.memory import assert_history_is_whole, assert_tables_are_the_folds, rows_in_tables

LEASES = "select objid::integer, pid from pg_locks where locktype = 'advisory' and classid = 730521 and granted"
SESSIONS = "select pid from pg_stat_activity where datname = current_database() and application_name like %s"
PROJECTORS = "fieldlog projector%"


@pytest.fixture
def house(settings: Settings) -> Iterator[House]:
    """A house without a projector."""
    with serving(settings) as house:
        yield house


def leases(settings: Settings) -> dict[int, int]:
    """Which session of the database holds which build's lease."""
    builds = {build for (build,) in rows_of(settings.need("projector_url"), "select build from fieldlog.builds")}
    sessions = {pid for (pid,) in rows_of(superuser(settings), SESSIONS, [PROJECTORS])}
    found = rows_of(settings.need("projector_url"), LEASES)
    return {build: pid for build, pid in found if build in builds and pid in sessions}


def wait_for_sessions(settings: Settings, at_least: int) -> None:
    """Wait until so many sessions of projectors are there."""
    wait_for(
        superuser(settings),
        lambda connection: len(connection.execute(SESSIONS, [PROJECTORS]).fetchall()) >= at_least,
    )


@contextmanager
def load(house: House, drivers: int = 3) -> Iterator[None]:
    """Let two organisations work meanwhile."""
    dice = seeded()
    loads = [Load(house.office(), dice), Load(house.office(NEIGHBOUR), dice)]
    for one in loads:
        one.begin(drivers)

    def step() -> None:
        dice.choice(loads).step()

    with meanwhile(step):
        yield


def assert_nothing_is_lost_or_repeated(settings: Settings) -> None:
    """Check rows and their history, once everything is folded."""
    wait_until_folded(settings)
    assert_tables_are_the_folds(settings)
    assert_history_is_whole(settings)


def test_a_second_projector_stands_by_and_takes_over_when_the_first_is_killed(house: House) -> None:
    settings, day = house.settings, Day(house.office())
    with process(settings) as first:
        day.begin()
        wait_until_folded(settings)
        before = leases(settings)
        assert len(before) == len(CONTEXTS)
        with projecting(settings):
            wait_for_sessions(settings, at_least=(3 + 2) * len(CONTEXTS))  # who works has three, who stands by two
            day.drive_well()
            wait_until_folded(settings)
            assert leases(settings) == before, "the lease moved though its holder lives"
            first.kill()
            day.drive_unpaid()
            assert_nothing_is_lost_or_repeated(settings)
            after = leases(settings)
    assert after.keys() == before.keys()
    assert not {*after.values()} & {*before.values()}


def killed_at_work(running: Process, settings: Settings, seconds: float) -> None:
    """Kill a projector a moment after it has begun to fold, and start it again."""
    positions = "select sum(position) from fieldlog.builds"
    [(before,)] = rows_of(settings.need("projector_url"), positions)
    wait_for(settings.need("projector_url"), lambda connection: connection.execute(positions).fetchone() > (before,))
    threading.Event().wait(seconds)
    running.kill()
    running.start()


def test_a_projector_that_is_killed_at_random_moments_loses_nothing_and_repeats_nothing(house: House) -> None:
    dice = seeded()
    with process(house.settings) as running:
        with load(house):
            for _ in range(4):
                killed_at_work(running, house.settings, dice.uniform(0, 0.2))
        assert_nothing_is_lost_or_repeated(house.settings)


def test_connections_cut_before_or_after_a_commit_lose_nothing_and_repeat_nothing(house: House) -> None:
    url = house.settings.need("projector_url")
    directory = str(conninfo_to_dict(url)["host"])
    with cutting(directory, one_in=60, seed=seeded().randrange(1_000)) as proxy:
        through = house.settings.model_copy(
            update={"projector_url": SecretStr(url.replace(directory, proxy.directory))}
        )
        with projecting(through), load(house):
            wait_for(url, lambda _: min(proxy.cut_before, proxy.cut_after) >= 4)
    with projecting(house.settings):
        assert_nothing_is_lost_or_repeated(house.settings)


def test_sessions_that_are_ended_by_the_server_lose_nothing_and_repeat_nothing(house: House) -> None:
    settings, end = house.settings, f"select pg_terminate_backend(pid) from ({SESSIONS}) s"
    with projecting(settings), load(house):
        for _ in range(3):
            wait_until_folded(settings)
            wait_for_sessions(settings, at_least=3 * len(CONTEXTS))
            assert rows_of(superuser(settings), end, [PROJECTORS])
    with projecting(settings):
        assert_nothing_is_lost_or_repeated(settings)


def test_a_runner_that_remembers_few_rows_folds_as_well(house: House) -> None:
    forgetful = house.settings.model_copy(update={"row_cache_rows": 4})
    with projecting(forgetful):
        with load(house):
            wait_for(house.settings.need("projector_url"), lambda _: head(house.settings) > 600)
        assert_nothing_is_lost_or_repeated(house.settings)


def test_a_runner_whose_bookmark_was_moved_writes_nothing_and_begins_anew(settings: Settings) -> None:
    with open_house(settings) as house:
        day = Day(house.office())
        day.begin()
        wait_until_folded(settings)
        build = served_build(settings)
        with psycopg.connect(settings.need("projector_url")) as other:
            [position] = other.execute(
                "select position from fieldlog.builds where build = %s for update", [build]
            ).fetchone() or [0]
            receipt = day.ask("/trucks/T9/register", {"number": "9", "plate": "LJ 9"})
            # Somebody else folds that, and has another opinion of a truck that our runner remembers.
            other.execute(f"update trips_{build}.trucks set plate = 'theirs' where id = 'T1'".encode())
            other.execute("select fieldlog.move_bookmark(%s, %s, %s)", [build, position, receipt["position"]])
        day.ask("/trucks/T1/send-to-maintenance", {"reason": "brakes"})
        wait_until_folded(settings)
        rows = rows_in_tables(settings, CONTEXTS["trips"])
    trucks = {key[0]: row for (view, _, key), row in rows.items() if view == "trucks"}
    assert "T9" not in trucks, "a fenced runner has written"
    assert (trucks["T1"].plate, trucks["T1"].status) == ("theirs", "maintenance"), "it believed what it remembered"
