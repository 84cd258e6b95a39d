"""Checklists: `GET /checklist-templates`, `.../{id}`, `.../{id}/versions/{n}`, `.../{id}/versions/{n}/diff`.

A published version never changes and is cached for ever. Which one is current is kept here for an hour, for as long as
nothing moves, and clients ask each time whether it is still so: it is never stale after a version was published.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from domain.inspections.checklists import ChecklistStatus, Item, difference
from domain.people import VehicleClass
from domain.roles import STAFF
from infra.web.problems import NO_SUCH_RECORD, ProblemError
from read_api.kernel import FOR_EVER, REVALIDATED
from read_api.listing import Filter, Listing, Page, Paging, Shown
from read_api.paddock import PADDOCK, Paddock

router = APIRouter(tags=["checklists"])

AN_HOUR = 3_600
Version = Annotated[int, Path(ge=1, le=2**31)]

FIELDS = """'id', t.id, 'name', k.name, 'status', t.status, 'published_version', nullif(t.versions, 0),
    'published_at', v.published_at, 'ev_items', v.ev_items, 'cv_items', v.cv_items, 'source', t.source"""
JOINS = """left join {schema}.inspection_types k on k.tenant_id = t.tenant_id and k.id = t.id
    left join {schema}.checklist_versions v on v.tenant_id = t.tenant_id and v.checklist_id = t.id
        and v.version = t.versions"""


class ItemShown(Shown):
    """What is looked at; without a class, on every car."""

    code: str
    section: str
    description: str
    order_index: int
    required: bool
    vehicle_class: VehicleClass | None
    parent_code: str | None


class Checklist(Shown):
    """A checklist (its id is that of its inspection type), and its version by which inspections begin now: how many of its
    items are looked at on electric and on combustion cars. `version` is that of the record.
    """

    id: str
    name: str | None
    status: ChecklistStatus
    published_version: int | None
    published_at: datetime | None
    ev_items: int | None
    cv_items: int | None
    source: str | None
    version: int


class DraftedChecklist(Checklist):
    """A checklist with its draft, which staff sees."""

    draft: list[ItemShown] | None


class Wanted(Paging):
    """Which checklists."""

    status: ChecklistStatus | None = None


CHECKLISTS = Listing(
    name="checklist-templates",
    scope=PADDOCK,
    context="inspections",
    view="checklists",
    wanted=Wanted,
    item=f"json_build_object({FIELDS}, 'version', t.version)",
    shown=Checklist,
    joins=JOINS,
    order=("t.id",),
    filters={"status": Filter("status")},
    max_age=AN_HOUR,
    caching=REVALIDATED,
)


@router.get("/checklist-templates", response_model=Page[Checklist])
async def checklists(ask: Paddock, wanted: Annotated[Wanted, Query()]) -> Response:
    """Checklists by inspection type, with the current version of each."""
    return await ask.page(CHECKLISTS, wanted)


CHECKLIST = f"""select json_build_object({FIELDS}, 'draft', case when %(staff)s then (
        select coalesce(json_agg(i order by i->>'section', (i->>'order_index')::bigint, i->>'code'), '[]')
          from jsonb_array_elements(t.draft) i) end, 'version', t.version)::text
    from {{schema}}.checklists t {JOINS} where t.id = %(id)s"""


@router.get("/checklist-templates/{id}", response_model=DraftedChecklist)
async def checklist(ask: Paddock, id: str) -> Response:
    """One checklist, with its current version and, for staff, its draft."""
    parameters = {"id": id, "staff": bool(ask.principal.actor.roles & STAFF)}
    return await ask.computed(
        "inspections", CHECKLIST, parameters, _shown, max_age=AN_HOUR, shown_by=(), caching=REVALIDATED
    )


def _shown(rows: Sequence[tuple[Any, ...]]) -> Any:
    if not rows:
        raise ProblemError(NO_SUCH_RECORD)
    return msgspec.Raw(rows[0][0].encode())


VERSION = """select v.version, json_build_object('checklist_id', v.checklist_id, 'version', v.version,
        'published_at', v.published_at, 'items', (
            select coalesce(json_agg(i.item order by i.place), '[]')
              from jsonb_array_elements(v.items) with ordinality i(item, place)
             where %(class)s::text is null or coalesce(i.item->>'vehicle_class', %(class)s) = %(class)s))::text
    from {schema}.checklist_versions v where v.checklist_id = %(id)s and v.version = %(version)s"""


class ChecklistVersion(Shown):
    """A published version of a checklist, by section and place; it never changes."""

    checklist_id: str
    version: int
    published_at: datetime
    items: list[ItemShown]


class VersionWanted(BaseModel):
    """For which cars; for all, if none are named."""

    model_config = ConfigDict(extra="forbid")

    vehicle_class: VehicleClass | None = Field(None, alias="class")


@router.get("/checklist-templates/{id}/versions/{version}", response_model=ChecklistVersion)
async def checklist_version(
    ask: Paddock, id: str, version: Version, wanted: Annotated[VersionWanted, Query()]
) -> Response:
    """A published version of a checklist, which never changes."""
    parameters = {"id": id, "version": version, "class": wanted.vehicle_class}
    return await ask.one("inspections", VERSION, parameters, caching=FOR_EVER)


VERSIONS = """select v.version, v.items::text from {schema}.checklist_versions v
    where v.checklist_id = %(id)s and v.version = any(%(versions)s)"""


class Changed(Shown):
    """An item that is otherwise in one version than in the other."""

    before: ItemShown
    after: ItemShown


class Differences(Shown):
    """What an inspection that goes on by a version, instead of another, has otherwise."""

    checklist_id: str
    from_version: int
    to_version: int
    added: list[ItemShown]
    removed: list[ItemShown]
    changed: list[Changed]


class DifferencesWanted(BaseModel):
    """From which version, for which cars."""

    model_config = ConfigDict(extra="forbid")

    from_version: int = Field(ge=1, le=2**31, alias="from")
    vehicle_class: VehicleClass = Field(alias="class")


@router.get("/checklist-templates/{id}/versions/{version}/diff", response_model=Differences)
async def differences(
    ask: Paddock, id: str, version: Version, wanted: Annotated[DifferencesWanted, Query()]
) -> Response:
    """What changes for a car whose inspection is migrated from another version to this one."""

    def show(rows: Sequence[tuple[Any, ...]]) -> Mapping[str, Any]:
        found = {number: _items(items, wanted.vehicle_class) for number, items in rows}
        if not {wanted.from_version, version} <= found.keys():
            raise ProblemError(NO_SUCH_RECORD)
        before, after = found[wanted.from_version], found[version]
        differing = difference(before, after)
        return {
            "checklist_id": id,
            "from_version": wanted.from_version,
            "to_version": version,
            "added": [after[code] for code in differing.added],
            "removed": [before[code] for code in differing.removed],
            "changed": [{"before": before[code], "after": after[code]} for code in differing.changed],
        }

    parameters = {"id": id, "versions": [wanted.from_version, version]}
    return await ask.computed("inspections", VERSIONS, parameters, show, max_age=AN_HOUR, caching=FOR_EVER)


_read_items = msgspec.json.Decoder(tuple[Item, ...]).decode


def _items(stored: str, vehicle_class: VehicleClass) -> dict[str, Item]:
    """Return what is looked at on a car of a class, by code."""
    return {item.code: item for item in _read_items(stored) if item.vehicle_class in (None, vehicle_class)}
