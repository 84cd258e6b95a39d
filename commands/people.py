"""What may be asked of people and teams."""

from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise
from operator import attrgetter
from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from commands.kernel import Asked, Command, Consults, Day, Decision, Id, Moment, Name, On, Text, on
from domain.claims import CLAIMS, Claimed, Released
from domain.kernel import NotYours
from domain.people import (
    TEAMS,
    AvailabilityAnnounced,
    ContactChanged,
    MemberEnlisted,
    MemberStruckOff,
    Person,
    PersonAlreadyRegistered,
    PersonGone,
    PersonLeft,
    PersonRegistered,
    PersonRole,
    RoleGiven,
    RoleWithdrawn,
    Span,
    SpansOverlap,
    Team,
    TeamAlreadyRegistered,
    TeamCodeTaken,
    TeamGone,
    TeamNumberTaken,
    TeamRegistered,
    TeamUnknown,
    TeamWithdrawn,
    UserTakenByPerson,
    VehicleClass,
)
from domain.roles import CREW, STAFF, Role
from domain.tenants import TENANTS, TenantNotOpen

MOST_ROLES, MOST_SPANS = 6, 48
EVERYBODY = CREW | {Role.TEAM_LEADER, Role.TEAM_MEMBER}


class RegisterPerson(Command):
    """Let somebody take part, as staff or in a team; `user` is the subject of his tokens, if he acts himself."""

    name: Name
    email: Name | None = None
    phone: Name | None = None
    user: Name | None = None
    team_id: Id | None = None
    roles: Annotated[tuple[PersonRole, ...], Field(max_length=MOST_ROLES)] = ()
    allows: ClassVar = STAFF
    refuses: ClassVar = (PersonAlreadyRegistered, UserTakenByPerson, TeamUnknown, TeamGone)
    creates: ClassVar = True

    def consults(self, person: Person, asked: Asked) -> Consults:
        if self.user is not None:
            yield CLAIMS, _user(self.user)
        if self.team_id is not None:
            yield TEAMS, self.team_id

    def decide(self, person: Person, asked: Asked) -> Decision:
        if person.status is not None:
            raise PersonAlreadyRegistered
        if self.user is not None:
            if asked.seen[CLAIMS].by is not None:
                raise UserTakenByPerson(user=self.user)
            yield on(CLAIMS, _user(self.user), Claimed(by=asked.id))
        if self.team_id is not None and asked.seen[TEAMS].status != "registered":
            raise TeamGone(team_id=self.team_id) if asked.seen[TEAMS].status else TeamUnknown(team_id=self.team_id)
        registered = PersonRegistered(
            name=self.name,
            email=self.email,
            phone=self.phone,
            user=self.user,
            team_id=self.team_id,
            roles=tuple(sorted(set(self.roles))),
        )
        yield registered
        yield from _enlist(asked.id, self.team_id, self.user, frozenset(self.roles))


def _user(user: str) -> str:
    return f"person-user/{user}"


def _enlist(person_id: str, team_id: str | None, user: str | None, roles: frozenset[PersonRole]) -> Iterator[On]:
    """Yield that somebody belongs to his team with these roles, if he has a team."""
    if team_id is not None:
        enlisted = MemberEnlisted(person_id=person_id, user=user, roles=tuple(sorted(roles)))
        yield on(TEAMS, team_id, enlisted)


def _team(person: Person) -> Consults:
    if person.team_id is not None:
        yield TEAMS, person.team_id


class ChangeContact(Command):
    """Say how somebody is called and reached from now on."""

    name: Name
    email: Name | None = None
    phone: Name | None = None
    allows: ClassVar = STAFF
    refuses: ClassVar = (PersonGone,)
    needs_version: ClassVar = True
    respects_lock: ClassVar = True

    def decide(self, person: Person, asked: Asked) -> Decision:
        if person.status == "gone":
            raise PersonGone
        yield ContactChanged(name=self.name, email=self.email, phone=self.phone)


class GiveRole(Command):
    """Let somebody act as this, in his team too."""

    role: PersonRole
    allows: ClassVar = STAFF
    refuses: ClassVar = (PersonGone,)

    def consults(self, person: Person, asked: Asked) -> Consults:
        yield from _team(person)

    def decide(self, person: Person, asked: Asked) -> Decision:
        if person.status == "gone":
            raise PersonGone
        if self.role not in person.roles:
            yield RoleGiven(role=self.role)
            yield from _enlist(asked.id, person.team_id, person.user, person.roles | {self.role})


class WithdrawRole(Command):
    """Let somebody act as this no more, in his team neither."""

    role: PersonRole
    allows: ClassVar = STAFF
    refuses: ClassVar = (PersonGone,)

    def consults(self, person: Person, asked: Asked) -> Consults:
        yield from _team(person)

    def decide(self, person: Person, asked: Asked) -> Decision:
        if person.status == "gone":
            raise PersonGone
        if self.role in person.roles:
            yield RoleWithdrawn(role=self.role)
            yield from _enlist(asked.id, person.team_id, person.user, person.roles - {self.role})


