"""The reactor: what follows from facts follows once, is put on record where it is refused, and is left out where it fails."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import psycopg
import pytest

from commands.kernel import Ask, Reaction
from commands.trips.trucks import ActivateTruck, DeactivateTruck
from domain.kernel import ReactionRefused, Recorded
from domain.trips.trucks import TRUCKS, TruckRegistered
from infra import reactor as reactor_module
from infra.log import desk as desk_module
from infra.operate import parked, resume, status
from infra.reactor import LEASE
from tests.conftest import NEIGHBOUR
from tests.views.house import House, Person, head, process, rows_of, superuser, wait_for, wait_until_folded
from tests.views.memory import assert_tables_are_the_folds, read_log
from tests.views.test_forgetting import reacting, wait_until_reacted

POISON = "13"
Then = Callable[[Recorded[Any], Any], Iterable[Any]]


def when_registered(then: Then) -> list[Reaction]:
    """Return a reaction to trucks that are registered."""
    return [Reaction("greet", TRUCKS, TruckRegistered, "trips", then)]


def deactivate(happened: Recorded[TruckRegistered], rows: Any) -> Iterator[Ask]:
    """Take every new truck out of service, as its row says."""
    [row] = list(rows("trucks", ("id", "=", happened.id)))
    yield Ask(TRUCKS, row["id"], DeactivateTruck())


def register(person: Person, id: str, number: str | None = None) -> int:
    """Register a truck; return the position of the fact that says so."""
    return int(person.ask(f"/trucks/{id}/register", {"number": number or id, "plate": id})["position"]) - 2


def facts_of(house: House, id: str) -> list[Recorded[Any]]:
    """Return the facts of a truck."""
    return [one for one in read_log(house.settings) if (one.stream, one.id) == ("trucks", id)]


def from_the_beginning(house: House) -> None:
    """Let the reactor forget how far it has come."""
    rows_of(house.settings.need("projector_url"), "update fieldlog.bookmarks set position = 0 where name = 'reactor'")


def test_what_follows_is_asked_once_with_its_cause_however_often_it_is_followed(house: House) -> None:
    office = house.office()
    cause = register(office, "T1")
    for _ in range(2):
        with reacting(house.settings, when_registered(deactivate), []):
            wait_until_reacted(house.settings)
        from_the_beginning(house)
    registered, deactivated = facts_of(house, "T1")
    assert registered.position == cause
    assert type(deactivated.fact).__name__ == "TruckDeactivated"
    office.position = head(house.settings)
    [first, second] = office.see("/log?stream=trucks&id=T1")["items"]
    assert second["envelope"]["causation_id"] == first["command_id"]
    assert second["envelope"]["correlation_id"] == first["envelope"].get("correlation_id")
    assert second["envelope"]["roles"] == ["system"]
    assert office.see("/trucks/T1")["status"] == "inactive"


@pytest.mark.parametrize(
    ("asked", "refusal"),
    [
        (Ask(TRUCKS, "none", ActivateTruck()), "NoSuchRecordError"),
        (Ask(TRUCKS, "held", DeactivateTruck()), "TruckOnTheRoad"),
    ],
)
def test_a_refusal_is_put_on_record_once_where_its_cause_is(house: House, asked: Ask, refusal: str) -> None:
    office = house.office()
    office.ask("/trucks/held/register", {"number": "held", "plate": "held"})
    office.ask("/drivers/D1/register", {"name": "D1", "user": "user-D1"})
    office.ask("/drivers/D1/go-on-duty")
    office.ask("/trips/trip/schedule", {"driver_id": "D1", "truck_id": "held", "date": "2026-11-20"})
    office.ask("/trips/trip/start")
    cause = register(office, "T1")
    for _ in range(2):
        with reacting(house.settings, when_registered(lambda *_: [asked]), []):
            wait_until_reacted(house.settings)
        from_the_beginning(house)
    noted = [one.fact for one in facts_of(house, "T1") if isinstance(one.fact, ReactionRefused)]
    assert noted == [ReactionRefused(reaction="greet", refusal=refusal, cause=cause, stream="trucks", id=asked.id)]
    office.position = head(house.settings)
    [fact] = office.see("/log?type=fieldlog.reaction-refused.v1&id=T1")["items"]
    assert fact["data"]["refusal"] == refusal
    wait_until_folded(house.settings)
    assert_tables_are_the_folds(house.settings)


def test_what_fails_is_left_out_and_followed_later_while_others_go_on(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactor_module, "PAUSE_S", 0.01)
    office, neighbour, broken = house.office(), house.office(NEIGHBOUR), [True]

    def stumble(happened: Recorded[TruckRegistered], rows: Any) -> Iterator[Ask]:
        if broken[0] and happened.fact.number == POISON:
            raise ZeroDivisionError("thirteen")
        yield from deactivate(happened, rows)

    with reacting(house.settings, when_registered(stumble), []):
        cause = register(office, "T1", POISON)
        register(neighbour, "T2")
        register(office, "T3")
        wait_until_reacted(house.settings)
        assert [len(facts_of(house, id)) for id in ("T1", "T2", "T3")] == [1, 2, 2]
        [left_out] = parked(house.settings)
        assert (left_out["of"], left_out["position"], left_out["tenant"]) == ("greet", cause, str(office.tenant))
        assert left_out["error"] == "ZeroDivisionError: thirteen"
        assert status(house.settings)["reactor"] == {"position": head(house.settings), "parked_causes": 1}
        broken[0] = False
        assert resume(house.settings) == 1
        wait_for(
            house.settings.need("projector_url"),
            lambda connection: not connection.execute("select from fieldlog.parked_causes").fetchall(),
        )
    assert len(facts_of(house, "T1")) == 2


def test_a_log_that_does_not_answer_is_waited_for_and_nothing_is_left_out(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactor_module, "PAUSE_S", 0.01)
    monkeypatch.setattr(desk_module, "PATIENCE_S", 0.1)
    office, tried = house.office(), threading.Semaphore(0)

    def counted(happened: Recorded[TruckRegistered], rows: Any) -> Iterator[Ask]:
        tried.release()
        yield from deactivate(happened, rows)

    register(office, "T1")
    with psycopg.connect(house.settings.need("writer_url")) as other:
        other.execute("select pg_advisory_xact_lock(7305210331)")  # that of every append
        with reacting(house.settings, when_registered(counted), []):
            try:
                for _ in range(2 * reactor_module.TRIES):
                    assert tried.acquire(timeout=10), "it does not try again"
            finally:
                other.rollback()
            wait_until_reacted(house.settings)
    assert parked(house.settings) == []
    assert len(facts_of(house, "T1")) == 2


def test_a_second_reactor_stands_by_and_takes_over_when_the_first_is_killed(house: House) -> None:
    office = house.office()
    holder = "select pid from pg_locks where locktype = 'advisory' and classid = %s and granted"
    sessions = "select count(distinct pid) from pg_stat_activity where application_name = 'fieldlog reactor'"
    with process(house.settings, "reactor") as first:
        register(office, "T1")
        wait_until_reacted(house.settings)
        before = rows_of(house.settings.need("projector_url"), holder, [LEASE])
        with reacting(house.settings, when_registered(deactivate), []):
            wait_for(superuser(house.settings), lambda connection: connection.execute(sessions).fetchone() == (2,))
            register(office, "T2")
            wait_until_reacted(house.settings)
            assert rows_of(house.settings.need("projector_url"), holder, [LEASE]) == before
            first.kill()
            register(office, "T3")
            wait_until_reacted(house.settings)
    assert [len(facts_of(house, id)) for id in ("T1", "T2", "T3")] == [1, 1, 2]
