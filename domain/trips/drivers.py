"""Drivers: who drives, and whether they may be seen while they do.

(none) --register--> off duty --go-on-duty--> on duty --go-off-duty, go-on-leave--> off duty, on leave
off duty, on leave --go-on-duty--> on duty
Tracking is on from the beginning; disable-tracking and enable-tracking switch it from a moment on.
A started trip takes its driver and gives him back at its end.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from operator import itemgetter
from typing import Annotated, Literal

from domain.kernel import Erased, Personal, Refused, Stream, fact, state

Duty = Literal["off", "on", "leave"]


@fact
class DriverRegistered:
    """A driver joined. `user` is the subject of the tokens with which he acts himself."""

    name: Annotated[str | Erased, Personal()]
    phone: Annotated[str | Erased | None, Personal()] = None
    user: str | None = None


@fact
class DriverWentOnDuty:
    """The driver is ready to drive."""


@fact
class DriverWentOffDuty:
    """The driver's working time is over."""


@fact
class DriverWentOnLeave:
    """The driver is away, until this date if it is known."""

    until: date | None = None


@fact
class TruckAssigned:
    """This is now the driver's usual truck."""

    truck_id: str


@fact
class TrackingEnabled:
    """From this moment on, positions may be kept."""

    since: datetime


@fact
class TrackingDisabled:
    """From this moment on, no position may be kept."""

    since: datetime


@fact
class DriverTaken:
    """A trip started with this driver."""

    trip: str


@fact
class DriverFreed:
    """The trip that held this driver is over."""

    trip: str


@state
class Driver:
    """Whether the driver may start, acts himself, and was tracked when."""

    registered: bool = False
    user: str | None = None
    duty: Duty = "off"
    truck_id: str | None = None
    trip: str | None = None
    switches: tuple[tuple[datetime, bool], ...] = ()

    def tracked(self, at: datetime) -> bool:
        """Say whether tracking was on at this moment; the latest switch until then decides."""
        return next((on for since, on in reversed(self.switches) if since <= at), True)

    @property
    def tracking(self) -> bool:
        """Say whether tracking is on from the latest switch on."""
        return self.switches[-1][1] if self.switches else True


def evolve(driver: Driver, happened: object) -> Driver:
    """Return the driver after what happened."""
    match happened:
        case DriverRegistered(user=user):
            return replace(driver, registered=True, user=user)
        case DriverWentOnDuty():
            return replace(driver, duty="on")
        case DriverWentOffDuty():
            return replace(driver, duty="off")
        case DriverWentOnLeave():
            return replace(driver, duty="leave")
        case TruckAssigned(truck_id=truck):
            return replace(driver, truck_id=truck)
        case TrackingEnabled(since=since):
            return _switched(driver, since, on=True)
        case TrackingDisabled(since=since):
            return _switched(driver, since, on=False)
        case DriverTaken(trip=trip):
            return replace(driver, trip=trip)
        case DriverFreed():
            return replace(driver, trip=None)
    return driver


def _switched(driver: Driver, since: datetime, *, on: bool) -> Driver:
    return replace(driver, switches=tuple(sorted((*driver.switches, (since, on)), key=itemgetter(0))))


DRIVERS = Stream(
    "drivers",
    Driver(),
    evolve,
    {
        "drivers.registered.v1": DriverRegistered,
        "drivers.went-on-duty.v1": DriverWentOnDuty,
        "drivers.went-off-duty.v1": DriverWentOffDuty,
        "drivers.went-on-leave.v1": DriverWentOnLeave,
        "drivers.truck-assigned.v1": TruckAssigned,
        "drivers.tracking-enabled.v1": TrackingEnabled,
        "drivers.tracking-disabled.v1": TrackingDisabled,
        "drivers.taken.v1": DriverTaken,
        "drivers.freed.v1": DriverFreed,
    },
)


class DriverAlreadyRegistered(Refused):
    """A driver with this id is registered already."""


class UserTaken(Refused):
    """Another driver acts with this user already."""


class DriverUnknown(Refused):
    """No driver with this id is registered."""


class DriverNotOnDuty(Refused):
    """Only a driver on duty can start a trip."""


class DriverOnTheRoad(Refused):
    """The driver is on a started trip."""
