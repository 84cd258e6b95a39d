"""Inspections: what officials and teams read of checklists, inspections and what is said in them, and what they do not."""

from __future__ import annotations

from typing import Any, get_type_hints

import pytest
from pydantic import TypeAdapter

from domain.catalog import STREAMS
from domain.inspections.checklists import CHECKLISTS, ChecklistDrafted
from domain.inspections.checks import HeldCheckReleased
from domain.inspections.inspections import INSPECTIONS
from domain.kernel import Personal
from domain.roles import Role
from tests.conftest import NEIGHBOUR
from tests.given import recorded
from tests.test_doors import problem
from tests.views.checklist_day import (
    FAILED,
    FIRST,
    Story,
    at,
    booked,
    checked,
    clash,
    held,
    published,
    resolved,
    started,
    whole,
)
from tests.views.house import House, Person, head
from tests.views.test_answers import ROUTES, filled, leaves
from tests.views.told import tell
from tests.views.watch import watching

LISTS = (
    "/inspections",
    "/checks",
    "/conflicts",
    "/held-checks",
    "/passports",
    "/follow-ups",
    "/inspections/busy/checks",
    "/inspections/busy/sections",
)
RECORDS = ("/inspections/busy", "/bookings/busy/workspace", "/teams/volt/passport")
OFFICIALS_ONLY = ("/client-reports", "/hot-spots")


@pytest.fixture(scope="module")
def told(shared_house: House) -> House:
    """A house in which a whole day was told."""
    tell(shared_house.settings, whole(), by="mia")
    return shared_house


def reading(house: House, subject: str, *roles: Role, **more: Any) -> Person:
    """Somebody who reads what was told until now."""
    person = house.person(*roles, subject=subject, **more)
    person.position = head(house.settings)
    return person


@pytest.fixture
def ida(told: House) -> Person:
    """Who is responsible for inspections."""
    return reading(told, "ida", Role.INSPECTION_RESPONSIBLE)


@pytest.fixture
def eva(told: House) -> Person:
    """Who leads the team with the electric car."""
    return reading(told, "eva", Role.TEAM_LEADER)


def tell_more(person: Person, house: House, *stories: Story) -> None:
    """Let more happen, which this person then reads."""
    person.position = tell(house.settings, *stories)


# Shapes

SHAPES = {
    "/inspection-types": ["/inspection-types"],
    "/inspection-types/{id}": ["/inspection-types/mech"],
    "/checklist-templates": ["/checklist-templates"],
    "/checklist-templates/{id}": ["/checklist-templates/mech", "/checklist-templates/draft"],
    "/checklist-templates/{id}/versions/{version}": ["/checklist-templates/mech/versions/1"],
    "/checklist-templates/{id}/versions/{version}/diff": [
        f"/checklist-templates/mech/versions/{here}/diff?from={there}&class={name}"
        for here, there, name in ((2, 1, "EV"), (1, 2, "CV"))
    ],
    "/inspections": ["/inspections", "/inspections?status=completed&team=volt&type=papers"],
    "/inspections/{id}": ["/inspections/over", "/inspections/busy", "/inspections/waits"],
    "/inspections/{id}/sections": ["/inspections/busy/sections"],
    "/checks": ["/checks", "/checks?inspection=busy&status=failed"],
    "/inspections/{id}/checks": ["/inspections/busy/checks"],
    "/conflicts": ["/conflicts", "/conflicts?status=resolved&team=volt&inspection=busy"],
    "/held-checks": ["/held-checks", "/held-checks?inspection=busy"],
    "/passports": ["/passports", "/passports?team=volt&type=mech&status=reopened", "/passports?status=revoked"],
    "/teams/{id}/passport": ["/teams/volt/passport", "/teams/torque/passport"],
    "/follow-ups": ["/follow-ups", "/follow-ups?status=resolved&team=torque&inspection=other"],
    "/client-reports": ["/client-reports?kind=alert", "/client-reports?kind=measurement"],
    "/hot-spots": ["/hot-spots", "/hot-spots?type=mech"],
    "/bookings/{id}/history": ["/bookings/busy/history"],
}
NEVER = {"/next", "/prev", "/items/data"}
OF_SOME_ITEMS = ("vehicle_class", "parent_code")


