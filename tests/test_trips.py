"""Trips: from the plan to the end of the road."""

from __future__ import annotations

from datetime import date

from commands.trips.trips import StartTrip
from domain.trips.drivers import DRIVERS, DriverRegistered, DriverTaken, DriverWentOnDuty
from domain.trips.trips import TRIPS, TripNotScheduled, TripScheduled, TripStarted
from domain.trips.trucks import TRUCKS, TruckRegistered, TruckTaken
from tests.given import given, on

SCHEDULED = TripScheduled(driver_id="driver", truck_id="truck", date=date(2026, 11, 20))
FREE = TruckRegistered(number="7", plate="LJ 7")
REGISTERED = DriverRegistered(name="Ana")


def test_a_scheduled_trip_starts() -> None:
    (
        given(TRIPS, SCHEDULED)
        .given(TRUCKS, FREE)
        .given(DRIVERS, REGISTERED, DriverWentOnDuty())
        .when(StartTrip(odometer_km=48_210))
        .then(
            TripStarted(odometer_km=48_210), on(TRUCKS, TruckTaken(trip="trip")), on(DRIVERS, DriverTaken(trip="trip"))
        )
    )


def test_a_started_trip_does_not_start_again() -> None:
    (
        given(TRIPS, SCHEDULED, TripStarted())
        .given(DRIVERS, REGISTERED, DriverWentOnDuty())
        .when(StartTrip())
        .refused(TripNotScheduled)
    )
