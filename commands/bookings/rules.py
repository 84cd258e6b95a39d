"""By which rules teams come to inspections, and who may ask so for them."""

from datetime import date, datetime, timedelta

from commands.kernel import Asked, Consults
from domain.bookings.bookings import StartsInThePast, TooShortNotice
from domain.bookings.calendar import Visit
from domain.inspections.passports import (
    PASSPORTS,
    AlreadyPassed,
    NothingToRescrutineer,
    PrerequisitesMissing,
)
from domain.inspections.types import (
    ALL,
    INSPECTION_TYPES,
    PREREQUISITES,
    InspectionTypeNotOffered,
    InspectionTypeUnknown,
    NotForThisClass,
    Rules,
)
from domain.kernel import NotYours
from domain.people import TEAMS, Team, TeamGone, TeamUnknown, VehicleClass
from domain.roles import CREW, Role
from domain.tenants import TENANTS, TenantNotOpen

LEADERS = frozenset({Role.TEAM_LEADER})


def must_be_own(asked: Asked, but: frozenset[Role] = CREW) -> None:
    """Raise NotYours unless one with these roles asks, or somebody of the team that was consulted."""
    if not asked.by.roles & but and not asked.seen[TEAMS].has_user(asked.by.subject):
        raise NotYours


def team_in(team_id: str, asked: Asked) -> Team:
    """Return the team that was consulted. Raises TeamUnknown, TeamGone."""
    team = asked.seen[TEAMS]
    if team.status != "registered":
        raise TeamGone(team_id=team_id) if team.status else TeamUnknown(team_id=team_id)
    return team


def circumstances(team_id: str, type_id: str) -> Consults:
    """Name what decides whether a team may come to an inspection."""
    yield TEAMS, team_id
    yield INSPECTION_TYPES, type_id
    yield PREREQUISITES, ALL
    yield PASSPORTS, team_id


def rules_for(team: Team, type_id: str, *, rescrutineering: bool, asked: Asked) -> Rules:
    """Return the rules by which a team may book an inspection.

    Raises InspectionTypeUnknown, InspectionTypeNotOffered, NotForThisClass, NothingToRescrutineer, AlreadyPassed,
    PrerequisitesMissing.
    """
    kind, passport = asked.seen[INSPECTION_TYPES], asked.seen[PASSPORTS]
    if kind.rules is None:
        raise InspectionTypeUnknown(inspection_type_id=type_id)
    if kind.status != "offered":
        raise InspectionTypeNotOffered(inspection_type_id=type_id)
    if kind.rules.of(team.vehicle_class) is None:
        raise NotForThisClass(vehicle_class=team.vehicle_class)
    if rescrutineering and type_id not in passport.approvals:
        raise NothingToRescrutineer
    if passport.has_passed(type_id) and not rescrutineering:
        raise AlreadyPassed
    must_have_passed(type_id, team.vehicle_class, asked)
    return kind.rules


def must_have_passed(type_id: str, vehicle_class: VehicleClass, asked: Asked) -> None:
    """Raise PrerequisitesMissing unless the team has passed what comes before."""
    missing = asked.seen[PASSPORTS].missing(asked.seen[PREREQUISITES], type_id, vehicle_class)
    if missing:
        raise PrerequisitesMissing(missing=missing)


def must_be_ahead(starts_at: datetime, rules: Rules, asked: Asked) -> None:
    """Raise StartsInThePast, or TooShortNotice where a team asks for itself: those who inspect may book at once."""
    if starts_at < asked.now:
        raise StartsInThePast
    earliest = asked.now + timedelta(minutes=rules.notice_minutes)
    if not asked.by.roles & CREW and starts_at < earliest:
        raise TooShortNotice(earliest=earliest)


def local_date(at: datetime, asked: Asked) -> date:
    """Return the organisation's date at this moment. Raises TenantNotOpen."""
    if not asked.seen[TENANTS].open:
        raise TenantNotOpen
    return asked.seen[TENANTS].local_date(at)


def visit_at(team_id: str, type_id: str, starts_at: datetime, rules: Rules) -> Visit:
    """Return what a team takes of calendars when it comes then."""
    ends_at = starts_at + timedelta(minutes=rules.duration_minutes)
    return Visit(
        team_id=team_id,
        inspection_type_id=type_id,
        starts_at=starts_at,
        ends_at=ends_at,
        free_at=ends_at + timedelta(minutes=rules.buffer_minutes),
    )
