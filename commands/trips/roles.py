"""Who may ask what on the road: the office everything, a driver only what is his own."""

from commands.kernel import Asked
from domain.kernel import NotYours
from domain.roles import Role
from domain.trips.drivers import Driver

OFFICE = frozenset({Role.ADMIN, Role.DISPATCHER})
ROAD = OFFICE | {Role.DRIVER}


def is_office(asked: Asked) -> bool:
    """Say whether the actor acts for the office, not (only) as a driver."""
    return bool(asked.by.roles & OFFICE)


def must_be_own(driver: Driver, asked: Asked) -> None:
    """Raise NotYours unless the office asks, or this driver himself."""
    if not is_office(asked) and driver.user != asked.by.subject:
        raise NotYours
