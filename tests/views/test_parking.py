"""Facts that cannot be folded: they stop their own organisation, at their own place, until the cause is mended."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from domain.kernel import Recorded
from domain.trips.trucks import TRUCKS, TruckRegistered
from infra.log.batcher import Answer, Append, Batcher, Lineage, NewFact, Read
from infra.log.identity import random_command_id, stream_key
from infra.operate import parked, resume
from infra.settings import Settings
from projections.catalog import CONTEXTS
from projections.kernel import Context, Look
from projections.trips.trucks import TruckRow, registered
from tests.conftest import NEIGHBOUR, TENANT
from tests.views.house import House, Person, environment, projecting, rows_of, serving, wait_for, wait_until_folded
from tests.views.memory import assert_history_is_whole, assert_tables_are_the_folds
from tests.views.watch import watching

POISON = "13"
Change = Callable[..., TruckRow]


@pytest.fixture
def house(settings: Settings) -> Iterator[House]:
    """A house without a projector, in which nobody waits long for a position."""
    with serving(settings.model_copy(update={"position_wait_seconds": 0.2})) as house:
        yield house


def append(settings: Settings, tenant: UUID, stream: str, id: str, topic: str, state: bytes) -> int:
    """Put one fact into the log that no command could; return its position."""

    async def put() -> int:
        batcher, key = Batcher(settings.need("writer_url")), stream_key(tenant, stream, id)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        fact = NewFact(key, topic, state, b'{"command":"x","actor":"x"}', datetime.now(UTC))
        batcher.put(Append(random_command_id(), (Read(key, 0, Lineage()),), [fact], answer))
        position = (await answer).position
        await batcher.stop()
        return position

    return asyncio.run(put())


def stumbling(change: Change) -> list[Context]:
    """Return the contexts with a fold that does something else with trucks of the number 13."""

    def fold(truck: TruckRow | None, happened: Recorded[TruckRegistered], look: Look) -> TruckRow:
        return (change if happened.fact.number == POISON else registered)(truck, happened, look)

    def replaced(context: Context) -> Context:
        views = [
            replace(view, folds={**view.folds, TRUCKS: {**view.folds[TRUCKS], TruckRegistered: fold}})
            if view.name == "trucks"
            else view
            for view in context.views
        ]
        return Context(context.name, context.version, views)

    return [replaced(context) for context in CONTEXTS.values()]


def fails(*_: Any) -> TruckRow:
    """Fold nothing."""
    raise ZeroDivisionError("thirteen")


def flying(*known: Any) -> TruckRow:
    """Fold a truck with a status that no table takes."""
    return replace(registered(*known), status="flying")  # type: ignore[arg-type]


def register(person: Person, id: str, number: str | None = None) -> int:
    """Register a truck; return the position of its last fact."""
    return int(person.ask(f"/trucks/{id}/register", {"number": number or id, "plate": id})["position"])


def trucks(person: Person) -> list[str]:
    """The trucks that somebody sees, as of now."""
    return [truck["id"] for truck in person.read.get("/trucks").json()["items"]]


def wait_until_nothing_is_parked(settings: Settings) -> None:
    """Wait until every parked organisation has caught up."""
    wait_for(
        settings.need("projector_url"),
        lambda connection: not connection.execute("select from fieldlog.parked").fetchall(),
    )


def test_a_fact_that_cannot_be_read_parks_its_organisation_and_nobody_else(house: House) -> None:
    ours, theirs = house.office(), house.office(NEIGHBOUR)
    register(ours, "T1")
    poison = append(house.settings, TENANT, "trips", "odd", "trips.started.v1", b'{"odometer_km":"far"}')
    register(ours, "T2")
    register(theirs, "T3")
    with projecting(house.settings):
        wait_until_folded(house.settings)
        seen = ours.read.get("/trucks")
        assert [truck["id"] for truck in seen.json()["items"]] == ["T1"]
        assert int(seen.headers["position"]) == poison - 1
        assert trucks(theirs) == ["T3"]
        assert theirs.get("/trucks").status_code == 200
        register(theirs, "T4")
        assert [truck["id"] for truck in theirs.see("/trucks")["items"]] == ["T3", "T4"]
        lagging = ours.get("/trucks")
        assert (lagging.status_code, lagging.json()["code"]) == (503, "lagging")
        assert lagging.json()["position"] == poison - 1
        [left_out] = parked(house.settings)
        assert (left_out["of"], left_out["tenant"], left_out["position"]) == ("trips", str(TENANT), poison)
        assert left_out["type"] == "trips.started.v1"
        assert ours.get(f"/tenants/{TENANT}").status_code == 200, "another context stopped too"
        found = {view["context"]: view["parked_at"] for view in ours.see("/views")["items"]}
        assert found == {**dict.fromkeys(CONTEXTS), "trips": poison}
        assert {view["parked_at"] for view in theirs.see("/views")["items"]} == {None}


@pytest.mark.parametrize(
    "change",
    [
        fails,
        lambda *known: replace(registered(*known), version=2**63),
        lambda *known: replace(registered(*known), plate="\0"),
        lambda *known: replace(registered(*known), plate=None),
        flying,
    ],
    ids=["a fold that fails", "a number too large", "a character too many", "a value missing", "a value unknown"],
)
def test_what_cannot_be_folded_or_written_is_parked_and_the_others_flow_on(house: House, change: Change) -> None:
    ours, theirs = house.office(), house.office(NEIGHBOUR)
    with projecting(house.settings, stumbling(change)):
        register(theirs, "T1")
        register(ours, "T2")
        poison = register(ours, "T3", POISON) - 2
        register(ours, "T4")
        register(theirs, "T5")
        wait_until_folded(house.settings)
        assert trucks(ours) == ["T2"]
        assert trucks(theirs) == ["T1", "T5"]
    assert [one["position"] for one in parked(house.settings)] == [poison]


def test_what_was_parked_catches_up_once_it_is_mended_and_resumed(house: House) -> None:
    ours, theirs = house.office(), house.office(NEIGHBOUR)
    register(ours, "T1")
    with projecting(house.settings, stumbling(fails)):
        register(ours, "T2", POISON)
        register(ours, "T3")
        wait_until_folded(house.settings)
        assert resume(house.settings) == 1
        register(theirs, "T4")
        wait_until_folded(house.settings)
        assert len(parked(house.settings)) == 1, "it cannot be folded yet"
    with projecting(house.settings):
        register(theirs, "T5")
        wait_until_folded(house.settings)
        assert trucks(ours) == ["T1"], "nobody has asked for it to be tried again"
        said = subprocess.run(
            [sys.executable, "-m", "infra", "parked", "--resume"],
            env=environment(house.settings),
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        assert "1 will be tried again" in said.stdout
        wait_until_nothing_is_parked(house.settings)
        assert [truck["id"] for truck in ours.see("/trucks")["items"]] == ["T2", "T1", "T3"]
        register(ours, "T6")
        wait_until_folded(house.settings)
        assert_tables_are_the_folds(house.settings)
        assert_history_is_whole(house.settings)


def test_what_still_cannot_be_written_stays_parked_and_the_others_flow_on(house: House) -> None:
    ours, theirs = house.office(), house.office(NEIGHBOUR)
    with projecting(house.settings, stumbling(flying)):
        register(ours, "T1", POISON)
        wait_until_folded(house.settings)
        resume(house.settings)
        register(theirs, "T2")
        wait_until_folded(house.settings)
        wait_for(
            house.settings.need("projector_url"),
            lambda connection: connection.execute("select true from fieldlog.parked where not resume").fetchone(),
        )
        assert trucks(theirs) == ["T2"]
    with projecting(house.settings):
        resume(house.settings)
        wait_until_nothing_is_parked(house.settings)
        register(ours, "T3")
        wait_until_folded(house.settings)
        assert_tables_are_the_folds(house.settings)


def test_a_request_to_resume_is_heard_by_the_projector_that_starts_after_it(house: House) -> None:
    ours = house.office()
    with projecting(house.settings, stumbling(fails)):
        register(ours, "T1", POISON)
        wait_until_folded(house.settings)
    resume(house.settings)
    with projecting(house.settings):
        register(ours, "T2")
        wait_until_folded(house.settings)
        wait_until_nothing_is_parked(house.settings)
        assert_tables_are_the_folds(house.settings)


def test_what_was_parked_in_the_newest_batch_can_be_resumed_before_the_next_one(house: House) -> None:
    ours = house.office()
    register(ours, "T1")
    register(ours, "T2", POISON)
    ours.ask("/trucks/T1/deactivate")
    with projecting(house.settings, stumbling(fails)):  # one batch: T1 has changed in it, and changes again below
        wait_until_folded(house.settings)
    with projecting(house.settings):
        resume(house.settings)
        wait_until_nothing_is_parked(house.settings)
        assert_tables_are_the_folds(house.settings)
        assert_history_is_whole(house.settings)


def test_who_watches_a_parked_organisation_gets_no_row_twice(house: House) -> None:
    ours, theirs = house.office(), house.office(NEIGHBOUR)
    before = register(ours, "T1")
    with projecting(house.settings):
        wait_until_folded(house.settings)
    ours.ask("/trucks/T1/deactivate")
    register(ours, "T2", POISON)
    with watching(ours, view="trucks", after=before) as live, projecting(house.settings, stumbling(fails)):
        [row] = live.until(lambda event: event.kind == "row")
        assert row.data["row"]["status"] == "inactive"
        for id in ("T3", "T4"):
            register(theirs, id)
            wait_until_folded(house.settings)
    with projecting(house.settings), watching(ours, view="trucks", last_event_id=live.last_id) as live:
        register(theirs, "T5")
        wait_until_folded(house.settings)
        resume(house.settings)
        events = live.until(lambda event: event.data.get("key") == "T2")
    assert [event.data["key"] for event in events] == ["T2"]


def test_rows_of_parked_facts_reach_those_who_watch_once_they_are_folded(house: House) -> None:
    ours, theirs = house.office(), house.office(NEIGHBOUR)
    with projecting(house.settings, stumbling(fails)):
        register(ours, "T1", POISON)
        register(ours, "T2")
        wait_until_folded(house.settings)
    with projecting(house.settings), watching(ours, view="trucks") as live:
        register(theirs, "T3")
        wait_until_folded(house.settings)
        resume(house.settings)
        events = live.until(lambda event: event.data.get("key") == "T2")
    assert [event.data["key"] for event in events] == ["T1", "T2"]
    assert rows_of(house.settings.need("projector_url"), "select from fieldlog.parked") == []
