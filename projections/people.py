"""People, their teams and when they have time."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Literal

from domain.kernel import Erased, Recorded
from domain.people import (
    PEOPLE,
    TEAMS,
    AvailabilityAnnounced,
    ContactChanged,
    MemberEnlisted,
    MemberStruckOff,
    PersonLeft,
    PersonRegistered,
    PersonRole,
    RoleGiven,
    RoleWithdrawn,
    Span,
    TeamRegistered,
    TeamWithdrawn,
    VehicleClass,
)
from projections.kernel import Key, Look, View, at, row


@row
class PersonRow:
    """Somebody who takes part; a name that was erased is empty."""

    id: str
    name: str
    email: str | None = None
    phone: str | None = None
    user: str | None = None
    team_id: str | None = None
    roles: tuple[PersonRole, ...] = ()
    status: Literal["active", "gone"] = "active"
    version: int = 0


def registered(_: PersonRow | None, happened: Recorded[PersonRegistered], look: Look) -> PersonRow:
    fact = happened.fact
    return PersonRow(
        id=happened.id,
        name=_known(fact.name) or "",
        email=_known(fact.email),
        phone=_known(fact.phone),
        user=fact.user,
        team_id=fact.team_id,
        roles=tuple(sorted(set(fact.roles))),
        version=happened.version,
    )


def contact_changed(person: PersonRow, happened: Recorded[ContactChanged], look: Look) -> PersonRow:
    fact = happened.fact
    return replace(
        person,
        name=_known(fact.name) or "",
        email=_known(fact.email),
        phone=_known(fact.phone),
        version=happened.version,
    )


def _known(contact: str | Erased | None) -> str | None:
    return None if isinstance(contact, Erased) else contact


def role_given(person: PersonRow, happened: Recorded[RoleGiven], look: Look) -> PersonRow:
    roles = tuple(sorted({*person.roles, happened.fact.role}))
    return replace(person, roles=roles, version=happened.version)


def role_withdrawn(person: PersonRow, happened: Recorded[RoleWithdrawn], look: Look) -> PersonRow:
    roles = tuple(role for role in person.roles if role != happened.fact.role)
    return replace(person, roles=roles, version=happened.version)


def told_of(person: PersonRow, happened: Recorded[AvailabilityAnnounced], look: Look) -> PersonRow:
    return replace(person, version=happened.version)


def left(person: PersonRow, happened: Recorded[PersonLeft], look: Look) -> PersonRow:
    return replace(person, status="gone", version=happened.version)


def _member(happened: Recorded[MemberEnlisted] | Recorded[MemberStruckOff], look: Look) -> list[Key]:
    return [(happened.fact.person_id,)]


def enlisted(person: PersonRow | None, happened: Recorded[MemberEnlisted], look: Look, key: Key) -> PersonRow | None:
    return replace(person, team_id=happened.id) if person is not None else None


def struck_off(person: PersonRow | None, happened: Recorded[MemberStruckOff], look: Look, key: Key) -> PersonRow | None:
    is_his = person is not None and person.team_id == happened.id
    return replace(person, team_id=None) if person is not None and is_his else person


PEOPLE_VIEW = View(
    name="people",
    row=PersonRow,
    key=("id",),
    filters=("status", "team_id", "roles"),
    indexes=("name, id", '"user"', "team_id, name, id"),
    folds={
        PEOPLE: {
            PersonRegistered: registered,
            ContactChanged: contact_changed,
            RoleGiven: role_given,
            RoleWithdrawn: role_withdrawn,
            AvailabilityAnnounced: told_of,
            PersonLeft: left,
        },
        TEAMS: {MemberEnlisted: at(_member, enlisted), MemberStruckOff: at(_member, struck_off)},
    },
)


@row
class TeamRow:
    """A team with its car."""

    id: str
    name: str
    code: str
    vehicle_class: VehicleClass
    university: str | None = None
    number: int | None = None
    status: Literal["registered", "withdrawn"] = "registered"
    version: int = 0


def team_registered(_: TeamRow | None, happened: Recorded[TeamRegistered], look: Look) -> TeamRow:
    fact = happened.fact
    return TeamRow(
        id=happened.id,
        name=fact.name,
        code=fact.code,
        vehicle_class=fact.vehicle_class,
        university=fact.university,
        number=fact.number,
        version=happened.version,
    )


def joined(team: TeamRow, happened: Recorded[MemberEnlisted] | Recorded[MemberStruckOff], look: Look) -> TeamRow:
    return replace(team, version=happened.version)


def withdrawn(team: TeamRow, happened: Recorded[TeamWithdrawn], look: Look) -> TeamRow:
    return replace(team, status="withdrawn", version=happened.version)


TEAMS_VIEW = View(
    name="teams",
    row=TeamRow,
    key=("id",),
    filters=("id", "vehicle_class"),
    indexes=("name, id",),
    folds={
        TEAMS: {
            TeamRegistered: team_registered,
            MemberEnlisted: joined,
            MemberStruckOff: joined,
            TeamWithdrawn: withdrawn,
        }
    },
)


@row
class AvailabilityRow:
    """When somebody has time on a local date; no row: he has not said."""

    person_id: str
    day: date
    spans: tuple[Span, ...]


def _day(happened: Recorded[AvailabilityAnnounced], look: Look) -> list[Key]:
    return [(happened.id, happened.fact.day)]


def announced(
    _: AvailabilityRow | None, happened: Recorded[AvailabilityAnnounced], look: Look, key: Key
) -> AvailabilityRow:
    return AvailabilityRow(person_id=happened.id, day=happened.fact.day, spans=happened.fact.spans)


AVAILABILITY_VIEW = View(
    name="availability",
    row=AvailabilityRow,
    key=("person_id", "day"),
    folds={PEOPLE: {AvailabilityAnnounced: at(_day, announced)}},
)