@pytest.mark.parametrize("path", SHAPES)
def test_an_answer_has_the_shape_that_it_promises_and_fills_it(told: House, ida: Person, path: str) -> None:
    tell_more(ida, told, recorded(CHECKLISTS, ChecklistDrafted(items=FIRST, source="sheet.csv"), id="draft"))
    promised: TypeAdapter[Any] = TypeAdapter(ROUTES[path].response_model)
    seen = set[str]()
    for question in SHAPES[path]:
        answer = ida.get(question)
        assert answer.status_code == 200, (question, answer.text)
        promised.validate_json(answer.content, by_alias=True)
        seen |= set(filled(answer.json()))
    schema = promised.json_schema(by_alias=True)
    missing = set(leaves(schema, schema)) - seen - NEVER
    assert [place for place in missing if not place.endswith(OF_SOME_ITEMS)] == []


# Who sees what


@pytest.mark.parametrize("path", LISTS)
def test_a_team_sees_of_every_list_what_is_its_own(told: House, eva: Person, path: str) -> None:
    everything = reading(told, "vic", Role.VIEWER).whole(path)
    assert eva.whole(path) == [one for one in everything if one.get("team_id", "volt") == "volt"]
    stranger = reading(told, "nobody", Role.TEAM_MEMBER)
    assert stranger.whole(path) == []


@pytest.mark.parametrize("path", RECORDS)
def test_a_team_sees_no_record_of_another_one(told: House, eva: Person, path: str) -> None:
    assert eva.see(path) == reading(told, "vic", Role.VIEWER).see(path)
    problem(reading(told, "max", Role.TEAM_LEADER).get(path), 404, "no-such-record")


@pytest.mark.parametrize("path", OFFICIALS_ONLY)
def test_what_is_about_everybody_is_for_officials(told: House, eva: Person, path: str) -> None:
    assert reading(told, "mia", Role.SCRUTINEER).see(path)["items"]
    problem(eva.get(path), 403, "not-allowed")


@pytest.mark.parametrize("path", [*LISTS, *RECORDS, *OFFICIALS_ONLY, "/inspection-types", "/checklist-templates/mech"])
def test_who_drives_trucks_sees_nothing_of_scrutineering(told: House, path: str) -> None:
    problem(reading(told, "dan", Role.DRIVER, Role.DISPATCHER).get(path), 403, "not-allowed")


@pytest.mark.parametrize(
    "path", [*LISTS, *RECORDS, "/checklist-templates/mech/versions/1", "/bookings/busy/history", "/inspection-types"]
)
def test_another_organisation_sees_nothing(told: House, path: str) -> None:
    answer = reading(told, "ida", Role.ADMIN, tenant=NEIGHBOUR).get(path)
    if "items" in answer.json():
        assert answer.json()["items"] == []
    else:
        problem(answer, 404, "no-such-record")


# Checklists


def test_the_draft_is_for_staff(told: House, ida: Person, eva: Person) -> None:
    assert [item["code"] for item in ida.see("/checklist-templates/mech")["draft"]] == ["A1", "A3", "B1", "B2", "C1"]
    assert eva.see("/checklist-templates/mech")["draft"] is None
    assert reading(told, "vic", Role.VIEWER, Role.SCRUTINEER).see("/checklist-templates/mech")["draft"] is None


def test_the_current_checklist_is_asked_for_again_and_never_stale(told: House, eva: Person) -> None:
    drafted = recorded(CHECKLISTS, ChecklistDrafted(items=FIRST), id="mine", at=at(1))
    tell_more(eva, told, drafted, published(1, FIRST, id="mine"))
    first = eva.get("/checklist-templates/mine")
    assert (first.headers["cache-control"], first.json()["published_version"]) == ("private, no-cache", 1)
    tag = first.headers["etag"]
    tell_more(eva, told, started("unrelated", minute=13))  # which moves other rows
    assert eva.get("/checklist-templates/mine", if_none_match=tag).status_code == 304
    tell_more(eva, told, published(2, FIRST[:1], id="mine"))
    current = eva.get("/checklist-templates/mine", if_none_match=tag)
    assert (current.status_code, current.json()["published_version"], current.json()["ev_items"]) == (200, 2, 1)


