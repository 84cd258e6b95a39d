"""People and teams: who inspects, who is inspected, who must be there, and when somebody has time.

person: (none) --register--> active --announce-availability, give-role, withdraw-role, change-contact--> active --leave--> gone
team:   (none) --register--> registered --withdraw--> withdrawn
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import date, datetime
from typing import Annotated, Literal

from domain.kernel import Erased, Personal, Refused, Stream, fact, state

VehicleClass = Literal["EV", "CV"]
PersonRole = Literal[
    "inspection_responsible", "scrutineer", "team_leader", "team_member", "electrical_safety_officer", "driver"
]
INSPECTORS = frozenset[PersonRole]({"inspection_responsible", "scrutineer"})


@fact
class Span:
    """A stretch of time, its end not included."""

    starts_at: datetime
    ends_at: datetime


@fact
class PersonRegistered:
    """Somebody takes part: staff, or a member of a team; `user` is the subject of his tokens, if he acts himself."""

    name: Annotated[str | Erased, Personal()]
    email: Annotated[str | Erased | None, Personal()] = None
    phone: Annotated[str | Erased | None, Personal()] = None
    user: str | None = None
    team_id: str | None = None
    roles: tuple[PersonRole, ...] = ()


@fact
class ContactChanged:
    """Somebody is called, or reached, otherwise now."""

    name: Annotated[str | Erased, Personal()]
    email: Annotated[str | Erased | None, Personal()] = None
    phone: Annotated[str | Erased | None, Personal()] = None


@fact
class RoleGiven:
    """Somebody may act as this from now on."""

    role: PersonRole


@fact
class RoleWithdrawn:
    """Somebody does not act as this any more."""

    role: PersonRole


@fact
class AvailabilityAnnounced:
    """On this local date, somebody has time in these spans and no others; a later announcement replaces it."""

    day: date
    spans: tuple[Span, ...]


@fact
class PersonLeft:
    """Somebody takes part no more."""


@state
class Person:
    """Whether somebody takes part, for whom and as what."""

    status: Literal["active", "gone"] | None = None
    user: str | None = None
    team_id: str | None = None
    roles: frozenset[PersonRole] = frozenset()
    availability: Mapping[date, tuple[Span, ...]] = field(default_factory=dict)


def evolve(person: Person, happened: object) -> Person:
    """Return the person after what happened."""
    match happened:
        case PersonRegistered(user=user, team_id=team, roles=roles):
            return replace(person, status="active", user=user, team_id=team, roles=frozenset(roles))
        case RoleGiven(role=role):
            return replace(person, roles=person.roles | {role})
        case RoleWithdrawn(role=role):
            return replace(person, roles=person.roles - {role})
        case AvailabilityAnnounced(day=day, spans=spans):
            return replace(person, availability={**person.availability, day: spans})
        case PersonLeft():
            return replace(person, status="gone")
    return person


PEOPLE = Stream(
    "people",
    Person(),
    evolve,
    {
        "people.registered.v1": PersonRegistered,
        "people.contact-changed.v1": ContactChanged,
        "people.role-given.v1": RoleGiven,
        "people.role-withdrawn.v1": RoleWithdrawn,
        "people.availability-announced.v1": AvailabilityAnnounced,
        "people.left.v1": PersonLeft,
    },
)


@fact
class TeamRegistered:
    """A team enters the competition with a car of one class; its code is its own, its number too among cars of its class."""

    name: str
    code: str
    vehicle_class: VehicleClass
    university: str | None = None
    number: int | None = None


@fact
class MemberEnlisted:
    """Somebody belongs to the team, with these roles; enlisted again, with others."""

    person_id: str
    user: str | None = None
    roles: tuple[PersonRole, ...] = ()


@fact
class MemberStruckOff:
    """Somebody belongs to the team no more."""

    person_id: str


@fact
class TeamWithdrawn:
    """The team gave up."""

    reason: str


@state
class Member:
    """Who he is in tokens, and what he is in the team."""

    user: str | None = None
    roles: frozenset[PersonRole] = frozenset()


@state
class Team:
    """The team's car, its code and number, and who belongs to it."""

    status: Literal["registered", "withdrawn"] | None = None
    code: str = ""
    number: int | None = None
    vehicle_class: VehicleClass = "EV"
    members: Mapping[str, Member] = field(default_factory=dict)

    def has_user(self, user: str) -> bool:
        """Say whether the subject of these tokens belongs to the team."""
        return any(member.user == user for member in self.members.values())


def evolve_team(team: Team, happened: object) -> Team:
    """Return the team after what happened."""
    match happened:
        case TeamRegistered(code=code, number=number, vehicle_class=vehicle_class):
            return replace(team, status="registered", code=code, number=number, vehicle_class=vehicle_class)
        case MemberEnlisted(person_id=person, user=user, roles=roles):
            return replace(team, members={**team.members, person: Member(user=user, roles=frozenset(roles))})
        case MemberStruckOff(person_id=gone):
            return replace(team, members={id: member for id, member in team.members.items() if id != gone})
        case TeamWithdrawn():
            return replace(team, status="withdrawn")
    return team


TEAMS = Stream(
    "teams",
    Team(),
    evolve_team,
    {
        "teams.registered.v1": TeamRegistered,
        "teams.member-enlisted.v1": MemberEnlisted,
        "teams.member-struck-off.v1": MemberStruckOff,
        "teams.withdrawn.v1": TeamWithdrawn,
    },
)


class PersonAlreadyRegistered(Refused):
    """A person with this id is registered already."""


class PersonUnknown(Refused):
    """No person with this id takes part."""


class PersonGone(Refused):
    """This person takes part no more."""


class UserTakenByPerson(Refused):
    """Another person acts with these tokens."""


class SpansOverlap(Refused):
    """The spans of a day overlap, or lie on another local date."""


class TeamAlreadyRegistered(Refused):
    """A team with this id is registered already."""


class TeamCodeTaken(Refused):
    """Another team has this code."""


class TeamNumberTaken(Refused):
    """Another team of this class has this number."""


class TeamUnknown(Refused):
    """No team with this id is registered."""


class TeamGone(Refused):
    """This team has withdrawn."""
