"""The workspace of a booking: `GET /bookings/{id}/workspace`, all that those who inspect a car look at, in one answer."""

from __future__ import annotations

from datetime import date, datetime
from typing import Literal

from fastapi import APIRouter, Response

from domain.inspections.checks import CheckStatus, Merge
from domain.inspections.passports import Result
from domain.people import VehicleClass
from read_api.inspections import checks, follow_ups, inspections
from read_api.inspections.checks import Conflict, HeldCheck
from read_api.inspections.follow_ups import FollowUp
from read_api.inspections.inspections import Counts, Inspection
from read_api.kernel import REVALIDATED
from read_api.listing import Shown
from read_api.paddock import SEEN, Paddock, named, seeing

router = APIRouter(tags=["inspections"])

# A hold is over when its time is, not only when that has been noted.
BOOKING = """json_build_object('id', b.id,
    'status', case when b.status = 'requested' and b.held_until <= now() then 'expired' else b.status end,
    'vehicle_class', b.vehicle_class, 'day', b.day, 'lane', b.lane,
    'starts_at', b.starts_at, 'ends_at', b.ends_at, 'held_until', b.held_until, 'priority', b.priority,
    'rescrutineering', b.rescrutineering, 'notes', b.notes, 'requested_by', b.requested_by, 'attendees', b.attendees,
    'checked_in_at', b.checked_in_at, 'started_at', b.started_at, 'ended_at', b.ended_at, 'result', b.result,
    'cancel_reason', b.cancel_reason, 'version', b.version)"""
TEAM = """json_build_object('id', b.team_id, 'name', m.name, 'code', m.code, 'number', m.number,
    'university', m.university)"""
KIND = "json_build_object('id', b.inspection_type_id, 'name', k.name, 'duration_minutes', k.duration_minutes)"

# Looked up once for all items: the names of those who said something of one.
NAMES = """(select jsonb_object_agg(p."user", p.name order by p.status desc, p.id desc) from {schema}.people p
    where p."user" = any(array(select c.by from {schema}.checks c where c.inspection_id = %(id)s)))"""
# What is on the version of the checklist for this car, and ad-hoc items behind it, each with what is said of it.
LINES = f"""select e.section, json_agg(json_build_object('code', e.code, 'description', e.description,
        'required', e.required, 'parent_code', e.parent_code, 'ad_hoc', e.ad_hoc, 'status', coalesce(t.status, 'open'),
        'comment', t.comment, 'revision', coalesce(t.revision, 0), 'by', t.by,
        'by_name', {NAMES}->>t.by, 'at', t.at, 'merge', t.merge,
        'locked', coalesce(t.locked, false), 'locked_by', t.locked_by, 'conflicts', coalesce(t.conflicts, 0),
        'follow_up_id', t.inspection_id || '.' || t.defect) order by e.place, e.code) as entries
    from (select distinct on (u.code) u.* from (
          select s.code, s.section, s.description, s.required, s.parent_code, false as ad_hoc, s.place
            from {{schema}}.checklist_versions v
            cross join rows from (jsonb_to_recordset(v.items) as (code text, section text, description text,
                required boolean, vehicle_class text, parent_code text)) with ordinality
                s(code, section, description, required, vehicle_class, parent_code, place)
           where v.tenant_id = i.tenant_id and v.checklist_id = i.inspection_type_id
             and v.version = i.checklist_version
             and coalesce(s.vehicle_class, i.vehicle_class) = i.vehicle_class
          union all
          select h.item, h.section, h.ad_hoc->>'description', h.required, h.ad_hoc->>'parent_code', true, 1000000
            from {{schema}}.checks h
           where h.tenant_id = i.tenant_id and h.inspection_id = i.id and h.ad_hoc is not null) u
          order by u.code, u.place) e
    left join {{schema}}.checks t on t.tenant_id = i.tenant_id and t.inspection_id = i.id and t.item = e.code
    group by e.section"""
SECTIONS = f"""(select coalesce(json_agg(json_build_object('section', t.section, {inspections.PROGRESS},
        'entries', l.entries) order by t.place, t.section), '[]')
    from {{schema}}.sections t join ({LINES}) l on l.section = t.section
    where t.tenant_id = i.tenant_id and t.inspection_id = i.id)"""
SCRUTINEERS = """(select coalesce(json_agg(json_build_object('person_id', a.person_id, 'name', p.name,
        'assigned_at', a.assigned_at, 'assigned_by', a.assigned_by) order by a.assigned_at, a.person_id), '[]')
    from {schema}.assignments a
    left join {schema}.people p on p.tenant_id = a.tenant_id and p.id = a.person_id
    where a.tenant_id = b.tenant_id and a.booking_id = b.id)"""
