"""Sites, as the office sees them."""

from dataclasses import replace
from typing import Literal

from domain.kernel import Recorded
from domain.trips.sites import SITES, SiteClosed, SiteRateChanged, SiteRegistered, Unit
from projections.kernel import Look, View, row


@row
class SiteRow:
    """A place where trucks load or unload, and the rate that was set last."""

    id: str
    name: str
    address: str | None
    latitude: float
    longitude: float
    rate_minor: int | None = None
    rate_currency: str | None = None
    rate_unit: Unit | None = None
    status: Literal["open", "closed"] = "open"
    version: int = 0


def registered(_: SiteRow | None, happened: Recorded[SiteRegistered], look: Look) -> SiteRow:
    fact = happened.fact
    return SiteRow(
        id=happened.id,
        name=fact.name,
        address=fact.address,
        latitude=fact.latitude,
        longitude=fact.longitude,
        rate_minor=fact.rate.amount_minor if fact.rate else None,
        rate_currency=fact.rate.currency if fact.rate else None,
        rate_unit=fact.rate.unit if fact.rate else None,
        version=happened.version,
    )


def rate_changed(site: SiteRow, happened: Recorded[SiteRateChanged], look: Look) -> SiteRow:
    rate = happened.fact.rate
    return replace(
        site,
        rate_minor=rate.amount_minor,
        rate_currency=rate.currency,
        rate_unit=rate.unit,
        version=happened.version,
    )


def closed(site: SiteRow, happened: Recorded[SiteClosed], look: Look) -> SiteRow:
    return replace(site, status="closed", version=happened.version)


SITES_VIEW = View(
    name="sites",
    row=SiteRow,
    key=("id",),
    filters=("status",),
    folds={SITES: {SiteRegistered: registered, SiteRateChanged: rate_changed, SiteClosed: closed}},
)