def test_a_published_version_is_kept_for_ever(eva: Person) -> None:
    answer = eva.get("/checklist-templates/mech/versions/1")
    assert answer.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert [item["code"] for item in answer.json()["items"]] == ["A1", "A2", "A3", "B1", "B2"]
    for_class = {
        name: [item["code"] for item in eva.see(f"/checklist-templates/mech/versions/1?class={name}")["items"]]
        for name in ("EV", "CV")
    }
    assert for_class == {"EV": ["A1", "A2", "A3", "B2"], "CV": ["A1", "A2", "B1", "B2"]}
    problem(eva.get("/checklist-templates/mech/versions/9"), 404, "no-such-record")


def test_what_a_migration_would_change_can_be_seen_before(eva: Person) -> None:
    shown = eva.see("/checklist-templates/mech/versions/2/diff?from=1&class=EV")
    assert [[one["code"] for one in shown[name]] for name in ("added", "removed")] == [["C1"], ["A2"]]
    [changed] = shown["changed"]
    assert (changed["before"]["description"], changed["after"]["description"]) == (
        "Car is clean",
        "Car is clean and dry",
    )
    problem(eva.get("/checklist-templates/mech/versions/9/diff?from=1&class=EV"), 404, "no-such-record")


# The workspace


def test_the_workspace_has_everything_that_belongs_to_a_booking(eva: Person) -> None:
    desk = eva.see("/bookings/busy/workspace")
    assert (desk["booking"]["status"], desk["team"]["code"], desk["inspection_type"]["name"]) == (
        "ongoing",
        "VLT",
        "Mechanical",
    )
    assert desk["inspection"] == eva.see("/inspections/busy")
    sections = [{name: one for name, one in section.items() if name != "entries"} for section in desk["sections"]]
    listed = eva.whole("/inspections/busy/sections")
    assert sections == [{name: one for name, one in row.items() if name != "inspection_id"} for row in listed]
    assert desk["conflicts"] == eva.whole("/conflicts?inspection=busy&status=open")
    assert desk["held_checks"] == eva.whole("/held-checks?inspection=busy")
    assert desk["follow_ups"] == eva.whole("/follow-ups?inspection=busy")
    assert [(one["person_id"], one["name"]) for one in desk["scrutineers"]] == [("mia", "Mia")]
    assert [(one["id"], one["item"], one["by_name"]) for one in desk["attachments"]] == [("photo", "A2", "Mia")]
    assert [one["by_name"] for one in eva.whole("/attachments?booking=busy")] == ["Mia"]


def test_the_workspace_shows_every_item_for_the_car_with_what_is_said_of_it(eva: Person) -> None:
    sections = eva.see("/bookings/busy/workspace")["sections"]
    entries = [(one["code"], one["status"], one["revision"], one["by_name"]) for s in sections for one in s["entries"]]
    assert entries == [
        ("A1", "passed", 1, "Mia"),
        ("A2", "failed", 1, "Leo"),
        ("A3", "open", 0, None),
        ("B2", "failed", 2, "Ida"),
        ("X1", "not_applicable", 1, "Leo"),
    ]
    first, second, third = sections[0]["entries"]
    assert (first["conflicts"], second["comment"], second["follow_up_id"]) == (1, "Loose bolt", "busy.1")
    assert (second["parent_code"], third["locked"], third["locked_by"]) == ("A1", True, "mia")
    [extra] = sections[-1]["entries"]
    assert (extra["ad_hoc"], extra["description"], extra["merge"]) == (True, "Strange noise", "merged")


def test_the_workspace_of_another_version_has_its_items(told: House) -> None:
    desk = reading(told, "max", Role.TEAM_LEADER).see("/bookings/other/workspace")
    codes = [[one["code"] for one in section["entries"]] for section in desk["sections"]]
    assert (desk["inspection"]["checklist_version"], codes) == (2, [["A1"], ["B1", "B2"], ["C1"]])


