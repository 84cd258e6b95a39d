"""Trucks, as the office sees them."""

from dataclasses import replace
from decimal import Decimal

from domain.kernel import Recorded
from domain.trips.trucks import (
    TRUCKS,
    TruckActivated,
    TruckDeactivated,
    TruckFreed,
    TruckRegistered,
    TruckReturnedFromMaintenance,
    TruckSentToMaintenance,
    TruckStatus,
    TruckTaken,
)
from projections.kernel import Look, View, row


@row
class TruckRow:
    """A truck, and the started trip that holds it."""

    id: str
    number: str
    plate: str
    capacity_m3: Decimal | None = None
    net_capacity_m3: Decimal | None = None
    status: TruckStatus = "active"
    maintenance_reason: str | None = None
    trip_id: str | None = None
    version: int = 0


def registered(_: TruckRow | None, happened: Recorded[TruckRegistered], look: Look) -> TruckRow:
    fact = happened.fact
    return TruckRow(
        id=happened.id,
        number=fact.number,
        plate=fact.plate,
        capacity_m3=fact.capacity_m3,
        net_capacity_m3=fact.net_capacity_m3,
        version=happened.version,
    )


def active(truck: TruckRow, happened: Recorded[object], look: Look) -> TruckRow:
    return replace(truck, status="active", maintenance_reason=None, version=happened.version)


def inactive(truck: TruckRow, happened: Recorded[TruckDeactivated], look: Look) -> TruckRow:
    return replace(truck, status="inactive", version=happened.version)


def in_maintenance(truck: TruckRow, happened: Recorded[TruckSentToMaintenance], look: Look) -> TruckRow:
    return replace(truck, status="maintenance", maintenance_reason=happened.fact.reason, version=happened.version)


def taken(truck: TruckRow, happened: Recorded[TruckTaken], look: Look) -> TruckRow:
    return replace(truck, trip_id=happened.fact.trip, version=happened.version)


def freed(truck: TruckRow, happened: Recorded[TruckFreed], look: Look) -> TruckRow:
    return replace(truck, trip_id=None, version=happened.version)


TRUCKS_VIEW = View(
    name="trucks",
    row=TruckRow,
    key=("id",),
    filters=("status",),
    folds={
        TRUCKS: {
            TruckRegistered: registered,
            TruckActivated: active,
            TruckDeactivated: inactive,
            TruckSentToMaintenance: in_maintenance,
            TruckReturnedFromMaintenance: active,
            TruckTaken: taken,
            TruckFreed: freed,
        }
    },
)
