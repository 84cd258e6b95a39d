"""What may be asked of sites."""

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from commands.kernel import Asked, Command, Consults, Currency, Decision, Name, Text
from commands.trips.roles import OFFICE
from domain.tenants import TENANTS, TenantNotOpen
from domain.trips.sites import (
    Rate,
    RateChangedSince,
    Site,
    SiteAlreadyRegistered,
    SiteClosed,
    SiteIsClosed,
    SiteRateChanged,
    SiteRegistered,
    Unit,
    WrongCurrency,
)

MOST_MINOR = 10**9


class RateSent(BaseModel):
    """What one unit is paid: minor units of the organisation's currency, per cubic metre or tonne."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    amount_minor: Annotated[int, Field(ge=0, le=MOST_MINOR)]
    currency: Currency
    unit: Unit


def _rate(sent: RateSent | None, asked: Asked) -> Rate | None:
    """Return the rate as it is stored. Raises TenantNotOpen, WrongCurrency."""
    if sent is None:
        return None
    tenant = asked.seen[TENANTS]
    if not tenant.open:
        raise TenantNotOpen
    if sent.currency != tenant.currency:
        raise WrongCurrency(currency=tenant.currency)
    return Rate(amount_minor=sent.amount_minor, currency=sent.currency, unit=sent.unit)


class RegisterSite(Command):
    """Add a place where trucks load or unload, with what a load brought there is paid."""

    name: Name
    address: Text | None = None
    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]
    rate: RateSent | None = None
    allows: ClassVar = OFFICE
    refuses: ClassVar = (SiteAlreadyRegistered, TenantNotOpen, WrongCurrency)
    creates: ClassVar = True

    def consults(self, site: Site, asked: Asked) -> Consults:
        yield TENANTS, str(asked.tenant)

    def decide(self, site: Site, asked: Asked) -> Decision:
        if site.status is not None:
            raise SiteAlreadyRegistered
        yield SiteRegistered(
            name=self.name,
            address=self.address,
            latitude=self.latitude,
            longitude=self.longitude,
            rate=_rate(self.rate, asked),
        )


class ChangeRate(Command):
    """Pay loads brought here at another rate from now on (from `Occurred-At`, if given), but not before its last change.

    Trips that are completed already keep their rate.
    """

    rate: RateSent
    allows: ClassVar = OFFICE
    refuses: ClassVar = (SiteIsClosed, TenantNotOpen, WrongCurrency, RateChangedSince)
    respects_lock: ClassVar = True

    def consults(self, site: Site, asked: Asked) -> Consults:
        yield TENANTS, str(asked.tenant)

    def decide(self, site: Site, asked: Asked) -> Decision:
        if site.status == "closed":
            raise SiteIsClosed
        rate = _rate(self.rate, asked)
        if rate is None or site.rate_at(asked.at) == rate:
            return
        if site.rates and asked.at < site.rates[-1][0]:
            raise RateChangedSince(since=site.rates[-1][0].isoformat())
        yield SiteRateChanged(rate=rate, since=asked.at)


class CloseSite(Command):
    """Let no new trip go here."""

    allows: ClassVar = OFFICE

    def decide(self, site: Site, asked: Asked) -> Decision:
        if site.status == "open":
            yield SiteClosed()