class SpanSent(BaseModel):
    """A stretch of time, its end not included."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    starts_at: Moment
    ends_at: Moment

    @model_validator(mode="after")
    def _forward(self) -> Self:
        if self.ends_at <= self.starts_at:
            raise PydanticCustomError("span_backward", "A span ends after it starts")
        return self


class AnnounceAvailability(Command):
    """Say when somebody has time on a local date, and that he has none besides; no spans: he has none at all."""

    day: Day
    spans: Annotated[tuple[SpanSent, ...], Field(max_length=MOST_SPANS)]
    allows: ClassVar = EVERYBODY
    refuses: ClassVar = (NotYours, PersonGone, TenantNotOpen, SpansOverlap)

    def consults(self, person: Person, asked: Asked) -> Consults:
        yield TENANTS, str(asked.tenant)

    def decide(self, person: Person, asked: Asked) -> Decision:
        if not asked.by.roles & STAFF and person.user != asked.by.subject:
            raise NotYours
        if person.status == "gone":
            raise PersonGone
        tenant = asked.seen[TENANTS]
        if not tenant.open:
            raise TenantNotOpen
        spans = sorted(
            (Span(starts_at=one.starts_at, ends_at=one.ends_at) for one in self.spans), key=attrgetter("starts_at")
        )
        for span in spans:
            last = span.ends_at - timedelta(microseconds=1)
            if not tenant.local_date(span.starts_at) == tenant.local_date(last) == self.day:
                raise SpansOverlap(starts_at=span.starts_at, ends_at=span.ends_at)
        for before, after in pairwise(spans):
            if after.starts_at < before.ends_at:
                raise SpansOverlap(starts_at=after.starts_at, ends_at=after.ends_at)
        if person.availability.get(self.day) != tuple(spans):
            yield AvailabilityAnnounced(day=self.day, spans=tuple(spans))


class LeavePerson(Command):
    """Let somebody take part no more; another person may act with his tokens then."""

    allows: ClassVar = STAFF

    def consults(self, person: Person, asked: Asked) -> Consults:
        if person.user is not None:
            yield CLAIMS, _user(person.user)
        yield from _team(person)

    def decide(self, person: Person, asked: Asked) -> Decision:
        if person.status == "gone":
            return
        yield PersonLeft()
        if person.user is not None:
            yield on(CLAIMS, _user(person.user), Released())
        if person.team_id is not None:
            yield on(TEAMS, person.team_id, MemberStruckOff(person_id=asked.id))


class RegisterTeam(Command):
    """Let a team enter the competition; its code is its own, its number too among cars of its class."""

    name: Name
    code: Name
    vehicle_class: VehicleClass
    university: Name | None = None
    number: Annotated[int, Field(ge=0, le=9_999)] | None = None
    allows: ClassVar = STAFF
    refuses: ClassVar = (TeamAlreadyRegistered, TeamCodeTaken, TeamNumberTaken)
    creates: ClassVar = True

    def consults(self, team: Team, asked: Asked) -> Consults:
        yield from ((CLAIMS, name) for name in _names(self))

    def decide(self, team: Team, asked: Asked) -> Decision:
        if team.status is not None:
            raise TeamAlreadyRegistered
        code, *numbers = _names(self)
        if asked.seen[CLAIMS, code].by is not None:
            raise TeamCodeTaken(code=self.code)
        if any(asked.seen[CLAIMS, number].by is not None for number in numbers):
            raise TeamNumberTaken(number=self.number)
        yield TeamRegistered(
            name=self.name,
            code=self.code,
            vehicle_class=self.vehicle_class,
            university=self.university,
            number=self.number,
        )
        yield from (on(CLAIMS, name, Claimed(by=asked.id)) for name in _names(self))


def _names(team: RegisterTeam | Team) -> list[str]:
    """Return what a team claims: its code, and its number if it has one."""
    number = [] if team.number is None else [f"team-number/{team.vehicle_class}/{team.number}"]
    return [f"team-code/{team.code.casefold()}", *number]


class WithdrawTeam(Command):
    """Let a team give up; another team may have its code and number then."""

    reason: Text
    allows: ClassVar = STAFF

    def consults(self, team: Team, asked: Asked) -> Consults:
        yield from ((CLAIMS, name) for name in _names(team))

    def decide(self, team: Team, asked: Asked) -> Decision:
        if team.status == "withdrawn":
            return
        yield TeamWithdrawn(reason=self.reason)
        yield from (on(CLAIMS, name, Released()) for name in _names(team))
