"""Forgetting: raw fixes that were kept long enough become simplified tracks, once, and then nobody can read them any more."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from commands.kernel import Reaction, Timer
from commands.reactions import TIMERS, reactions
from domain.kernel import ERASED, Recorded
from domain.trips.track import LocationsRecorded, TrackCondensed
from infra.reactor import Reactor
from infra.settings import Settings
from tests.conftest import NEIGHBOUR, TENANT
from tests.views.haulage import DEPOT, LANDFILL, QUARRY, Day, drive
from tests.views.house import (
    House,
    head,
    open_house,
    process,
    projecting,
    rows_of,
    superuser,
    wait_for,
    wait_until_folded,
    wake,
)
from tests.views.memory import assert_history_is_whole, assert_tables_are_the_folds, read_log
from tests.views.past import LONG_AGO, OldDay, past
from tests.views.watch import watching

TRACKS = {("trips", "good"), ("trips", "open"), ("driver-days", f"D1.{LONG_AGO.date()}")}
DESTROYED = """select coalesce(array_agg(distinct day) filter (where wrapped is null), '{}'),
                      coalesce(array_agg(distinct day) filter (where wrapped is not null), '{}')
                 from fieldlog.keys where tenant_id = %s and day is not null"""


@contextmanager
def reacting(
    settings: Settings, following: Iterable[Reaction] | None = None, timers: Iterable[Timer] = TIMERS
) -> Iterator[Reactor]:
    """Run a reactor in a thread."""
    reactor = Reactor(settings, reactions() if following is None else following, timers)
    thread = threading.Thread(target=lambda: asyncio.run(reactor.run()), name="reactor")
    thread.start()
    try:
        yield reactor
    finally:
        reactor.stop()
        wake(settings)
        thread.join()


def wait_until_reacted(settings: Settings, position: int | None = None) -> None:
    """Wait until the reactor has come to a position; to the head of the log, if none is named."""
    wanted = head(settings) if position is None else position
    wait_for(
        settings.need("projector_url"),
        lambda connection: connection.execute(
            "select true from fieldlog.bookmarks where name = 'reactor' and position >= %s", [wanted]
        ).fetchone(),
    )


def wait_until_forgotten(settings: Settings, tenant: UUID = TENANT, day: date = LONG_AGO.date()) -> None:
    """Wait until no key of the old day (or another one) is left, and the views know."""
    wait_for(
        settings.need("projector_url"),
        lambda connection: (
            connection.execute(
                "select not exists (select from fieldlog.keys where tenant_id = %s and day <= %s and wrapped is not null)",
                [tenant, day],
            ).fetchone()
            == (True,)
        ),
    )
    wait_until_folded(settings)


def condensed(facts: Sequence[Recorded[Any]], tenant: UUID = TENANT) -> Counter[tuple[str, str]]:
    """Count how often each track was condensed."""
    return Counter(
        (one.stream, one.id) for one in facts if isinstance(one.fact, TrackCondensed) and one.tenant == tenant
    )


def expire(settings: Settings, *tenants: UUID) -> int:
    """Let the fixes of the old day expire; return the position of the last fact."""
    position = 0
    for tenant in tenants:
        with past(settings, tenant, datetime.now(UTC)) as office:
            body = {"through": LONG_AGO.date().isoformat()}
            position = office.ask(f"/tenants/{tenant}/expire-fixes", body)["position"]
    return position


def dwells(house: House) -> dict[str, Any]:
    """Return everything there is to say about standing still."""
    office = house.office()
    office.position = head(house.settings)
    return {
        by: sorted((str(one["key"]), one["seconds"]) for one in office.see(f"/dwell?by={by}")["items"])
        for by in ("trip", "day", "driver", "truck", "site")
    }


def test_a_timer_lets_old_fixes_be_forgotten_and_keeps_what_they_amounted_to(settings: Settings) -> None:
    with past(settings) as office:
        OldDay(office).whole()
    with open_house(settings) as house:
        young = Day(house.office(), datetime.now(UTC).replace(microsecond=0) - timedelta(hours=3))
        young.schedule("young", "D1", "T1")
        young.ask("/trips/young/start", minute=10)
        young.fixes("young", drive(young.at(10), DEPOT, QUARRY, 24), 60)
        wait_until_folded(settings)
        before, watcher = dwells(house), house.office()
        trips = {trip["id"]: trip for trip in watcher.whole("/trips")}
        track = watcher.see("/trips/good/track?fixes=all")["features"]
        with watching(watcher, view="locations", locations__driver="D2") as live, process(settings, "reactor"):
            wait_until_forgotten(settings)
            gone = next(live.events())
        assert (gone.kind, gone.data["key"]) == ("gone", "D2")
        facts = read_log(settings)
        assert condensed(facts) == Counter(TRACKS)
        [expired] = [one for one in facts if type(one.fact).__name__ == "FixesExpired"]
        assert expired.fact.through == LONG_AGO.date()
        [(destroyed, kept)] = rows_of(settings.need("projector_url"), DESTROYED, [TENANT])
        assert (destroyed, kept) == ([LONG_AGO.date()], [datetime.now(UTC).date()])
        assert_old_fixes_are_erased(facts)
        assert dwells(house) == before
        after = {trip["id"]: trip for trip in house.office().whole("/trips")}
        assert {id: _numbers(trip) for id, trip in after.items()} == {id: _numbers(trip) for id, trip in trips.items()}
        office_now = house.office()
        office_now.position = head(settings)
        [line] = office_now.see("/trips/good/track?fixes=all")["features"]
        assert 2 <= len(line["geometry"]["coordinates"]) < 24
        ends = track[0]["geometry"]["coordinates"]
        assert line["geometry"]["coordinates"][0] == ends[0]
        assert len(office_now.see("/trips/young/track")["features"]) == 25
        assert_nothing_remembers(settings, track, line)
        assert_tables_are_the_folds(settings)
        assert_history_is_whole(settings)


def _numbers(trip: dict[str, Any]) -> tuple[Any, ...]:
    return trip["distance_km"], trip["dwell_seconds"], trip["fixes"], trip["fixes_rejected"]


def assert_old_fixes_are_erased(facts: Sequence[Recorded[Any]]) -> None:
    """Check that nobody can read the old fixes in the log, and everybody those of today."""
    batches = [one.fact for one in facts if isinstance(one.fact, LocationsRecorded)]
    assert {fact.fixes is ERASED for fact in batches if fact.arrived == LONG_AGO.date()} == {True}
    assert {fact.fixes is ERASED for fact in batches if fact.arrived > LONG_AGO.date()} == {False}


def assert_nothing_remembers(settings: Settings, track: Sequence[dict[str, Any]], line: dict[str, Any]) -> None:
    """Check that no table holds a raw fix that the simplified track does not have."""
    kept = {tuple(place) for place in line["geometry"]["coordinates"]} | {LANDFILL[::-1], DEPOT[::-1]}
    raw = {tuple(one["geometry"]["coordinates"]) for one in track[1:]} - kept
    assert len(raw) > 10
    schemas = rows_of(settings.need("projector_url"), "select context || '_' || build from fieldlog.views")
    for (schema,) in schemas:
        for (table,) in rows_of(
            settings.need("projector_url"), "select tablename from pg_tables where schemaname = %s", [schema]
        ):
            text = str(rows_of(settings.need("projector_url"), f'select t::text from {schema}."{table}" t'))
            assert not [place for place in raw if repr(place[1]) in text], table


class KilledError(BaseException):
    """The reactor's end, as sudden as a power cut between two of its steps."""


