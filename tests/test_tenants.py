"""Tenants: a calendar, a currency, and how long fixes are kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from pydantic import ValidationError

from commands.tenants import ChangeTimeZone, ExpireFixes, OpenTenant, SetRetention
from domain.kernel import NotYours
from domain.tenants import (
    TENANTS,
    FixesExpired,
    NotDueYet,
    RetentionSet,
    Tenant,
    TenantAlreadyOpen,
    TenantNotOpen,
    TenantOpened,
    TimeZoneChanged,
    evolve,
)
from tests.given import NOW, given

OPEN = OpenTenant(name="Eco-Haul", time_zone="Europe/Ljubljana", currency="EUR")
OPENED = TenantOpened(name="Eco-Haul", time_zone="Europe/Ljubljana", currency="EUR")
ECO_HAUL = given(TENANTS, OPENED)
DAY = date(2026, 11, 20)
MOVE = ChangeTimeZone(time_zone="Pacific/Auckland", from_date=DAY)
MOVED = TimeZoneChanged(time_zone="Pacific/Auckland", from_date=DAY)
OLD = date(2026, 10, 20)
EXPIRE = ExpireFixes(through=OLD)
DUE = datetime(2026, 11, 20, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def local_date(at: str, *facts: object) -> date:
    """The organisation's date at this moment, after these facts."""
    tenant = Tenant()
    for fact in facts:
        tenant = evolve(tenant, fact)
    return tenant.local_date(datetime.fromisoformat(at))


def test_an_organisation_opens_with_its_calendar_and_currency() -> None:
    given(TENANTS).when(OPEN).then(OPENED)


def test_an_organisation_opens_once() -> None:
    ECO_HAUL.when(OPEN).refused(TenantAlreadyOpen)


def test_nobody_opens_the_organisation_of_another() -> None:
    given(TENANTS).when(OPEN, id="0192f000-0000-7000-8000-000000000002").refused(NotYours)


def test_a_time_zone_is_one_of_the_iana_database() -> None:
    with pytest.raises(ValidationError):
        OpenTenant(name="Eco-Haul", time_zone="Europe/Atlantis", currency="EUR")


def test_days_follow_another_time_zone_from_a_date_on() -> None:
    ECO_HAUL.when(MOVE).then(MOVED)


def test_the_time_zone_that_was_set_last_need_not_change() -> None:
    ECO_HAUL.given(TENANTS, MOVED).when(MOVE).then()


def test_late_in_the_evening_it_is_tomorrow_to_the_east() -> None:
    assert local_date("2026-11-20T22:59:59Z", OPENED) == DAY
    assert local_date("2026-11-20T23:30:00Z", OPENED) == date(2026, 11, 21)


def test_in_summer_the_day_begins_an_hour_earlier() -> None:
    assert local_date("2026-07-20T22:00:00Z", OPENED) == date(2026, 7, 21)


def test_a_date_is_told_by_the_time_zone_in_force_on_it() -> None:
    assert local_date("2026-11-19T10:59:59Z", OPENED, MOVED) == date(2026, 11, 19)
    assert local_date("2026-11-19T11:00:00Z", OPENED, MOVED) == DAY


def test_a_change_of_time_zone_supersedes_what_was_to_begin_later() -> None:
    earlier = replace(MOVED, time_zone="America/Lima", from_date=date(2026, 11, 10))
    assert local_date("2026-11-22T04:00:00Z", OPENED, MOVED, earlier) == date(2026, 11, 21)


def test_fixes_are_kept_for_other_days() -> None:
    ECO_HAUL.when(SetRetention(gps_days=1)).then(RetentionSet(gps_days=1))


def test_fixes_are_kept_for_30_days_if_nothing_is_said() -> None:
    ECO_HAUL.when(SetRetention(gps_days=30)).then()


@pytest.mark.parametrize("days", [0, 3_651])
def test_fixes_are_kept_for_one_day_to_ten_years(days: int) -> None:
    with pytest.raises(ValidationError):
        SetRetention(gps_days=days)


def test_fixes_expire_once_they_were_kept_for_30_whole_days() -> None:
    ECO_HAUL.moment(NOW, now=DUE).when(EXPIRE).then(FixesExpired(through=OLD))


def test_fixes_do_not_expire_before() -> None:
    ECO_HAUL.moment(NOW, now=DUE - SECOND).when(EXPIRE).refused(NotDueYet, due="2026-11-20T00:00:00+00:00")


def test_what_is_due_is_judged_by_the_time_of_the_door() -> None:
    ECO_HAUL.moment(DUE + timedelta(days=9), now=DUE - SECOND).when(EXPIRE).refused(NotDueYet)


def test_fixes_that_are_kept_shorter_expire_sooner() -> None:
    ECO_HAUL.given(TENANTS, RetentionSet(gps_days=1)).when(ExpireFixes(through=date(2026, 11, 18))).then(
        FixesExpired(through=date(2026, 11, 18))
    )


def test_expired_fixes_do_not_expire_again() -> None:
    ECO_HAUL.given(TENANTS, FixesExpired(through=OLD)).when(EXPIRE).then()


def test_nothing_expires_where_nothing_is_open() -> None:
    given(TENANTS).when(EXPIRE).refused(TenantNotOpen)
