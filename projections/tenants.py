"""What readers get to know of tenants."""

from dataclasses import replace

from domain.kernel import Recorded
from domain.tenants import (
    DEFAULT_GPS_DAYS,
    TENANTS,
    RetentionSet,
    TenantOpened,
    TimeZoneChanged,
    Zone,
    first_zone,
    with_zone,
)
from projections.kernel import Look, View, row


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
    return TenantRow(
        id=happened.id, name=fact.name, currency=fact.currency, zones=first_zone(fact), version=happened.version
    )


def zone_changed(tenant: TenantRow, happened: Recorded[TimeZoneChanged], look: Look) -> TenantRow:
    return replace(tenant, zones=with_zone(tenant.zones, happened.fact), version=happened.version)


def retention_set(tenant: TenantRow, happened: Recorded[RetentionSet], look: Look) -> TenantRow:
    return replace(tenant, gps_days=happened.fact.gps_days, version=happened.version)


TENANTS_VIEW = View(
    name="tenants",
    row=TenantRow,
    key=("id",),
    folds={TENANTS: {TenantOpened: opened, TimeZoneChanged: zone_changed, RetentionSet: retention_set}},
)
