"""What may be asked of trips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from hashlib import sha256
from math import isinf
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from commands.kernel import Asked, Command, Consults, Day, Decision, Id, Name, Quantity, Text, on
from commands.trips.judging import judge
from commands.trips.locations import Acknowledged, Batch, acknowledge, arrival, fixes_of
from commands.trips.roles import OFFICE, ROAD, must_be_own
from domain.claims import CLAIMS, Claimed, Released
from domain.kernel import NotYours
from domain.roles import Role
from domain.tenants import TENANTS, TenantNotOpen
from domain.trips.drivers import DRIVERS, DriverFreed, DriverNotOnDuty, DriverOnTheRoad, DriverTaken, DriverUnknown
from domain.trips.payroll import PAY_DAYS, TripPriced, priced
from domain.trips.sites import SITES, SiteIsClosed, SiteUnknown, Unit
from domain.trips.track import (
    KEPT,
    SiteDwell,
    Track,
    TrackCondensed,
    TrackErased,
    Vertex,
    moment,
    simplify,
)
from domain.trips.trips import (
    Compliance,
    DriverDay,
    EndsBeforeItsStart,
    LoadRecorded,
    OdometerWentBack,
    ReceiptNumberTaken,
    Trip,
    TripAlreadyScheduled,
    TripCancelled,
    TripCompleted,
    TripFlagged,
    TripNotCompleted,
    TripNotScheduled,
    TripNotStarted,
    TripOver,
    TripScheduled,
    TripStarted,
)
from domain.trips.trucks import TRUCKS, TruckFreed, TruckNotActive, TruckOnTheRoad, TruckTaken, TruckUnknown

Odometer = Annotated[int, Field(ge=0, le=9_999_999, description="Kilometres")]
CONDENSED_TOLERANCE_M = 10.0


class ScheduleTrip(Command):
    """Plan a trip for a local date."""

    driver_id: Id
    truck_id: Id
    date: Day
    from_site_id: Id | None = None
    to_site_id: Id | None = None
    allows: ClassVar = OFFICE
    refuses: ClassVar = (TripAlreadyScheduled, DriverUnknown, TruckUnknown, SiteUnknown, SiteIsClosed)
    creates: ClassVar = True

    def _sites(self) -> list[str]:
        return [site for site in (self.from_site_id, self.to_site_id) if site is not None]

    def consults(self, trip: Trip, asked: Asked) -> Consults:
        yield DRIVERS, self.driver_id
        yield TRUCKS, self.truck_id
        yield from ((SITES, site) for site in self._sites())

    def decide(self, trip: Trip, asked: Asked) -> Decision:
        if trip.status is not None:
            raise TripAlreadyScheduled
        if not asked.seen[DRIVERS].registered:
            raise DriverUnknown(driver_id=self.driver_id)
        if asked.seen[TRUCKS].status is None:
            raise TruckUnknown(truck_id=self.truck_id)
        for site in self._sites():
            status = asked.seen[SITES, site].status
            if status != "open":
                raise SiteIsClosed(site_id=site) if status else SiteUnknown(site_id=site)
        yield TripScheduled(
            driver_id=self.driver_id,
            truck_id=self.truck_id,
            date=self.date,
            from_site_id=self.from_site_id,
            to_site_id=self.to_site_id,
        )


class StartTrip(Command):
    """Put a scheduled trip on the road; it takes its truck and its driver."""

    odometer_km: Odometer | None = None
    allows: ClassVar = ROAD
    refuses: ClassVar = (
        NotYours,
        TripNotScheduled,
        DriverNotOnDuty,
        DriverOnTheRoad,
        TruckNotActive,
        TruckOnTheRoad,
    )

    def consults(self, trip: Trip, asked: Asked) -> Consults:
        yield DRIVERS, trip.driver_id
        yield TRUCKS, trip.truck_id

    def decide(self, trip: Trip, asked: Asked) -> Decision:
        driver, truck = asked.seen[DRIVERS], asked.seen[TRUCKS]
        must_be_own(driver, asked)
        if trip.status != "scheduled":
            raise TripNotScheduled(status=trip.status)
        if driver.duty != "on":
            raise DriverNotOnDuty(driver_id=trip.driver_id)
        if driver.trip is not None:
            raise DriverOnTheRoad(trip=driver.trip)
        if truck.status != "active":
            raise TruckNotActive(truck_id=trip.truck_id, status=truck.status)
        if truck.trip is not None:
            raise TruckOnTheRoad(trip=truck.trip)
        yield TripStarted(odometer_km=self.odometer_km, at=asked.at)
        yield on(TRUCKS, trip.truck_id, TruckTaken(trip=asked.id))
        yield on(DRIVERS, trip.driver_id, DriverTaken(trip=asked.id))


class RecordTripLocations(Command):
    """Send where a trip is or was: 1 to 500 fixes, in any order, late or repeated; each is answered for."""

    fixes: Batch
    allows: ClassVar = ROAD
    refuses: ClassVar = (NotYours, TripNotStarted, TenantNotOpen, TrackErased)
    answers: ClassVar = Acknowledged

    def consults(self, trip: Trip, asked: Asked) -> Consults:
        yield TENANTS, str(asked.tenant)
        yield DRIVERS, trip.driver_id

    def decide(self, trip: Trip, asked: Asked) -> Decision:
        driver = asked.seen[DRIVERS]
        must_be_own(driver, asked)
        if not trip.started:
            raise TripNotStarted
        fact = judge(trip.track, fixes_of(self.fixes), arrival(trip.driver_id, driver, asked))
        if fact is not None:
            yield fact

    def answer(self, state: Any, facts: Sequence[object]) -> Acknowledged:
        return acknowledge(len(self.fixes), facts)


class RecordLoad(Command):
    """Record what was brought, by its receipt; a later record replaces it, also after the end of the trip."""

    quantity: Quantity
    unit: Unit
    receipt_number: Name
    evidence: Text | None = None
    allows: ClassVar = ROAD
    refuses: ClassVar = (NotYours, TripNotStarted, TripOver, ReceiptNumberTaken)

    def consults(self, trip: Trip, asked: Asked) -> Consults:
        yield DRIVERS, trip.driver_id
        yield CLAIMS, _receipt(self.receipt_number)
        if trip.load is not None and _receipt(trip.load.receipt_number) != _receipt(self.receipt_number):
            yield CLAIMS, _receipt(trip.load.receipt_number)
        if trip.completed is not None:
            yield PAY_DAYS, str(trip.completed.on)
            if trip.to_site_id is not None:
                yield SITES, trip.to_site_id

    def decide(self, trip: Trip, asked: Asked) -> Decision:
        must_be_own(asked.seen[DRIVERS], asked)
        if not trip.started:
            raise TripNotStarted
        if trip.status == "cancelled":
            raise TripOver
        load = LoadRecorded(
            quantity=self.quantity, unit=self.unit, receipt_number=self.receipt_number, evidence=self.evidence
        )
        if load != trip.load:
            yield load
            yield from self._claims(trip, asked)
        if trip.completed is not None:
            worth = _price(trip, trip.completed, load, asked)
            if worth != asked.seen[PAY_DAYS].priced.get(asked.id):
                yield on(PAY_DAYS, str(trip.completed.on), worth)

    def _claims(self, trip: Trip, asked: Asked) -> Iterator[object]:
        number = _receipt(self.receipt_number)
        holder = asked.seen[CLAIMS, number].by
        if holder not in (None, asked.id):
            raise ReceiptNumberTaken(trip=holder)
        if holder is None:
            yield on(CLAIMS, number, Claimed(by=asked.id))
        former = _receipt(trip.load.receipt_number) if trip.load is not None else number
        if former != number:
            yield on(CLAIMS, former, Released())


class CompleteTrip(Command):
    """End a trip at its destination; it gives back its truck and driver, and is priced at the to-site's rate."""

    odometer_km: Odometer | None = None
    allows: ClassVar = ROAD
    refuses: ClassVar = (NotYours, TripNotStarted, TripOver, EndsBeforeItsStart, OdometerWentBack, TenantNotOpen)

    def consults(self, trip: Trip, asked: Asked) -> Consults:
        yield TENANTS, str(asked.tenant)
        yield DRIVERS, trip.driver_id
        yield TRUCKS, trip.truck_id
        if trip.to_site_id is not None:
            yield SITES, trip.to_site_id
        if asked.seen[TENANTS].open:
            yield PAY_DAYS, str(asked.seen[TENANTS].local_date(asked.at))

    def decide(self, trip: Trip, asked: Asked) -> Decision:
        must_be_own(asked.seen[DRIVERS], asked)
        if trip.status != "started":
            raise TripOver(status=trip.status) if trip.started else TripNotStarted
        if trip.started_at is not None and asked.at < trip.started_at:
            raise EndsBeforeItsStart(started_at=trip.started_at)
        if self.odometer_km is not None and self.odometer_km < (trip.odometer_km or 0):
            raise OdometerWentBack(start_km=trip.odometer_km)
        if not asked.seen[TENANTS].open:
            raise TenantNotOpen
        done = TripCompleted(
            on=asked.seen[TENANTS].local_date(asked.at),
            odometer_km=self.odometer_km,
            rate=asked.seen[SITES].rate_at(asked.at) if trip.to_site_id is not None else None,
            net_capacity_m3=asked.seen[TRUCKS].payable_m3,
        )
        yield done
        yield on(TRUCKS, trip.truck_id, TruckFreed(trip=asked.id))
        yield on(DRIVERS, trip.driver_id, DriverFreed(trip=asked.id))
        yield on(PAY_DAYS, str(done.on), _price(trip, done, trip.load, asked))


