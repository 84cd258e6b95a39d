"""What is published is as its schema says: every sample of a fact, and everything that is in a real log and in real views."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as some
from jsonschema import Draft202012Validator

from domain.kernel import fact
from infra.contract.schemas import Shapes, schemas
from infra.views.tables import encode
from projections.catalog import CONTEXTS
from tests.contract.validating import closed, wrong
from tests.house import samples
from tests.views.house import House, rows_of, served_schema, wait_until_folded

BASE = "https://example.org/schemas/"
SCHEMAS = schemas(BASE)
STORED_NAMES = sorted(samples.stored_names())
ENCRYPTED = [topic for topic in STORED_NAMES if "stored" in samples.read(topic)]


def of_fact(topic: str) -> dict[str, Any]:
    return SCHEMAS[f"facts/{topic}.json"]


def stored(topic: str) -> dict[str, Any]:
    """Return a sample as the log holds it."""
    sample = samples.read(topic)
    state: dict[str, Any] = json.loads(sample.get("stored", sample["state"]))
    return state


def test_every_fact_and_every_view_has_a_schema() -> None:
    views = {f"views/{view.name}.v{one.version}.json" for one in CONTEXTS.values() for view in one.views}
    assert SCHEMAS.keys() == {f"facts/{topic}.json" for topic in STORED_NAMES} | views


@pytest.mark.parametrize("path", SCHEMAS)
def test_a_schema_is_one_and_says_where_it_is(path: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[path])
    assert SCHEMAS[path]["$id"] == BASE + path
    assert all(part["description"] for part in (SCHEMAS[path], *SCHEMAS[path].get("$defs", {}).values()))


@pytest.mark.parametrize("topic", STORED_NAMES)
def test_what_was_stored_once_is_as_its_schema_says(topic: str) -> None:
    assert wrong(closed(of_fact(topic)), stored(topic)) == []


@pytest.mark.parametrize("topic", STORED_NAMES)
def test_facts_from_before_a_field_was_added_are_as_their_schema_says(topic: str) -> None:
    needed = {name: value for name, value in stored(topic).items() if name in of_fact(topic)["required"]}
    assert wrong(closed(of_fact(topic)), needed) == []


@pytest.mark.parametrize("topic", STORED_NAMES)
def test_readers_tolerate_a_field_that_they_do_not_know_and_we_publish_none(topic: str) -> None:
    later = stored(topic) | {"came_later": 1}
    assert wrong(of_fact(topic), later) == []
    assert len(wrong(closed(of_fact(topic)), later)) == 1


@pytest.mark.parametrize("topic", ENCRYPTED)
def test_schemas_say_which_fields_are_encrypted(topic: str) -> None:
    plain = json.loads(samples.read(topic)["state"])
    encrypted = {name for name, value in stored(topic).items() if value != plain[name]}
    assert {name for name, one in of_fact(topic)["properties"].items() if "x-personal" in one} == encrypted


@pytest.mark.parametrize("topic", ENCRYPTED)
def test_personal_data_in_the_clear_is_not_as_the_schema_says(topic: str) -> None:
    assert wrong(of_fact(topic), json.loads(samples.read(topic)["state"]))


@pytest.mark.parametrize("topic", STORED_NAMES)
def test_a_field_that_is_missing_or_of_another_type_is_not_as_the_schema_says(topic: str) -> None:
    whole = stored(topic)
    for name in of_fact(topic)["required"]:
        assert wrong(of_fact(topic), {other: value for other, value in whole.items() if other != name})
    for name in whole:
        assert wrong(of_fact(topic), whole | {name: [["another type"]]})


@given(some.decimals(min_value=0, max_value=100_000, places=4), some.sampled_from(["0.95", "1"]))
def test_decimals_are_written_as_the_schema_says(quantity: Decimal, share: str) -> None:
    @fact
    class Measured:
        """Something was measured."""

        quantity: Decimal

    written = json.loads(encode(Measured(quantity=quantity * Decimal(share))))
    assert wrong(Shapes(whole=True).of(Measured), written) == []


def test_a_type_without_a_schema_is_an_error_and_not_a_guess() -> None:
    @fact
    class Strange:
        """Something that no schema is known for."""

        what: Annotated[complex, "imaginary"]

    with pytest.raises(TypeError, match="complex"):
        Shapes(whole=False).of(Strange)


def test_everything_in_the_log_is_as_its_schema_says(house: House) -> None:
    facts = rows_of(house.settings.need("projector_url"), "select topic, convert_from(state, 'UTF8') from fieldlog.log")
    assert [error for topic, state in facts for error in wrong(closed(of_fact(topic)), json.loads(state))] == []
    assert len({topic for topic, _ in facts}) > len(STORED_NAMES) * 2 // 3


def test_every_row_of_every_view_is_as_its_schema_says(house: House) -> None:
    wait_until_folded(house.settings)
    for context in CONTEXTS.values():
        changes = rows_of(
            house.settings.need("projector_url"),
            f"select view, data from {served_schema(house.settings, context.name)}.changes where data is not null",
        )
        kinds = {view.name: closed(SCHEMAS[f"views/{view.name}.v{context.version}.json"]) for view in context.views}
        assert [error for view, row in changes for error in wrong(kinds[view], row)] == []
        assert {view for view, _ in changes} == kinds.keys()