def test_the_workspace_is_sent_again_only_when_it_has_changed(told: House, eva: Person) -> None:
    tell_more(eva, told, started("again", minute=14))
    first = eva.get("/bookings/again/workspace")
    assert first.headers["cache-control"] == "private, no-cache"
    tag = first.headers["etag"]
    assert eva.get("/bookings/again/workspace", if_none_match=tag).status_code == 304
    tell_more(eva, told, recorded(INSPECTIONS, checked("A1"), id="again", at=at(20)))
    assert eva.get("/bookings/again/workspace", if_none_match=tag).json()["inspection"]["progress"]["passed"] == 1


def test_the_workspace_of_a_booking_whose_inspection_has_not_begun_has_no_items(told: House, eva: Person) -> None:
    tell_more(eva, told, booked("tomorrow"))
    desk = eva.see("/bookings/tomorrow/workspace")
    assert (desk["inspection"], desk["sections"], len(desk["scrutineers"])) == (None, [], 1)


# Checks and conflicts


def test_a_client_asks_for_what_has_changed_since_it_asked_last(told: House, eva: Person) -> None:
    tell_more(eva, told, started("since", minute=15), recorded(INSPECTIONS, checked("A1"), id="since", at=at(20)))
    asked = eva.get("/inspections/since/checks")
    assert [one["item"] for one in asked.json()["items"]] == ["A1"]
    since = f"/inspections/since/checks?changed_after={asked.headers['position']}"
    assert eva.whole(since) == []
    tell_more(eva, told, recorded(INSPECTIONS, checked("A2", FAILED), id="since", at=at(20)))
    [changed] = eva.whole(since)
    assert (changed["item"], changed["position"] > int(asked.headers["position"])) == ("A2", True)
    assert eva.whole(f"{since}&status=passed") == []


def test_a_conflict_shows_both_values_and_their_authors(eva: Person) -> None:
    [conflict] = eva.whole("/conflicts?status=open&team=volt")
    assert (conflict["item"], conflict["section"], conflict["clash"]) == ("A1", "A", ["status"])
    assert (conflict["current_value"]["status"], conflict["last_modified_by_name"]) == ("passed", "Mia")
    assert (conflict["incoming_value"], conflict["incoming_by_name"]) == (
        {"status": "failed", "comment": "Loose bolt"},
        "Leo",
    )


def test_what_is_said_of_items_is_told_live(told: House, eva: Person) -> None:
    tell_more(eva, told, started("live", minute=16))
    assert eva.whole("/inspections/live/checks") == []
    with watching(eva, view=["checks", "sections", "conflicts"], inspection="live", conflicts__status="open") as live:
        events = live.events()
        tell_more(eva, told, recorded(INSPECTIONS, checked("A1"), id="live", at=at(20)))
        told_now = {event.data["view"]: event.data for event in (next(events), next(events))}
        row = told_now["checks"]["row"]
        assert (row["status"], row["by_name"], row["position"]) == ("passed", "Mia", told_now["checks"]["position"])
        assert (told_now["sections"]["key"], told_now["sections"]["row"]["passed"]) == ("live/A", 1)
        tell_more(eva, told, recorded(INSPECTIONS, clash("A1"), id="live", at=at(20)))
        conflict = next(event for event in events if event.data["view"] == "conflicts")
        assert (conflict.kind, conflict.data["row"]["incoming_by_name"]) == ("row", "Leo")
        tell_more(eva, told, recorded(INSPECTIONS, resolved("A1"), id="live", at=at(20)))
        left = next(event for event in events if event.data["view"] == "conflicts")
        assert (left.kind, left.data["key"]) == ("leave", "live/1")


def test_a_check_that_waits_is_gone_once_it_is_released(told: House, eva: Person) -> None:
    tell_more(eva, told, started("wait", minute=17))
    with watching(eva, view="held-checks") as live:
        events = live.events()
        tell_more(eva, told, recorded(INSPECTIONS, held("A3"), id="wait", at=at(20)))
        assert next(events).kind == "row"
        released = HeldCheckReleased(branch="tablet", step=2)
        tell_more(eva, told, recorded(INSPECTIONS, released, id="wait", at=at(20)))
        gone = next(events)
        assert (gone.kind, gone.data["key"]) == ("gone", "wait/tablet/2")