ATTACHMENTS = f"""(select coalesce(json_agg(json_build_object('id', t.id, 'item', t.item, 'name', t.name,
        'size', t.size, 'media_type', t.media_type, 'sha256', t.sha256, 'status', t.status, 'by', t.by,
        'by_name', {named("t.by")}, 'declared_at', t.declared_at, 'stored_at', t.stored_at,
        'content', case when t.status = 'stored' then '/attachments/' || t.id || '/content' end)
        order by t.declared_at, t.id), '[]')
    from {{schema}}.attachments t
    where t.tenant_id = b.tenant_id and t.booking_id = b.id and t.status <> 'abandoned')"""


def _all(item: str, view: str, joins: str, order: str, more: str = "") -> str:
    return f"""(select coalesce(json_agg({item} order by {order}), '[]') from {{schema}}.{view} t {joins}
    where t.tenant_id = b.tenant_id and t.inspection_id = b.id {more})"""


OPEN_CONFLICTS = _all(checks.CONFLICT, "conflicts", checks.CONFLICT_JOINS, "t.number", "and t.status = 'open'")
HELD = _all(checks.HELD, "held_checks", "", "t.branch, t.step")
FOLLOW_UPS = _all(follow_ups.ITEM, "follow_ups", follow_ups.JOINS, "t.opened_at, t.id")
INSPECTION = f"""(select {inspections.ITEM} from {{schema}}.inspections t {inspections.JOINS}
    where t.tenant_id = b.tenant_id and t.id = b.id)"""
WORKSPACE = f"""select b.version, json_build_object('booking', {BOOKING}, 'team', {TEAM}, 'inspection_type', {KIND},
        'inspection', {INSPECTION}, 'sections', {SECTIONS}, 'conflicts', {OPEN_CONFLICTS}, 'held_checks', {HELD},
        'follow_ups', {FOLLOW_UPS}, 'scrutineers', {SCRUTINEERS}, 'attachments', {ATTACHMENTS})::text
    from (select t.* from {{schema}}.bookings t where t.id = %(id)s and {SEEN}) b
    left join {{schema}}.inspections i on i.tenant_id = b.tenant_id and i.id = b.id
    left join {{schema}}.teams m on m.tenant_id = b.tenant_id and m.id = b.team_id
    left join {{schema}}.inspection_types k on k.tenant_id = b.tenant_id and k.id = b.inspection_type_id"""


class BookingShown(Shown):
    """The booking itself."""

    id: str
    status: Literal["requested", "confirmed", "checked_in", "ongoing", "completed", "cancelled", "no_show", "expired"]
    vehicle_class: VehicleClass
    day: date
    lane: int
    starts_at: datetime
    ends_at: datetime
    held_until: datetime | None
    priority: int
    rescrutineering: bool
    notes: str | None
    requested_by: str
    attendees: list[str]
    checked_in_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    result: Result | None
    cancel_reason: str | None
    version: int


class TeamShown(Shown):
    """Whose car it is."""

    id: str
    name: str | None
    code: str | None
    number: int | None
    university: str | None


class KindShown(Shown):
    """What is inspected."""

    id: str
    name: str | None
    duration_minutes: int | None


class Entry(Shown):
    """An item, with what is said of it; `revision` is what a check of it is based on, `conflicts` are its open ones."""

    code: str
    description: str
    required: bool
    parent_code: str | None
    ad_hoc: bool
    status: CheckStatus
    comment: str | None
    revision: int
    by: str | None
    by_name: str | None
    at: datetime | None
    merge: Merge | None
    locked: bool
    locked_by: str | None
    conflicts: int
    follow_up_id: str | None


class SectionShown(Counts):
    """A section of the checklist: how far it is, and its items in order."""

    section: str
    entries: list[Entry]


class Scrutineer(Shown):
    """Who is to inspect this."""

    person_id: str
    name: str | None
    assigned_at: datetime
    assigned_by: str


class AttachmentShown(Shown):
    """A file on the booking or on one of the items; its bytes are at `content`, once they have come."""

    id: str
    item: str | None
    name: str
    size: int
    media_type: str
    sha256: str
    status: Literal["declared", "stored"]
    by: str
    by_name: str | None
    declared_at: datetime
    stored_at: datetime | None
    content: str | None


class Workspace(Shown):
    """All that those who inspect a car look at: the items are those of the version that the inspection goes by, and none as
    long as it has not started; `conflicts` are the open ones.
    """

    booking: BookingShown
    team: TeamShown
    inspection_type: KindShown
    inspection: Inspection | None
    sections: list[SectionShown]
    conflicts: list[Conflict]
    held_checks: list[HeldCheck]
    follow_ups: list[FollowUp]
    scrutineers: list[Scrutineer]
    attachments: list[AttachmentShown]


@router.get("/bookings/{id}/workspace", response_model=Workspace)
async def workspace(ask: Paddock, id: str) -> Response:
    """A booking with its inspection, checklist, checks, conflicts, files and scrutineers; a team sees its own."""
    return await ask.one("inspections", WORKSPACE, {"id": id, **seeing(ask)}, caching=REVALIDATED)