def mortal(kills: dict[UUID, int]) -> list[Reaction]:
    """Return the reactions, which the first time kill their reactor after so many steps for an organisation."""
    [reaction] = [one for one in reactions() if one.name == "condense-tracks"]

    def then(happened: Recorded[Any], rows: Any) -> Iterator[Any]:
        steps = kills.pop(happened.tenant, None)
        for number, step in enumerate(reaction.then(happened, rows)):
            if number == steps:
                raise KilledError
            yield step
        if steps is not None:
            raise KilledError

    return [Reaction(reaction.name, reaction.stream, reaction.fact, reaction.context, then)]


def test_a_reactor_that_is_killed_between_any_two_steps_forgets_nothing_and_does_nothing_twice(
    settings: Settings,
) -> None:
    tenants = [UUID(int=TENANT.int + 100 + steps) for steps in range(len(TRACKS) + 2)]
    for tenant in tenants:
        with past(settings, tenant) as office:
            OldDay(office).whole()
    expire(settings, *tenants)
    reactions = mortal({tenant: steps for steps, tenant in enumerate(tenants)})
    with projecting(settings):
        for _ in tenants:
            with pytest.raises(KilledError):
                asyncio.run(Reactor(settings, reactions, []).run())
            wait_until_folded(settings)
        with reacting(settings, reactions, []):
            wait_until_reacted(settings)
            wait_until_folded(settings)
        facts = read_log(settings)
        for tenant in tenants:
            assert condensed(facts, tenant) == Counter(TRACKS), f"killed after {tenants.index(tenant)} steps"
            [(_, left)] = rows_of(settings.need("projector_url"), DESTROYED, [tenant])
            assert left == []
        assert_tables_are_the_folds(settings)