def _price(trip: Trip, done: TripCompleted, load: LoadRecorded | None, asked: Asked) -> TripPriced:
    """Return what a completed trip is worth; without a rate at its completion, at the one its to-site was given first."""
    rate = done.rate
    if rate is None and trip.to_site_id is not None:
        rate = asked.seen[SITES].first_rate
    return priced(
        trip=asked.id,
        driver_id=trip.driver_id,
        to_site_id=trip.to_site_id,
        rate=rate,
        load=(load.quantity, load.unit) if load is not None else None,
        net_capacity_m3=done.net_capacity_m3,
    )


def _receipt(number: str) -> str:
    return f"receipt/{number.casefold()}"


class CancelTrip(Command):
    """Give a trip up, before or after its start; it gives back its truck and driver, and the number of its receipt."""

    reason: Text
    allows: ClassVar = OFFICE
    refuses: ClassVar = (TripOver,)

    def consults(self, trip: Trip, asked: Asked) -> Consults:
        if trip.status == "started":
            yield TRUCKS, trip.truck_id
            yield DRIVERS, trip.driver_id
        if trip.load is not None:
            yield CLAIMS, _receipt(trip.load.receipt_number)

    def decide(self, trip: Trip, asked: Asked) -> Decision:
        if trip.status in ("completed", "cancelled"):
            raise TripOver(status=trip.status)
        yield TripCancelled(reason=self.reason)
        if trip.status == "started":
            yield on(TRUCKS, trip.truck_id, TruckFreed(trip=asked.id))
            yield on(DRIVERS, trip.driver_id, DriverFreed(trip=asked.id))
        if trip.load is not None:
            yield on(CLAIMS, _receipt(trip.load.receipt_number), Released())


