"""What readers get to know of people and teams: rows after short stories."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from domain.kernel import ERASED, Recorded
from domain.people import (
    PEOPLE,
    TEAMS,
    AvailabilityAnnounced,
    ContactChanged,
    MemberEnlisted,
    MemberStruckOff,
    PersonLeft,
    PersonRegistered,
    RoleGiven,
    RoleWithdrawn,
    Span,
    TeamRegistered,
    TeamWithdrawn,
)
from projections.catalog import CONTEXTS
from projections.people import AvailabilityRow, PersonRow, TeamRow
from tests.given import folded, recorded

DAY = date(2026, 11, 20)
MORNING = datetime(2026, 11, 20, 8, tzinfo=UTC)
ANA = PersonRegistered(name="Ana", email="ana@x.org", phone="041 1", user="ana", team_id="team", roles=("team_leader",))
RED = TeamRegistered(name="Red", code="R", vehicle_class="EV", university="Ljubljana", number=7)
ENLISTED = MemberEnlisted(person_id="person", user="ana", roles=("team_leader",))
HERE = recorded(PEOPLE, ANA)

Story = list[Recorded[Any]]


def rows(view: str, *stories: Story) -> dict[Any, Any]:
    """The rows of a view after these stories, by key."""
    return folded(CONTEXTS["inspections"], *stories)[view]


def row(view: str, *stories: Story) -> Any:
    """The only row of a view after these stories."""
    (only,) = rows(view, *stories).values()
    return only


def person(*facts: object) -> Any:
    """The row of a registered person after these facts."""
    return row("people", HERE, recorded(PEOPLE, *facts))


# People


def test_a_person_is_a_row() -> None:
    assert rows("people", HERE) == {
        ("person",): PersonRow(
            id="person",
            name="Ana",
            email="ana@x.org",
            phone="041 1",
            user="ana",
            team_id="team",
            roles=("team_leader",),
            status="active",
            version=1,
        )
    }


def test_roles_come_and_go() -> None:
    given = person(RoleGiven(role="driver"), RoleGiven(role="driver"))
    assert (given.roles, given.version) == (("driver", "team_leader"), 3)
    assert person(RoleGiven(role="driver"), RoleWithdrawn(role="team_leader")).roles == ("driver",)


def test_a_person_is_reached_otherwise() -> None:
    shown = person(ContactChanged(name="Ana N.", phone="041 2"))
    assert (shown.name, shown.email, shown.phone, shown.version) == ("Ana N.", None, "041 2", 2)


def test_of_a_person_who_was_forgotten_no_name_and_contact_are_left() -> None:
    erased = replace(ANA, name=ERASED, email=ERASED, phone=ERASED)
    shown = row("people", recorded(PEOPLE, erased))
    assert (shown.name, shown.email, shown.phone, shown.team_id) == ("", None, None, "team")
    again = row("people", HERE, recorded(PEOPLE, ContactChanged(name=ERASED, email=ERASED, phone=ERASED)))
    assert (again.name, again.email, again.phone) == ("", None, None)


def test_who_left_is_gone() -> None:
    assert person(PersonLeft()) == replace(person(), status="gone", version=2)


def test_who_is_enlisted_is_of_that_team_until_he_is_struck_off() -> None:
    enlisted = recorded(TEAMS, RED, ENLISTED, id="other")
    assert row("people", HERE, enlisted).team_id == "other"
    struck_off = recorded(TEAMS, MemberStruckOff(person_id="person"), id="other")
    assert row("people", HERE, enlisted, struck_off).team_id is None


def test_a_team_that_he_is_not_of_any_more_cannot_strike_him_off() -> None:
    late = recorded(TEAMS, RED, MemberStruckOff(person_id="person"), id="other")
    assert row("people", HERE, late).team_id == "team"


def test_a_team_may_enlist_whom_nobody_registered() -> None:
    assert rows("people", recorded(TEAMS, RED, ENLISTED, MemberStruckOff(person_id="person"))) == {}


# Teams


def test_a_team_is_a_row() -> None:
    assert rows("teams", recorded(TEAMS, RED)) == {
        ("team",): TeamRow(
            id="team", name="Red", code="R", vehicle_class="EV", university="Ljubljana", number=7, version=1
        )
    }


def test_a_team_has_another_version_with_each_member() -> None:
    shown = row("teams", recorded(TEAMS, RED, ENLISTED, MemberStruckOff(person_id="person")))
    assert shown == replace(row("teams", recorded(TEAMS, RED)), version=3)


def test_a_team_gives_up() -> None:
    assert row("teams", recorded(TEAMS, RED, TeamWithdrawn(reason="Battery"))).status == "withdrawn"


# Availability


def test_the_last_word_on_a_day_counts() -> None:
    early = Span(starts_at=MORNING, ends_at=MORNING + timedelta(hours=2))
    late = Span(starts_at=MORNING + timedelta(hours=6), ends_at=MORNING + timedelta(hours=8))
    announced = [AvailabilityAnnounced(day=DAY, spans=(early,)), AvailabilityAnnounced(day=DAY, spans=(late,))]
    story = recorded(PEOPLE, *announced, AvailabilityAnnounced(day=date(2026, 11, 21), spans=()))
    assert rows("availability", HERE, story) == {
        ("person", DAY): AvailabilityRow(person_id="person", day=DAY, spans=(late,)),
        ("person", date(2026, 11, 21)): AvailabilityRow(person_id="person", day=date(2026, 11, 21), spans=()),
    }
    assert row("people", HERE, story).version == 4
