"""What readers get to know of tenants."""

from dataclasses import replace
from datetime import date

from domain.kernel import Recorded
from domain.tenants import (
    DEFAULT_GPS_DAYS,
    TENANTS,
    RetentionSet,
    TenantOpened,
    TimeZoneChanged,
)
from projections.kernel import Look, View, row


@row
class Zone:
    """From this local date on, days follow this time zone."""

    from_date: date
    time_zone: str


@row
class TenantRow:
    """An organisation."""

    id: str
    name: str
    currency: str
    zones: tuple[Zone, ...]
    gps_days: int = DEFAULT_GPS_DAYS
    version: int = 0


def opened(_: TenantRow | None, happened: Recorded[TenantOpened], look: Look) -> TenantRow:
    fact = happened.fact
    zones = (Zone(from_date=date.min, time_zone=fact.time_zone),)
    return TenantRow(id=happened.id, name=fact.name, currency=fact.currency, zones=zones, version=happened.version)


def zone_changed(tenant: TenantRow, happened: Recorded[TimeZoneChanged], look: Look) -> TenantRow:
    return replace(tenant, zones=with_zone(tenant.zones, happened.fact), version=happened.version)


def retention_set(tenant: TenantRow, happened: Recorded[RetentionSet], look: Look) -> TenantRow:
    return replace(tenant, gps_days=happened.fact.gps_days, version=happened.version)


def with_zone(zones: tuple[Zone, ...], changed: TimeZoneChanged) -> tuple[Zone, ...]:
    """Return the calendar with a change from a date on; what was to begin later is superseded."""
    kept = (zone for zone in zones if zone.from_date < changed.from_date)
    return (*kept, Zone(from_date=changed.from_date, time_zone=changed.time_zone))


TENANTS_VIEW = View(
    name="tenants",
    row=TenantRow,
    key=("id",),
    folds={TENANTS: {TenantOpened: opened, TimeZoneChanged: zone_changed, RetentionSet: retention_set}},
)
