"""Tenants: the organisations that share this log, with their own calendar, money and retention.

(none) --open--> open --change-time-zone, set-retention--> open
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from domain.kernel import Refused, Stream, fact, state

DEFAULT_GPS_DAYS = 30


@fact
class TenantOpened:
    """An organisation began to use this log."""

    name: str
    time_zone: str
    currency: str


@fact
class TimeZoneChanged:
    """From this local date on, the organisation's days follow another time zone."""

    time_zone: str
    from_date: date


@fact
class RetentionSet:
    """Raw fixes are now kept for this many whole days after the UTC day on which they arrived."""

    gps_days: int


@fact
class FixesExpired:
    """The raw fixes that arrived until this UTC day have been kept long enough; their keys are to be destroyed."""

    through: date


@state
class Zone:
    """From this local date on, days follow this time zone."""

    from_date: date
    time_zone: str


def first_zone(opened: TenantOpened) -> tuple[Zone, ...]:
    """Return the calendar of an organisation that has just begun."""
    return (Zone(from_date=date.min, time_zone=opened.time_zone),)


def with_zone(zones: tuple[Zone, ...], changed: TimeZoneChanged) -> tuple[Zone, ...]:
    """Return the calendar with a change from a date on; what was to begin later is superseded."""
    kept = (zone for zone in zones if zone.from_date < changed.from_date)
    return (*kept, Zone(from_date=changed.from_date, time_zone=changed.time_zone))


@state
class Tenant:
    """The organisation's calendar, money and retention."""

    open: bool = False
    currency: str = ""
    zones: tuple[Zone, ...] = ()
    gps_days: int = DEFAULT_GPS_DAYS
    expired_through: date = date.min

    def local_date(self, at: datetime) -> date:
        """Return the organisation's calendar date at this moment, by the time zone in force on that date."""
        candidates = [(zone.from_date, at.astimezone(ZoneInfo(zone.time_zone)).date()) for zone in self.zones]
        return next((day for start, day in reversed(candidates) if start <= day), candidates[0][1])


def expiry(arrived: date, gps_days: int) -> datetime:
    """Return the moment from which fixes that arrived on this UTC day may be forgotten."""
    return datetime.combine(arrived, time(), UTC) + timedelta(days=1 + gps_days)


def evolve(tenant: Tenant, happened: object) -> Tenant:
    """Return the tenant after what happened."""
    match happened:
        case TenantOpened(currency=currency):
            return replace(tenant, open=True, currency=currency, zones=first_zone(happened))
        case TimeZoneChanged():
            return replace(tenant, zones=with_zone(tenant.zones, happened))
        case RetentionSet(gps_days=days):
            return replace(tenant, gps_days=days)
        case FixesExpired(through=through):
            return replace(tenant, expired_through=through)
    return tenant


TENANTS = Stream(
    "tenants",
    Tenant(),
    evolve,
    {
        "tenants.opened.v1": TenantOpened,
        "tenants.time-zone-changed.v1": TimeZoneChanged,
        "tenants.retention-set.v1": RetentionSet,
        "tenants.fixes-expired.v1": FixesExpired,
    },
)


class TenantAlreadyOpen(Refused):
    """This organisation is open already."""


class TenantNotOpen(Refused):
    """This organisation is not open yet; an admin opens it with POST /tenants/{its id}/open."""


class NotDueYet(Refused):
    """The retention time of these fixes is not over yet."""
