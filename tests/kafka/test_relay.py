"""The relay publishes every fact and every row, once, in order, and says how far it is."""

from __future__ import annotations

from infra.settings import Settings
from tests.kafka.published import (
    assert_every_fact_once_and_in_order,
    assert_topics_equal_tables,
    facts,
    relaying,
    wait_until_published,
)
from tests.views.house import House, head, wait_until_folded


def test_what_is_asked_is_published(house: House, settings: Settings) -> None:
    office = house.office()
    with relaying(settings):
        office.ask("/trucks/truck-7/register", {"number": "7", "plate": "LJ 7"})
        wait_until_folded(settings)
        record = wait_until_published(settings)
    assert record.log == head(settings)
    assert_every_fact_once_and_in_order(settings)
    assert_topics_equal_tables(settings)
    [registered] = [one for one in facts(settings) if one.attributes["type"] == "trucks.registered.v1"]
    assert registered.value == {"number": "7", "plate": "LJ 7", "capacity_m3": None, "net_capacity_m3": None}
