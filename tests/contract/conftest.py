"""A house with everything in it that can happen, for all tests of the contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from domain.roles import Role
from infra.local.postgres import Postgres
from tests.views.conftest import fresh_database, settings_over
from tests.views.haulage import Day
from tests.views.house import House, open_house
from tests.views.scrutineering import scrutineering


@pytest.fixture(scope="package")
def house(postgres: Postgres, keys: dict[str, str]) -> Iterator[House]:
    """A house in which a whole day happened."""
    with fresh_database(postgres) as database, open_house(settings_over(database, keys)) as house:
        with scrutineering(house, house.person(Role.ADMIN)) as paddock:
            paddock.whole()
        Day(house.office()).whole()
        yield house