def test_a_team_is_told_nothing_of_others(told: House, eva: Person) -> None:
    max_ = reading(told, "max", Role.TEAM_LEADER)
    with watching(max_, view=["checks", "inspections"]) as live:
        tell_more(eva, told, started("hidden", minute=18), recorded(INSPECTIONS, checked("A1"), id="hidden", at=at(20)))
        tell_more(eva, told, recorded(INSPECTIONS, checked("B1", revision=4), id="other", at=at(20)))
        assert {event.data["row"]["team_id"] for event in (next(live.events()), next(live.events()))} == {"torque"}


# Passports


def test_a_passport_says_what_blocks_a_test_and_when_the_team_comes_for_it(eva: Person) -> None:
    shown = eva.see("/teams/volt/passport")
    mechanical, papers = shown["tests"]
    assert (mechanical["status"], mechanical["because"]) == ("reopened", "papers")
    assert [(one["inspection_type_name"], one["status"]) for one in mechanical["blocked_by"]] == [("Papers", "revoked")]
    assert mechanical["booking"]["status"] in ("checked_in", "ongoing")
    assert (papers["status"], papers["reason"], papers["blocked_by"]) == ("revoked", "Car was changed", [])


def test_a_test_that_nobody_has_judged_is_open(told: House) -> None:
    mechanical, papers = reading(told, "max", Role.TEAM_LEADER).see("/teams/torque/passport")["tests"]
    assert (papers["status"], mechanical["status"], mechanical["blocked_by"]) == ("passed", "open", [])


# Hot spots, reports, history


def test_hot_spots_are_what_fails_most_often(ida: Person) -> None:
    first, second = ida.see("/hot-spots?type=mech")["items"]
    assert (first["item"], first["failures"], first["description"]) == ("B1", 2, "Tank is tight")
    assert (second["item"], second["failures"], second["inspections"] >= 2) == ("A2", 1, True)
    assert ida.see("/hot-spots?type=papers")["items"] == []


def test_the_history_of_a_booking_is_what_happened_to_it_and_in_its_inspection(ida: Person) -> None:
    first = ida.see("/bookings/busy/history?limit=7")
    facts = [one["fact"] for one in first["items"]]
    assert facts == [
        "bookings.requested.v1",
        "bookings.confirmed.v1",
        "bookings.checked-in.v1",
        "bookings.scrutineer-assigned.v1",
        "inspections.prepared.v1",
        "inspections.started.v1",
        "bookings.started.v1",
    ]
    one = first["items"][0]
    assert (one["data"]["notes"], one["command"], one["by"], one["by_name"]) == (
        "Please be quick",
        "bookings.tell",
        "mia",
        "Mia",
    )
    assert (one["application"], one["client"]) == ("hub", "encrypted")
    rest = ida.see(f"/bookings/busy/history?after={first['next']}")
    positions = [one["position"] for one in (*first["items"], *rest["items"])]
    assert positions == sorted(set(positions))
    assert rest["items"][-1]["fact"] == "inspections.check-held.v1"


def test_history_is_for_staff_and_auditors(told: House, eva: Person) -> None:
    assert reading(told, "aud", Role.AUDITOR).see("/bookings/busy/history")["items"]
    for person in (eva, reading(told, "mia", Role.SCRUTINEER), reading(told, "vic", Role.VIEWER)):
        problem(person.get("/bookings/busy/history"), 403, "not-allowed")
    problem(reading(told, "aud", Role.AUDITOR).get("/bookings/none/history"), 404, "no-such-record")


def test_no_fact_of_a_history_holds_personal_data() -> None:
    """It shows facts as they are stored; personal data, which is encrypted there, would have to be left out."""
    personal = [
        topic
        for stream in ("bookings", "inspections")
        for topic, cls in STREAMS[stream].facts.items()
        for hint in get_type_hints(cls, include_extras=True).values()
        if any(isinstance(one, Personal) for one in getattr(hint, "__metadata__", ()))
    ]
    assert personal == []
