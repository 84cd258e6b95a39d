"""What may be asked of drivers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date
from itertools import groupby
from typing import Any, ClassVar, Self

from pydantic import model_validator
from pydantic_core import PydanticCustomError

from commands.kernel import Asked, Command, Consults, Day, Decision, Id, Name, on
from commands.trips.judging import judge
from commands.trips.locations import Acknowledged, Batch, acknowledge, arrival, fixes_of
from commands.trips.roles import OFFICE, ROAD, must_be_own
from domain.claims import CLAIMS, Claimed
from domain.kernel import NotYours
from domain.tenants import TENANTS, TenantNotOpen
from domain.trips.drivers import (
    Driver,
    DriverAlreadyRegistered,
    DriverOnTheRoad,
    DriverRegistered,
    DriverWentOffDuty,
    DriverWentOnDuty,
    DriverWentOnLeave,
    TrackingDisabled,
    TrackingEnabled,
    TruckAssigned,
    UserTaken,
)
from domain.trips.track import TrackErased
from domain.trips.trips import DRIVER_DAYS
from domain.trips.trucks import TRUCKS, TruckUnknown

MOST_DAYS = 10


class RegisterDriver(Command):
    """Let a driver join; `user` is the subject of his tokens, if he acts himself."""

    name: Name
    phone: Name | None = None
    user: Name | None = None
    allows: ClassVar = OFFICE
    refuses: ClassVar = (DriverAlreadyRegistered, UserTaken)
    creates: ClassVar = True

    def consults(self, driver: Driver, asked: Asked) -> Consults:
        if self.user is not None:
            yield CLAIMS, f"driver-user/{self.user}"

    def decide(self, driver: Driver, asked: Asked) -> Decision:
        if driver.registered:
            raise DriverAlreadyRegistered
        if self.user is not None:
            if asked.seen[CLAIMS].by is not None:
                raise UserTaken
            yield on(CLAIMS, f"driver-user/{self.user}", Claimed(by=asked.id))
        yield DriverRegistered(name=self.name, phone=self.phone, user=self.user)


class GoOnDuty(Command):
    """Be ready to drive."""

    allows: ClassVar = ROAD
    refuses: ClassVar = (NotYours,)

    def decide(self, driver: Driver, asked: Asked) -> Decision:
        must_be_own(driver, asked)
        if driver.duty != "on":
            yield DriverWentOnDuty()


class GoOffDuty(Command):
    """End the working time; not while on a started trip."""

    allows: ClassVar = ROAD
    refuses: ClassVar = (NotYours, DriverOnTheRoad)

    def decide(self, driver: Driver, asked: Asked) -> Decision:
        must_be_own(driver, asked)
        if driver.trip is not None:
            raise DriverOnTheRoad(trip=driver.trip)
        if driver.duty != "off":
            yield DriverWentOffDuty()


class GoOnLeave(Command):
    """Be away, until a date if it is known; not while on a started trip."""

    until: Day | None = None
    allows: ClassVar = OFFICE
    refuses: ClassVar = (DriverOnTheRoad,)

    def decide(self, driver: Driver, asked: Asked) -> Decision:
        if driver.trip is not None:
            raise DriverOnTheRoad(trip=driver.trip)
        yield DriverWentOnLeave(until=self.until)


class AssignTruck(Command):
    """Give a driver his usual truck."""

    truck_id: Id
    allows: ClassVar = OFFICE
    refuses: ClassVar = (TruckUnknown,)
    respects_lock: ClassVar = True

    def consults(self, driver: Driver, asked: Asked) -> Consults:
        yield TRUCKS, self.truck_id

    def decide(self, driver: Driver, asked: Asked) -> Decision:
        if asked.seen[TRUCKS].status is None:
            raise TruckUnknown(truck_id=self.truck_id)
        if driver.truck_id != self.truck_id:
            yield TruckAssigned(truck_id=self.truck_id)


class EnableTracking(Command):
    """Let positions be kept from now on."""

    allows: ClassVar = ROAD
    refuses: ClassVar = (NotYours,)

    def decide(self, driver: Driver, asked: Asked) -> Decision:
        must_be_own(driver, asked)
        if not driver.tracked(asked.at):
            yield TrackingEnabled(since=asked.at)


class DisableTracking(Command):
    """Keep no position from now on; what phones send all the same is rejected and its place is not stored."""

    allows: ClassVar = ROAD
    refuses: ClassVar = (NotYours,)

    def decide(self, driver: Driver, asked: Asked) -> Decision:
        must_be_own(driver, asked)
        if driver.tracked(asked.at):
            yield TrackingDisabled(since=asked.at)


class RecordDriverLocations(Command):
    """Send where a driver is outside of trips; the fixes go to one track per UTC day (at most 10 days at once)."""

    fixes: Batch
    allows: ClassVar = ROAD
    refuses: ClassVar = (NotYours, TenantNotOpen, TrackErased)
    answers: ClassVar = Acknowledged

    @model_validator(mode="after")
    def _few_days(self) -> Self:
        if len(self._days()) > MOST_DAYS:
            raise PydanticCustomError("too_many_days", "The fixes of one batch lie on at most 10 UTC days")
        return self

    def _days(self) -> list[date]:
        return sorted({fix.at.astimezone(UTC).date() for fix in self.fixes})

    def consults(self, driver: Driver, asked: Asked) -> Consults:
        yield TENANTS, str(asked.tenant)
        for day in self._days():
            yield DRIVER_DAYS, f"{asked.id}.{day}"

    def decide(self, driver: Driver, asked: Asked) -> Decision:
        must_be_own(driver, asked)
        circumstances = arrival(asked.id, driver, asked)
        fixes = sorted(fixes_of(self.fixes), key=lambda fix: fix.at.date())
        for day, own in groupby(fixes, key=lambda fix: fix.at.date()):
            stream_id = f"{asked.id}.{day}"
            fact = judge(asked.seen[DRIVER_DAYS, stream_id].track, list(own), circumstances)
            if fact is not None:
                yield on(DRIVER_DAYS, stream_id, fact)

    def answer(self, state: Any, facts: Sequence[object]) -> Acknowledged:
        return acknowledge(len(self.fixes), facts)