def test_a_reactor_that_is_stopped_while_it_waits_for_the_views_destroys_nothing(settings: Settings) -> None:
    with past(settings) as office:
        OldDay(office).whole()
    expire(settings, TENANT)
    waiting = "select true from pg_stat_activity where application_name = 'fieldlog reactor' and query like %s"
    with reacting(settings):
        wait_for(
            superuser(settings),
            lambda connection: connection.execute(waiting, ["%where v.context = %"]).fetchone(),
        )
    [(destroyed, _)] = rows_of(settings.need("projector_url"), DESTROYED, [TENANT])
    assert destroyed == [], "keys of tracks were destroyed of which nothing was kept"
    with projecting(settings), reacting(settings):
        wait_until_forgotten(settings)
        assert condensed(read_log(settings)) == Counter(TRACKS)


def test_days_that_are_due_at_the_same_moment_by_another_retention_are_forgotten_too(settings: Settings) -> None:
    later = LONG_AGO + timedelta(days=23)
    with past(settings) as office:
        OldDay(office).whole()
    with projecting(settings), reacting(settings):
        wait_until_forgotten(settings)
        with past(settings, now=later) as office:
            office.ask("/drivers/D1/record-locations", {"fixes": drive(later - timedelta(hours=1), DEPOT, QUARRY)})
            office.ask(f"/tenants/{TENANT}/set-retention", {"gps_days": 7})
        wait_until_forgotten(settings, day=later.date())


def test_the_fixes_of_a_neighbour_are_left_alone(settings: Settings) -> None:
    for tenant in (TENANT, NEIGHBOUR):
        with past(settings, tenant) as office:
            OldDay(office).whole()
    with past(settings, NEIGHBOUR, LONG_AGO) as office:
        office.ask(f"/tenants/{NEIGHBOUR}/set-retention", {"gps_days": 60})
    with projecting(settings), reacting(settings):
        wait_until_forgotten(settings)
        wait_until_reacted(settings)
        assert condensed(read_log(settings), NEIGHBOUR) == Counter()
        [(destroyed, kept)] = rows_of(settings.need("projector_url"), DESTROYED, [NEIGHBOUR])
        assert (destroyed, kept) == ([], [LONG_AGO.date()])
        assert_tables_are_the_folds(settings)
