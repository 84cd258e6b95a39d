"""Sites: where loads go, and what they are paid there."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import ValidationError

from commands.trips.sites import MOST_MINOR, ChangeRate, CloseSite, RateSent, RegisterSite
from domain.tenants import TENANTS, TenantNotOpen, TenantOpened
from domain.trips.sites import (
    SITES,
    Rate,
    RateChangedSince,
    SiteAlreadyRegistered,
    SiteClosed,
    SiteIsClosed,
    SiteRateChanged,
    SiteRegistered,
    WrongCurrency,
)
from tests.given import NOW, given

HOUR = timedelta(hours=1)
OPEN = given(TENANTS, TenantOpened(name="Eco-Haul", time_zone="Europe/Ljubljana", currency="EUR"))
RATE = Rate(amount_minor=28_169, currency="EUR", unit="m3")
DEARER = replace(RATE, amount_minor=30_000)
CHEAPER = replace(RATE, amount_minor=25_000)
UNPAID = SiteRegistered(name="Landfill", latitude=46.0, longitude=14.5)
SITE = replace(UNPAID, rate=RATE)
LANDFILL = OPEN.given(SITES, SITE)


def register(rate: Rate | None = None) -> RegisterSite:
    """The landfill, with this rate."""
    return RegisterSite(name="Landfill", latitude=46.0, longitude=14.5, rate=sent(rate) if rate else None)


def sent(rate: Rate) -> RateSent:
    """A rate as it is sent."""
    return RateSent(amount_minor=rate.amount_minor, currency=rate.currency, unit=rate.unit)


def change(rate: Rate) -> ChangeRate:
    """Another rate."""
    return ChangeRate(rate=sent(rate))


def test_a_site_is_registered_with_its_rate() -> None:
    OPEN.when(register(RATE)).then(SITE)


def test_a_site_without_a_rate_needs_no_currency() -> None:
    given(SITES).when(register()).then(UNPAID)


def test_a_site_is_registered_once() -> None:
    LANDFILL.when(register(RATE)).refused(SiteAlreadyRegistered)


def test_a_rate_is_in_the_currency_of_the_organisation() -> None:
    OPEN.when(register(replace(RATE, currency="USD"))).refused(WrongCurrency, currency="EUR")


def test_a_rate_needs_the_currency_of_an_open_organisation() -> None:
    given(SITES).when(register(RATE)).refused(TenantNotOpen)


def test_a_site_lies_on_earth() -> None:
    with pytest.raises(ValidationError):
        RegisterSite(name="Nowhere", latitude=90.5, longitude=14.5)


def test_a_rate_changes_from_now_on() -> None:
    LANDFILL.when(change(DEARER)).then(SiteRateChanged(rate=DEARER, since=NOW))


def test_a_rate_changes_from_an_earlier_moment_on() -> None:
    LANDFILL.moment(NOW - HOUR).when(change(DEARER)).then(SiteRateChanged(rate=DEARER, since=NOW - HOUR))


def test_rates_follow_one_another_in_time() -> None:
    changed = LANDFILL.given(SITES, SiteRateChanged(rate=DEARER, since=NOW))
    changed.moment(NOW - HOUR).when(change(CHEAPER)).refused(RateChangedSince, since=NOW.isoformat())
    changed.moment(NOW - HOUR).when(change(RATE)).then()
    changed.when(change(CHEAPER)).then(SiteRateChanged(rate=CHEAPER, since=NOW))


def test_the_first_rate_holds_for_everything_before_it() -> None:
    changed = OPEN.given(SITES, UNPAID, SiteRateChanged(rate=DEARER, since=NOW))
    changed.moment(NOW - HOUR).when(change(DEARER)).then()
    changed.moment(NOW - HOUR).when(change(RATE)).refused(RateChangedSince)


def test_a_rate_is_at_most_a_thousand_million_minor_units() -> None:
    assert sent(replace(RATE, amount_minor=MOST_MINOR))
    with pytest.raises(ValidationError):
        sent(replace(RATE, amount_minor=MOST_MINOR + 1))


def test_the_rate_in_force_need_not_change() -> None:
    LANDFILL.when(change(RATE)).then()


def test_a_site_without_a_rate_gets_one() -> None:
    OPEN.given(SITES, UNPAID).when(change(RATE)).then(SiteRateChanged(rate=RATE, since=NOW))


def test_a_changed_rate_is_in_the_currency_of_the_organisation() -> None:
    LANDFILL.when(change(replace(RATE, currency="USD"))).refused(WrongCurrency, currency="EUR")


def test_a_changed_rate_needs_the_currency_of_an_open_organisation() -> None:
    given(SITES, UNPAID).when(change(RATE)).refused(TenantNotOpen)


def test_the_rate_of_a_closed_site_stays() -> None:
    LANDFILL.given(SITES, SiteClosed()).when(change(DEARER)).refused(SiteIsClosed)


def test_each_moment_has_the_rate_that_was_in_force() -> None:
    changed = LANDFILL.given(
        SITES, SiteRateChanged(rate=CHEAPER, since=NOW - HOUR), SiteRateChanged(rate=DEARER, since=NOW)
    )
    for rate, moment in ((RATE, NOW - 2 * HOUR), (CHEAPER, NOW - HOUR), (DEARER, NOW)):
        changed.moment(moment).when(change(rate)).then()


def test_a_site_is_closed() -> None:
    LANDFILL.when(CloseSite()).then(SiteClosed())


def test_a_closed_site_stays_closed() -> None:
    LANDFILL.given(SITES, SiteClosed()).when(CloseSite()).then()
