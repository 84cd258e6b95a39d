"""Rebuilding: a new version of a view is folded beside the one that is served, and readers change over at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import psycopg
import pytest

from domain.kernel import Recorded
from domain.trips.trucks import TRUCKS, TruckRegistered
from infra.settings import Settings
from infra.views.builds import drop_old_builds, ensure_builds
from projections.catalog import CONTEXTS
from projections.kernel import Context, Look
from projections.trips.trucks import TruckRow, registered
from tests.conftest import NEIGHBOUR
from tests.views.haulage import Day
from tests.views.house import (
    House,
    Person,
    environment,
    meanwhile,
    projecting,
    rows_of,
    served_build,
    serving,
    wait_for,
    wait_until_folded,
)
from tests.views.memory import assert_history_is_whole, assert_tables_are_the_folds, rows_in_tables
from tests.views.watch import watching

REPLACED = "another version of the view is served"


@pytest.fixture
def house(settings: Settings) -> Iterator[House]:
    """A house without a projector."""
    with serving(settings) as house:
        yield house


def loudly(truck: TruckRow | None, happened: Recorded[TruckRegistered], look: Look) -> TruckRow:
    """Fold a truck with its plate in capitals."""
    known = registered(truck, happened, look)
    return replace(known, plate=known.plate.upper())


def next_version() -> list[Context]:
    """Return the contexts after a change of a fold, for which the version was raised."""
    views = [
        replace(view, folds={**view.folds, TRUCKS: {**view.folds[TRUCKS], TruckRegistered: loudly}})
        if view.name == "trucks"
        else view
        for view in CONTEXTS["trips"].views
    ]
    others = [context for name, context in CONTEXTS.items() if name != "trips"]
    return [*others, Context("trips", CONTEXTS["trips"].version + 1, views)]


@contextmanager
def owner(settings: Settings) -> Iterator[psycopg.Connection[Any]]:
    """Log in as the owner, as a migration does."""
    with psycopg.connect(settings.need("database_url"), autocommit=True) as connection:
        yield connection


def register(person: Person, id: str) -> None:
    """Register a truck with a plate in small letters."""
    person.ask(f"/trucks/{id}/register", {"number": id, "plate": f"lj {id.lower()}"})


def plates(person: Person) -> list[str]:
    """The plates that somebody sees."""
    return [truck["plate"] for truck in person.whole("/trucks")]


def builds(settings: Settings) -> list[int]:
    """The builds of trips that there are."""
    statement = "select build from fieldlog.builds where context = 'trips' order by build"
    return [build for (build,) in rows_of(settings.need("projector_url"), statement)]


def wait_until_served(settings: Settings, build: int) -> None:
    """Wait until readers see a build."""
    wait_for(
        settings.need("projector_url"),
        lambda connection: connection.execute("select true from fieldlog.views where build = %s", [build]).fetchone(),
    )


def test_a_raised_version_is_built_beside_and_served_when_it_is_there(house: House) -> None:
    settings, office = house.settings, house.office()
    with projecting(settings):
        register(office, "T1")
        wait_until_folded(settings)
    old = served_build(settings)
    with owner(settings) as connection:
        [made] = ensure_builds(connection, next_version())
        assert ensure_builds(connection, next_version()) == []
    new = int(made.rpartition("_")[2])
    assert served_build(settings) == old
    assert plates(office) == ["lj t1"], "readers saw a build that is not there yet"
    before = office.get("/trucks")
    with watching(office, view="trucks") as live, watching(office, view=["drivers", "sites"]) as other:
        with projecting(settings, next_version()):
            wait_until_served(settings, new)
            [reset] = list(live.events())
            assert (reset.kind, reset.data) == ("reset", {"view": "trucks", "reason": REPLACED})
            assert [event.kind for event in other.events()] == ["reset"]
            assert plates(office) == ["LJ T1"]
            after = office.get("/trucks", if_none_match=before.headers["etag"])
            assert after.status_code == 200, "another version passes for the same answer"
            register(office, "T2")
            office.see("/trucks")
            assert plates(office) == ["LJ T1", "LJ T2"]
            places = dict(rows_of(settings.need("projector_url"), "select build, position from fieldlog.builds"))
            assert places[old] < places[new], "the former version was folded by the code of the next one"
        with watching(office, before.headers["event-id"], view="trucks") as stale:
            assert [event.kind for event in stale.events()] == ["reset"]
        with watching(office, office.get("/trucks").headers["event-id"], view="trucks") as fresh:
            assert fresh.ready.keys() == {"trucks"}
    assert [build for build in builds(settings) if build >= old] == [old, new]


def test_the_former_build_is_folded_until_it_is_dropped_and_readers_do_not_notice(house: House) -> None:
    settings, office = house.settings, house.office()
    with projecting(settings), projecting(settings, next_version()):
        register(office, "T1")
        wait_until_folded(settings)
        old = served_build(settings)
        with owner(settings) as connection:
            [made] = ensure_builds(connection, next_version())
            new = int(made.rpartition("_")[2])
            wait_until_served(settings, new)
            register(office, "T2")
            wait_until_folded(settings)
            contexts = {context.name: context for context in next_version()}
            former = rows_in_tables(settings, contexts["trips"], f"trips_{old}")
            assert [key for view, _, key in former if view == "trucks"] == [("T1",), ("T2",)]
            assert drop_old_builds(connection, 3_600) == [], "dropped before its grace time was over"

            def read() -> None:
                answer = office.read.get("/trucks")
                assert answer.status_code == httpx.codes.OK, answer.text

            with meanwhile(read):
                assert drop_old_builds(connection, 0) == [f"trips_{old}"]
                register(office, "T3")
                wait_until_folded(settings)
        assert builds(settings) == [new]
        assert plates(office) == ["LJ T1", "LJ T2", "LJ T3"]


def test_a_rebuild_from_the_command_line_gives_the_same_rows_while_work_goes_on(house: House) -> None:
    settings = house.settings.model_copy(update={"grace_seconds": 0.0})
    office, neighbour = house.office(), house.office(NEIGHBOUR)
    with projecting(settings):
        Day(neighbour).whole()
        wait_until_folded(settings)
        old, numbers = served_build(settings), iter(range(10_000))

        def work() -> None:
            register(office, f"T{next(numbers)}")
            assert neighbour.see("/trips/good")["status"] == "completed"

        with watching(neighbour, view="trips") as live:
            with meanwhile(work):
                ran = subprocess.run(
                    [sys.executable, "-m", "infra", "rebuild", "trucks"],
                    env=environment(settings),
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )
            assert ran.returncode == 0, ran.stderr
            assert [event.kind for event in live.events()] == ["reset"]
        assert f"Dropped: trips_{old}" in ran.stdout
        assert served_build(settings) > old
        assert builds(settings) == [served_build(settings)]
        wait_until_folded(settings)
        assert_tables_are_the_folds(settings)
        assert_history_is_whole(settings)


def test_a_view_that_does_not_exist_is_not_rebuilt(settings: Settings) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "infra", "rebuild", "moon"],
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 2
    assert "there is no view moon" in ran.stderr
    assert builds(settings) == [served_build(settings)]
