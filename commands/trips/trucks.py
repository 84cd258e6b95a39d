"""What may be asked of trucks."""

from typing import ClassVar

from commands.kernel import Asked, Command, Consults, Decision, Name, Quantity, Text, on
from commands.trips.roles import OFFICE
from domain.claims import CLAIMS, Claimed
from domain.trips.trucks import (
    PlateTaken,
    Truck,
    TruckActivated,
    TruckAlreadyRegistered,
    TruckDeactivated,
    TruckInMaintenance,
    TruckNotInMaintenance,
    TruckNumberTaken,
    TruckOnTheRoad,
    TruckRegistered,
    TruckReturnedFromMaintenance,
    TruckSentToMaintenance,
)


class RegisterTruck(Command):
    """Let a truck join the fleet, ready for the road; its number and plate are its own."""

    number: Name
    plate: Name
    capacity_m3: Quantity | None = None
    net_capacity_m3: Quantity | None = None
    allows: ClassVar = OFFICE
    refuses: ClassVar = (TruckAlreadyRegistered, TruckNumberTaken, PlateTaken)
    creates: ClassVar = True

    @property
    def _number(self) -> str:
        return f"truck-number/{self.number.casefold()}"

    @property
    def _plate(self) -> str:
        return f"plate/{''.join(filter(str.isalnum, self.plate)).casefold() or self.plate}"

    def consults(self, truck: Truck, asked: Asked) -> Consults:
        yield CLAIMS, self._number
        yield CLAIMS, self._plate

    def decide(self, truck: Truck, asked: Asked) -> Decision:
        if truck.status is not None:
            raise TruckAlreadyRegistered
        if asked.seen[CLAIMS, self._number].by is not None:
            raise TruckNumberTaken(number=self.number)
        if asked.seen[CLAIMS, self._plate].by is not None:
            raise PlateTaken(plate=self.plate)
        yield TruckRegistered(
            number=self.number,
            plate=self.plate,
            capacity_m3=self.capacity_m3,
            net_capacity_m3=self.net_capacity_m3,
        )
        yield on(CLAIMS, self._number, Claimed(by=asked.id))
        yield on(CLAIMS, self._plate, Claimed(by=asked.id))


class ActivateTruck(Command):
    """Put a truck that was out of service back into it."""

    allows: ClassVar = OFFICE
    refuses: ClassVar = (TruckInMaintenance,)

    def decide(self, truck: Truck, asked: Asked) -> Decision:
        if truck.status == "maintenance":
            raise TruckInMaintenance
        if truck.status == "inactive":
            yield TruckActivated()


class DeactivateTruck(Command):
    """Take a truck out of service; not while it is on a started trip."""

    allows: ClassVar = OFFICE
    refuses: ClassVar = (TruckOnTheRoad, TruckInMaintenance)

    def decide(self, truck: Truck, asked: Asked) -> Decision:
        if truck.trip is not None:
            raise TruckOnTheRoad(trip=truck.trip)
        if truck.status == "maintenance":
            raise TruckInMaintenance
        if truck.status == "active":
            yield TruckDeactivated()


class SendTruckToMaintenance(Command):
    """Send a truck to the workshop; a started trip is not ended by it."""

    reason: Text
    allows: ClassVar = OFFICE

    def decide(self, truck: Truck, asked: Asked) -> Decision:
        if truck.status != "maintenance":
            yield TruckSentToMaintenance(reason=self.reason)


class ReturnTruckFromMaintenance(Command):
    """Take a truck back from the workshop, ready for the road."""

    allows: ClassVar = OFFICE
    refuses: ClassVar = (TruckNotInMaintenance,)

    def decide(self, truck: Truck, asked: Asked) -> Decision:
        if truck.status == "inactive":
            raise TruckNotInMaintenance
        if truck.status == "maintenance":
            yield TruckReturnedFromMaintenance()
