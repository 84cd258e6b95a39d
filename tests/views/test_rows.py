"""Rows: what stands in the tables is what the folds make of the log, however it came about."""

from __future__ import annotations

import psycopg

from infra.views.builds import make_build
from projections.catalog import CONTEXTS
from tests.conftest import NEIGHBOUR, TENANT
from tests.views.haulage import Day, Load
from tests.views.house import House, seeded, wait_for, wait_until_folded
from tests.views.memory import (
    assert_history_is_whole,
    assert_tables_are_the_folds,
    rows_in_tables,
)


def test_live_tables_are_the_folds_in_memory_and_those_of_a_rebuild(house: House) -> None:
    day = Day(house.office())
    day.whole()
    day.ask("/drivers/D2/disable-tracking", minute=180)  # a row is gone
    Day(house.office(NEIGHBOUR)).begin()
    for tenant in (TENANT, NEIGHBOUR):
        load = Load(house.office(tenant), seeded(), "L-")
        load.begin()
        load.steps(60)
    wait_until_folded(house.settings)

    assert_tables_are_the_folds(house.settings)
    assert_history_is_whole(house.settings)

    live = {name: rows_in_tables(house.settings, context) for name, context in CONTEXTS.items()}
    assert {view for view, _, _ in live["trips"]} == {view.name for view in CONTEXTS["trips"].views}, "a view is empty"
    with psycopg.connect(house.settings.need("database_url"), autocommit=True) as owner:
        rebuilt = {name: make_build(owner, context) for name, context in CONTEXTS.items()}
    wait_for(
        house.settings.need("projector_url"),
        lambda connection: connection.execute(
            "select true from fieldlog.views v join fieldlog.builds b using (build) having count(b.switched_at) = %s",
            [len(rebuilt)],
        ).fetchone(),
    )
    for name, context in CONTEXTS.items():
        assert rows_in_tables(house.settings, context, rebuilt[name]) == live[name]
