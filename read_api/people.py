"""People and teams: `GET /people`, `GET /people/{id}`, `GET /teams`, `GET /teams/{id}`."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from domain.people import PersonRole, VehicleClass
from read_api.listing import Filter, Listing, Page, Paging, Shown
from read_api.paddock import PADDOCK, Paddock

router = APIRouter(tags=["people"])

ITEM = """json_build_object('id', t.id, 'name', t.name, 'email', t.email, 'phone', t.phone, 'user', t."user",
    'team_id', t.team_id, 'team_name', m.name, 'roles', t.roles, 'status', t.status, 'version', t.version)"""
JOINS = "left join {schema}.teams m on m.tenant_id = t.tenant_id and m.id = t.team_id"


class Participant(Shown):
    """Somebody who takes part; a name that was erased is empty."""

    id: str
    name: str
    email: str | None
    phone: str | None
    user: str | None
    team_id: str | None
    team_name: str | None
    roles: list[PersonRole]
    status: Literal["active", "gone"]
    version: int


class PeopleWanted(Paging):
    """Which people."""

    role: PersonRole | None = None
    team: str | None = None
    status: Literal["active", "gone"] | None = None


PEOPLE = Listing(
    name="people",
    scope=PADDOCK,
    context="inspections",
    view="people",
    wanted=PeopleWanted,
    item=ITEM,
    shown=Participant,
    joins=JOINS,
    order=("t.name", "t.id"),
    filters={"role": Filter("roles", "has"), "team": Filter("team_id"), "status": Filter("status")},
    own=Filter("team_id", "in"),
)


@router.get("/people", response_model=Page[Participant])
async def people(ask: Paddock, wanted: Annotated[PeopleWanted, Query()]) -> Response:
    """People by name; a team sees its own members."""
    return await ask.page(PEOPLE, wanted)


@router.get("/people/{id}", response_model=Participant)
async def person(ask: Paddock, id: str) -> Response:
    """One person; a team sees its own members."""
    return await ask.record(PEOPLE, id)


TEAM = """json_build_object('id', t.id, 'name', t.name, 'code', t.code, 'vehicle_class', t.vehicle_class,
    'university', t.university, 'number', t.number, 'status', t.status, 'members', (
        select coalesce(json_agg(json_build_object('id', p.id, 'name', p.name, 'roles', p.roles)
                   order by p.name, p.id), '[]')
          from {schema}.people p
         where p.tenant_id = t.tenant_id and p.team_id = t.id and p.status = 'active'), 'version', t.version)"""


class Member(Shown):
    """Somebody of a team."""

    id: str
    name: str
    roles: list[PersonRole]


class Team(Shown):
    """A team with its car, and who belongs to it."""

    id: str
    name: str
    code: str
    vehicle_class: VehicleClass
    university: str | None
    number: int | None
    status: Literal["registered", "withdrawn"]
    members: list[Member]
    version: int


class TeamsWanted(Paging):
    """Which teams."""

    vehicle_class: VehicleClass | None = Field(None, alias="class")


TEAMS = Listing(
    name="teams",
    scope=PADDOCK,
    context="inspections",
    view="teams",
    wanted=TeamsWanted,
    item=TEAM,
    shown=Team,
    order=("t.name", "t.id"),
    filters={"class": Filter("vehicle_class")},
    own=Filter("id", "in"),
)


@router.get("/teams", response_model=Page[Team])
async def teams(ask: Paddock, wanted: Annotated[TeamsWanted, Query()]) -> Response:
    """Teams by name; a team sees itself."""
    return await ask.page(TEAMS, wanted)


@router.get("/teams/{id}", response_model=Team)
async def team(ask: Paddock, id: str) -> Response:
    """One team; a team sees itself."""
    return await ask.record(TEAMS, id)