class FlagTrip(Command):
    """Say whether a completed trip kept to the rules."""

    compliance: Compliance
    note: Text
    allows: ClassVar = OFFICE
    refuses: ClassVar = (TripNotCompleted,)
    respects_lock: ClassVar = True

    def decide(self, trip: Trip, asked: Asked) -> Decision:
        if trip.status != "completed":
            raise TripNotCompleted(status=trip.status)
        yield TripFlagged(compliance=self.compliance, note=self.note)


class SiteDwellSent(BaseModel):
    """Seconds spent standing at a site, or elsewhere, in stops that began on a local date."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    site_id: Id | None
    day: date
    seconds: Annotated[int, Field(ge=0)]


class CondenseTrack(Command):
    """Keep what remains of a track before its raw fixes that arrived until a UTC day are forgotten.

    A track is condensed as a whole, with what arrived later: its raw fixes then leave the views together.
    """

    through: date
    driver_id: Id
    dwell: Annotated[tuple[SiteDwellSent, ...], Field(max_length=10_000)]
    allows: ClassVar = frozenset({Role.SYSTEM})

    def decide(self, state: Trip | DriverDay, asked: Asked) -> Decision:
        track = state.track
        if track.erased or not track.has_raw_fixes:
            return
        vertices = [place for place, code in enumerate(track.verdict) if code == KEPT]
        line = simplify([(track.latitude[i], track.longitude[i]) for i in vertices], CONDENSED_TOLERANCE_M)
        yield TrackCondensed(
            driver_id=self.driver_id,
            through=self.through,
            until=datetime.combine(self.through, time(), UTC) if track.newest is None else moment(track.newest),
            line=tuple(
                Vertex(at=moment(track.at[i]), latitude=track.latitude[i], longitude=track.longitude[i])
                for i in (vertices[kept] for kept in line)
            ),
            dwell=tuple(SiteDwell(site_id=one.site_id, day=one.day, seconds=one.seconds) for one in self.dwell),
            sha256=_digest(track),
        )


def _digest(track: Track) -> str:
    """Return the SHA-256 of the raw fixes, one line `time,latitude,longitude,accuracy` each, in the order of time."""
    rows = sorted(zip(track.at, track.latitude, track.longitude, track.accuracy, strict=True))
    digest = sha256()
    for us, latitude, longitude, accuracy in rows:
        known = "" if isinf(accuracy) else repr(accuracy)
        digest.update(f"{moment(us).isoformat()},{latitude!r},{longitude!r},{known}\n".encode())
    return digest.hexdigest()
