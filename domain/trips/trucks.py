"""Trucks: what carries the load.

(none) --register--> active --deactivate--> inactive --activate--> active
active, inactive --send-to-maintenance--> maintenance --return-from-maintenance--> active
A started trip takes its truck and gives it back at its end.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Literal

from domain.kernel import Refused, Stream, fact, state

TruckStatus = Literal["active", "inactive", "maintenance"]
NET_SHARE = Decimal("0.95")


@fact
class TruckRegistered:
    """A truck joined the fleet, ready for the road. Capacities are cubic metres."""

    number: str
    plate: str
    capacity_m3: Decimal | None = None
    net_capacity_m3: Decimal | None = None


@fact
class TruckActivated:
    """The truck may go on the road again."""


@fact
class TruckDeactivated:
    """The truck was taken out of service."""


@fact
class TruckSentToMaintenance:
    """The truck went to the workshop."""

    reason: str


@fact
class TruckReturnedFromMaintenance:
    """The truck came back from the workshop, ready for the road."""


@fact
class TruckTaken:
    """A trip started with this truck."""

    trip: str


@fact
class TruckFreed:
    """The trip that held this truck is over."""

    trip: str


@state
class Truck:
    """Whether the truck may start, and the volume that it is paid for."""

    status: TruckStatus | None = None
    trip: str | None = None
    capacity_m3: Decimal | None = None
    net_capacity_m3: Decimal | None = None

    @property
    def payable_m3(self) -> Decimal | None:
        """Net capacity in cubic metres as registered, else 0.95 of the capacity, unrounded (TRP-2)."""
        if self.net_capacity_m3 is not None:
            return self.net_capacity_m3
        return None if self.capacity_m3 is None else NET_SHARE * self.capacity_m3


def evolve(truck: Truck, happened: object) -> Truck:
    """Return the truck after what happened."""
    match happened:
        case TruckRegistered(capacity_m3=capacity, net_capacity_m3=net):
            return replace(truck, status="active", capacity_m3=capacity, net_capacity_m3=net)
        case TruckActivated() | TruckReturnedFromMaintenance():
            return replace(truck, status="active")
        case TruckDeactivated():
            return replace(truck, status="inactive")
        case TruckSentToMaintenance():
            return replace(truck, status="maintenance")
        case TruckTaken(trip=trip):
            return replace(truck, trip=trip)
        case TruckFreed():
            return replace(truck, trip=None)
    return truck


TRUCKS = Stream(
    "trucks",
    Truck(),
    evolve,
    {
        "trucks.registered.v1": TruckRegistered,
        "trucks.activated.v1": TruckActivated,
        "trucks.deactivated.v1": TruckDeactivated,
        "trucks.sent-to-maintenance.v1": TruckSentToMaintenance,
        "trucks.returned-from-maintenance.v1": TruckReturnedFromMaintenance,
        "trucks.taken.v1": TruckTaken,
        "trucks.freed.v1": TruckFreed,
    },
)


class TruckAlreadyRegistered(Refused):
    """A truck with this id is registered already."""


class TruckNumberTaken(Refused):
    """Another truck carries this number."""


class PlateTaken(Refused):
    """Another truck carries this plate."""


class TruckUnknown(Refused):
    """No truck with this id is registered."""


class TruckInMaintenance(Refused):
    """The truck is in the workshop; it returns with return-from-maintenance."""


class TruckNotInMaintenance(Refused):
    """The truck is not in the workshop."""


class TruckNotActive(Refused):
    """Only an active truck can start a trip."""


class TruckOnTheRoad(Refused):
    """The truck is on a started trip."""
