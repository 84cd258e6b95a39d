"""Sites: where loads come from and go to, and what a load brought there is paid.

(none) --register--> open --change-rate--> open --close--> closed
Rates follow one another in time. The first rate a site was given holds for everything before it, too.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from operator import itemgetter
from typing import Literal

from domain.kernel import Refused, Stream, fact, state

Unit = Literal["m3", "t"]
ALWAYS = datetime.min.replace(tzinfo=UTC)


@fact
class Rate:
    """What one unit brought here is paid, in minor units of the currency (ISO 4217)."""

    amount_minor: int
    currency: str
    unit: Unit


@fact
class SiteRegistered:
    """A place where trucks load or unload. Coordinates are WGS84 degrees."""

    name: str
    latitude: float
    longitude: float
    address: str | None = None
    rate: Rate | None = None


@fact
class SiteRateChanged:
    """From this moment on, loads brought here are paid at another rate."""

    rate: Rate
    since: datetime


@fact
class SiteClosed:
    """No new trip goes here."""


@state
class Site:
    """Whether trips may go here, and the rate at each moment."""

    status: Literal["open", "closed"] | None = None
    rates: tuple[tuple[datetime, Rate], ...] = ()

    @property
    def first_rate(self) -> Rate | None:
        """Return the rate that was set first; it holds for everything before."""
        return self.rates[0][1] if self.rates else None

    def rate_at(self, at: datetime) -> Rate | None:
        """Return the rate in force at this moment."""
        return next((rate for since, rate in reversed(self.rates) if since <= at), self.first_rate)


def evolve(site: Site, happened: object) -> Site:
    """Return the site after what happened."""
    match happened:
        case SiteRegistered(rate=rate):
            return replace(site, status="open", rates=((ALWAYS, rate),) if rate else ())
        case SiteRateChanged(rate=rate, since=since):
            return replace(site, rates=tuple(sorted((*site.rates, (since, rate)), key=itemgetter(0))))
        case SiteClosed():
            return replace(site, status="closed")
    return site


SITES = Stream(
    "sites",
    Site(),
    evolve,
    {
        "sites.registered.v1": SiteRegistered,
        "sites.rate-changed.v1": SiteRateChanged,
        "sites.closed.v1": SiteClosed,
    },
)


class SiteAlreadyRegistered(Refused):
    """A site with this id is registered already."""


class SiteUnknown(Refused):
    """No site with this id is registered."""


class SiteIsClosed(Refused):
    """The site is closed."""


class RateChangedSince(Refused):
    """The rate of the site was changed at a later moment already."""


class WrongCurrency(Refused):
    """Rates are set in the organisation's own currency."""
