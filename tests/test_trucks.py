"""Trucks: in service, out of it, in the workshop."""

from __future__ import annotations

from decimal import Decimal

import pytest
from pydantic import ValidationError

from commands.trips.trucks import (
    ActivateTruck,
    DeactivateTruck,
    RegisterTruck,
    ReturnTruckFromMaintenance,
    SendTruckToMaintenance,
)
from domain.claims import CLAIMS, Claimed
from domain.trips.trucks import (
    TRUCKS,
    PlateTaken,
    Truck,
    TruckActivated,
    TruckAlreadyRegistered,
    TruckDeactivated,
    TruckFreed,
    TruckInMaintenance,
    TruckNotInMaintenance,
    TruckNumberTaken,
    TruckOnTheRoad,
    TruckRegistered,
    TruckReturnedFromMaintenance,
    TruckSentToMaintenance,
    TruckTaken,
)
from tests.given import given, on

REGISTER = RegisterTruck(number="7b", plate="LJ 7-AB")
REGISTERED = TruckRegistered(number="7b", plate="LJ 7-AB")
SEND = SendTruckToMaintenance(reason="Brakes")
IN_THE_WORKSHOP = TruckSentToMaintenance(reason="Brakes")
FREE = given(TRUCKS)


def test_a_truck_joins_with_a_number_and_a_plate_of_its_own() -> None:
    FREE.when(REGISTER).then(
        REGISTERED,
        on(CLAIMS, Claimed(by="truck"), id="truck-number/7b"),
        on(CLAIMS, Claimed(by="truck"), id="plate/lj7ab"),
    )


def test_a_truck_joins_once() -> None:
    given(TRUCKS, REGISTERED).when(REGISTER).refused(TruckAlreadyRegistered)


def test_two_trucks_do_not_carry_one_number() -> None:
    FREE.given(CLAIMS, Claimed(by="other"), id="truck-number/7b").when(REGISTER).refused(TruckNumberTaken, number="7b")


def test_two_trucks_do_not_carry_one_plate() -> None:
    FREE.given(CLAIMS, Claimed(by="other"), id="plate/lj7ab").when(REGISTER).refused(PlateTaken, plate="LJ 7-AB")


@pytest.mark.parametrize("plate", ["lj7ab", "LJ-7 ab", "Lj 7 aB"])
def test_a_plate_is_the_same_however_it_is_written(plate: str) -> None:
    (
        FREE.given(CLAIMS, Claimed(by="other"), id="plate/lj7ab")
        .when(RegisterTruck(number="8", plate=plate))
        .refused(PlateTaken, plate=plate)
    )


def test_a_truck_number_is_the_same_in_capitals() -> None:
    (
        FREE.given(CLAIMS, Claimed(by="other"), id="truck-number/7b")
        .when(RegisterTruck(number="7B", plate="LJ 8"))
        .refused(TruckNumberTaken, number="7B")
    )


def test_a_truck_is_paid_for_its_net_capacity() -> None:
    assert Truck(capacity_m3=Decimal(20), net_capacity_m3=Decimal("18.5")).payable_m3 == Decimal("18.5")


def test_a_net_capacity_that_is_not_known_is_95_percent() -> None:
    assert Truck(capacity_m3=Decimal("21.3333")).payable_m3 == Decimal("20.266635")


def test_a_truck_of_no_known_capacity_has_no_net_capacity() -> None:
    assert Truck().payable_m3 is None


@pytest.mark.parametrize("capacity", ["0", "-1", "1e3", "20.26585", "1234567890", "", 20])
def test_a_capacity_is_text_with_at_most_9_digits_and_4_places(capacity: object) -> None:
    with pytest.raises(ValidationError):
        RegisterTruck(number="7", plate="LJ 7", capacity_m3=capacity)


def test_a_truck_goes_out_of_service() -> None:
    given(TRUCKS, REGISTERED).when(DeactivateTruck()).then(TruckDeactivated())


def test_a_truck_out_of_service_stays_there() -> None:
    given(TRUCKS, REGISTERED, TruckDeactivated()).when(DeactivateTruck()).then()


def test_a_truck_on_the_road_stays_in_service() -> None:
    given(TRUCKS, REGISTERED, TruckTaken(trip="trip")).when(DeactivateTruck()).refused(TruckOnTheRoad, trip="trip")


def test_a_truck_goes_out_of_service_after_its_trip() -> None:
    (
        given(TRUCKS, REGISTERED, TruckTaken(trip="trip"), TruckFreed(trip="trip"))
        .when(DeactivateTruck())
        .then(TruckDeactivated())
    )


def test_a_truck_in_the_workshop_does_not_go_out_of_service() -> None:
    given(TRUCKS, REGISTERED, IN_THE_WORKSHOP).when(DeactivateTruck()).refused(TruckInMaintenance)


def test_a_truck_comes_back_into_service() -> None:
    given(TRUCKS, REGISTERED, TruckDeactivated()).when(ActivateTruck()).then(TruckActivated())


def test_a_truck_in_service_stays_there() -> None:
    given(TRUCKS, REGISTERED).when(ActivateTruck()).then()


def test_a_truck_in_the_workshop_is_not_activated() -> None:
    given(TRUCKS, REGISTERED, IN_THE_WORKSHOP).when(ActivateTruck()).refused(TruckInMaintenance)


def test_a_truck_goes_to_the_workshop() -> None:
    given(TRUCKS, REGISTERED).when(SEND).then(IN_THE_WORKSHOP)


def test_a_truck_out_of_service_goes_to_the_workshop() -> None:
    given(TRUCKS, REGISTERED, TruckDeactivated()).when(SEND).then(IN_THE_WORKSHOP)


def test_a_truck_that_breaks_down_on_the_road_goes_to_the_workshop() -> None:
    given(TRUCKS, REGISTERED, TruckTaken(trip="trip")).when(SEND).then(IN_THE_WORKSHOP)


def test_a_truck_in_the_workshop_is_not_sent_there_again() -> None:
    given(TRUCKS, REGISTERED, IN_THE_WORKSHOP).when(SEND).then()


def test_a_truck_comes_back_from_the_workshop() -> None:
    given(TRUCKS, REGISTERED, IN_THE_WORKSHOP).when(ReturnTruckFromMaintenance()).then(TruckReturnedFromMaintenance())


def test_a_truck_that_came_back_is_in_service() -> None:
    (
        given(TRUCKS, REGISTERED, IN_THE_WORKSHOP, TruckReturnedFromMaintenance())
        .when(DeactivateTruck())
        .then(TruckDeactivated())
    )


def test_a_truck_out_of_service_does_not_come_back_from_the_workshop() -> None:
    given(TRUCKS, REGISTERED, TruckDeactivated()).when(ReturnTruckFromMaintenance()).refused(TruckNotInMaintenance)


def test_a_truck_in_service_need_not_come_back() -> None:
    given(TRUCKS, REGISTERED).when(ReturnTruckFromMaintenance()).then()
