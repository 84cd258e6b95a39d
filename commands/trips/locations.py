"""What phones send: batches of fixes, and the acknowledgement of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, cast

from pydantic import BaseModel, ConfigDict, Field

from commands.kernel import Asked, Moment, Number
from commands.trips.arrivals import Arrival
from domain.tenants import TENANTS, TenantNotOpen
from domain.trips.drivers import Driver
from domain.trips.track import Fix, LocationsRecorded, Reason

MOST_FIXES = 500


class FixSent(BaseModel):
    """One position as the phone knows it: WGS84 degrees, accuracy in metres, speed in km/h, heading in degrees."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    at: Moment
    latitude: Number
    longitude: Number
    accuracy_m: Number | None = None
    speed_kmh: Number | None = None
    heading: Number | None = None


Batch = Annotated[tuple[FixSent, ...], Field(min_length=1, max_length=MOST_FIXES, strict=False)]


class RejectedFix(BaseModel):
    """A fix that does not count, and why; it stays on record."""

    index: int
    reason: Reason


class Acknowledged(BaseModel):
    """What became of each fix of a batch when it arrived: accepted, known already, or rejected with its reason."""

    accepted: int
    duplicates: int
    rejected: list[RejectedFix]


def fixes_of(batch: Sequence[FixSent]) -> list[Fix]:
    """Return the fixes of a batch, numbered as they were sent."""
    return [
        Fix(
            index=index,
            at=sent.at,
            latitude=sent.latitude,
            longitude=sent.longitude,
            accuracy_m=sent.accuracy_m,
            speed_kmh=sent.speed_kmh,
            heading=sent.heading,
        )
        for index, sent in enumerate(batch)
    ]


def arrival(driver_id: str, driver: Driver, asked: Asked) -> Arrival:
    """Return the circumstances in which fixes are judged. Raises TenantNotOpen: without a calendar there are no days."""
    tenant = asked.seen[TENANTS]
    if not tenant.open:
        raise TenantNotOpen
    return Arrival(driver_id, asked.now, driver.tracked, tenant.local_date)


def acknowledge(sent: int, facts: Sequence[object]) -> Acknowledged:
    """Return what became of a batch; fixes that led to no fact were known already."""
    rejected, counted, duplicates = [], 0, 0
    for fact in facts:
        if not isinstance(fact, LocationsRecorded):
            continue
        counted += fact.count
        for one in fact.judged:
            if one.batch != fact.batch or one.verdict in ("kept", "still"):
                continue
            if one.verdict == "duplicate":
                duplicates += 1
            else:
                rejected.append(RejectedFix(index=one.index, reason=cast(Reason, one.verdict)))
    duplicates += sent - counted
    rejected.sort(key=lambda one: one.index)
    return Acknowledged(accepted=sent - duplicates - len(rejected), duplicates=duplicates, rejected=rejected)
