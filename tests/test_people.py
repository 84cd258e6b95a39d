"""People and teams: who takes part, as what, when, and whose car has which number."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from pydantic import ValidationError

from commands.kernel import Command
from commands.people import (
    AnnounceAvailability,
    ChangeContact,
    GiveRole,
    LeavePerson,
    RegisterPerson,
    RegisterTeam,
    SpanSent,
    WithdrawRole,
    WithdrawTeam,
)
from domain.claims import CLAIMS, Claimed, Released
from domain.kernel import NotYours
from domain.people import (
    PEOPLE,
    TEAMS,
    AvailabilityAnnounced,
    ContactChanged,
    MemberEnlisted,
    MemberStruckOff,
    PersonAlreadyRegistered,
    PersonGone,
    PersonLeft,
    PersonRegistered,
    RoleGiven,
    RoleWithdrawn,
    Span,
    SpansOverlap,
    TeamAlreadyRegistered,
    TeamCodeTaken,
    TeamGone,
    TeamNumberTaken,
    TeamRegistered,
    TeamUnknown,
    TeamWithdrawn,
    UserTakenByPerson,
)
from domain.roles import Role
from domain.tenants import TENANTS, TenantNotOpen, TenantOpened
from tests.given import given, on

DAY = date(2026, 11, 20)
EIGHT = datetime(2026, 11, 20, 7, tzinfo=UTC)  # 8 o'clock in Ljubljana
HOUR = timedelta(hours=1)
OPEN = TenantOpened(name="Formula", time_zone="Europe/Ljubljana", currency="EUR")
TEAM = TeamRegistered(name="Volt Racing", code="VOLT", vehicle_class="EV", number=7)
WITHDRAWN = TeamWithdrawn(reason="No car")
SCRUTINEER = PersonRegistered(name="Irena", user="irena", roles=("scrutineer",))
LEADER = PersonRegistered(name="Ana", user="ana", team_id="team", roles=("team_leader",))
LEFT = PersonLeft()
IRENA = given(PEOPLE, SCRUTINEER).given(TENANTS, OPEN)
ANA = given(PEOPLE, LEADER).given(TEAMS, TEAM)
REGISTER_TEAM = RegisterTeam(name="Volt Racing", code="VOLT", vehicle_class="EV", number=7)
CONTACT = ChangeContact(name="Irena", phone="+386 1 234")


def free(*hours: tuple[float, float]) -> AnnounceAvailability:
    """Time on the day, in spans of so many hours after eight o'clock."""
    spans = tuple(SpanSent(starts_at=EIGHT + HOUR * start, ends_at=EIGHT + HOUR * end) for start, end in hours)
    return AnnounceAvailability(day=DAY, spans=spans)


def announced(*hours: tuple[float, float]) -> AvailabilityAnnounced:
    """The fact that somebody has time then."""
    spans = tuple(Span(starts_at=EIGHT + HOUR * start, ends_at=EIGHT + HOUR * end) for start, end in hours)
    return AvailabilityAnnounced(day=DAY, spans=spans)


def enlisted(*roles: str) -> object:
    """The fact that Ana belongs to the team with these roles."""
    return on(TEAMS, MemberEnlisted(person_id="person", user="ana", roles=roles))


def claim(name: str, fact: Claimed | Released) -> object:
    """A fact of a claim."""
    return on(CLAIMS, fact, id=name)


def test_a_scrutineer_takes_part() -> None:
    given(PEOPLE).when(RegisterPerson(name="Irena", user="irena", roles=("scrutineer",))).then(
        claim("person-user/irena", Claimed(by="person")), SCRUTINEER
    )


def test_somebody_takes_part_who_does_not_act_himself() -> None:
    given(PEOPLE).when(RegisterPerson(name="Jan")).then(PersonRegistered(name="Jan"))


def test_a_member_of_a_team_is_enlisted_there() -> None:
    (
        given(TEAMS, TEAM)
        .when(RegisterPerson(name="Ana", user="ana", team_id="team", roles=("team_leader", "team_leader")))
        .then(claim("person-user/ana", Claimed(by="person")), LEADER, enlisted("team_leader"))
    )


def test_somebody_takes_part_once() -> None:
    IRENA.when(RegisterPerson(name="Irena")).refused(PersonAlreadyRegistered)


def test_somebody_who_left_does_not_come_back_under_the_same_id() -> None:
    IRENA.given(PEOPLE, LEFT).when(RegisterPerson(name="Irena")).refused(PersonAlreadyRegistered)


def test_two_people_do_not_act_with_the_same_tokens() -> None:
    (
        given(CLAIMS, Claimed(by="other"), id="person-user/irena")
        .when(RegisterPerson(name="Irena", user="irena"))
        .refused(UserTakenByPerson, user="irena")
    )


def test_nobody_belongs_to_a_team_that_we_do_not_know() -> None:
    given(PEOPLE).when(RegisterPerson(name="Ana", team_id="team")).refused(TeamUnknown, team_id="team")


def test_nobody_joins_a_team_that_gave_up() -> None:
    (given(TEAMS, TEAM, WITHDRAWN).when(RegisterPerson(name="Ana", team_id="team")).refused(TeamGone, team_id="team"))


def test_somebody_is_reached_otherwise() -> None:
    IRENA.when(CONTACT).then(ContactChanged(name="Irena", phone="+386 1 234"))


def test_somebody_gets_a_role() -> None:
    IRENA.when(GiveRole(role="inspection_responsible")).then(RoleGiven(role="inspection_responsible"))


def test_a_role_that_somebody_has_is_not_given_again() -> None:
    IRENA.when(GiveRole(role="scrutineer")).then()


def test_a_role_in_a_team_is_known_there() -> None:
    ANA.when(GiveRole(role="electrical_safety_officer")).then(
        RoleGiven(role="electrical_safety_officer"), enlisted("electrical_safety_officer", "team_leader")
    )


def test_a_role_is_withdrawn() -> None:
    IRENA.when(WithdrawRole(role="scrutineer")).then(RoleWithdrawn(role="scrutineer"))


def test_a_role_that_somebody_does_not_have_is_not_withdrawn() -> None:
    IRENA.when(WithdrawRole(role="driver")).then()


def test_a_role_that_is_withdrawn_is_withdrawn_in_the_team_too() -> None:
    ANA.when(WithdrawRole(role="team_leader")).then(RoleWithdrawn(role="team_leader"), enlisted())


@pytest.mark.parametrize(
    "command",
    [CONTACT, GiveRole(role="driver"), WithdrawRole(role="scrutineer"), free((0, 8))],
    ids=lambda command: type(command).__name__,
)
def test_somebody_who_left_is_left_alone(command: Command) -> None:
    IRENA.given(PEOPLE, LEFT).by("admin", Role.ADMIN).when(command).refused(PersonGone)


def test_a_scrutineer_says_himself_when_he_has_time() -> None:
    IRENA.by("irena", Role.SCRUTINEER).when(free((0, 4), (5, 8))).then(announced((0, 4), (5, 8)))


def test_staff_says_when_a_scrutineer_has_time() -> None:
    IRENA.by("chief", Role.INSPECTION_RESPONSIBLE).when(free((0, 8))).then(announced((0, 8)))


def test_a_scrutineer_does_not_say_when_another_has_time() -> None:
    IRENA.by("jan", Role.SCRUTINEER).when(free((0, 8))).refused(NotYours)


def test_spans_are_put_in_order() -> None:
    IRENA.by("irena", Role.SCRUTINEER).when(free((5, 8), (0, 5))).then(announced((0, 5), (5, 8)))


def test_what_was_announced_already_leads_to_nothing() -> None:
    IRENA.given(PEOPLE, announced((0, 8))).by("irena", Role.SCRUTINEER).when(free((0, 8))).then()


def test_somebody_has_no_time_after_all() -> None:
    IRENA.given(PEOPLE, announced((0, 8))).by("irena", Role.SCRUTINEER).when(free()).then(announced())


def test_spans_of_a_day_do_not_overlap() -> None:
    (
        IRENA.by("irena", Role.SCRUTINEER)
        .when(free((3, 8), (0, 4)))
        .refused(SpansOverlap, starts_at=EIGHT + 3 * HOUR, ends_at=EIGHT + 8 * HOUR)
    )


def test_a_day_is_the_local_one_from_midnight_to_midnight() -> None:
    IRENA.by("irena", Role.SCRUTINEER).when(free((-8, 16))).then(announced((-8, 16)))


@pytest.mark.parametrize("span", [(-9, 0), (8, 16.5), (24, 30)])
def test_a_span_lies_on_the_local_date_that_is_named(span: tuple[float, float]) -> None:
    IRENA.by("irena", Role.SCRUTINEER).when(free(span)).refused(SpansOverlap)


def test_a_span_ends_after_it_starts() -> None:
    with pytest.raises(ValidationError):
        free((1, 1))


def test_days_need_the_calendar_of_an_open_organisation() -> None:
    given(PEOPLE, SCRUTINEER).by("irena", Role.SCRUTINEER).when(free((0, 8))).refused(TenantNotOpen)


def test_somebody_leaves_and_another_may_act_with_his_tokens() -> None:
    IRENA.when(LeavePerson()).then(LEFT, claim("person-user/irena", Released()))


def test_a_member_who_leaves_is_struck_off_his_team() -> None:
    ANA.when(LeavePerson()).then(
        LEFT, claim("person-user/ana", Released()), on(TEAMS, MemberStruckOff(person_id="person"))
    )


def test_somebody_leaves_once() -> None:
    IRENA.given(PEOPLE, LEFT).when(LeavePerson()).then()


def test_a_team_knows_the_users_of_its_members_until_they_leave() -> None:
    enlistment = MemberEnlisted(person_id="person", user="ana")
    team = TEAMS.evolve(TEAMS.initial, enlistment)
    assert team.has_user("ana")
    assert not team.has_user("ben")
    assert not TEAMS.evolve(team, MemberStruckOff(person_id="person")).has_user("ana")


def test_a_team_enters_with_a_code_and_a_number_of_its_own() -> None:
    given(TEAMS).when(REGISTER_TEAM).then(
        TEAM, claim("team-code/volt", Claimed(by="team")), claim("team-number/EV/7", Claimed(by="team"))
    )


def test_a_team_may_have_no_number() -> None:
    given(TEAMS).when(RegisterTeam(name="Volt Racing", code="VOLT", vehicle_class="EV")).then(
        TeamRegistered(name="Volt Racing", code="VOLT", vehicle_class="EV"),
        claim("team-code/volt", Claimed(by="team")),
    )


def test_a_team_enters_once() -> None:
    given(TEAMS, TEAM).when(REGISTER_TEAM).refused(TeamAlreadyRegistered)


def test_a_code_belongs_to_one_team_in_capitals_or_not() -> None:
    story = given(CLAIMS, Claimed(by="other"), id="team-code/volt")
    story.when(RegisterTeam(name="Volt", code="Volt", vehicle_class="CV")).refused(TeamCodeTaken, code="Volt")


def test_a_number_belongs_to_one_car_of_a_class() -> None:
    story = given(CLAIMS, Claimed(by="other"), id="team-number/EV/7")
    story.when(REGISTER_TEAM).refused(TeamNumberTaken, number=7)
    story.when(REGISTER_TEAM.model_copy(update={"vehicle_class": "CV"})).then(
        TeamRegistered(name="Volt Racing", code="VOLT", vehicle_class="CV", number=7),
        claim("team-code/volt", Claimed(by="team")),
        claim("team-number/CV/7", Claimed(by="team")),
    )


def test_a_team_that_gives_up_leaves_its_code_and_number_to_others() -> None:
    given(TEAMS, TEAM).when(WithdrawTeam(reason="No car")).then(
        WITHDRAWN, claim("team-code/volt", Released()), claim("team-number/EV/7", Released())
    )


def test_a_team_gives_up_once() -> None:
    given(TEAMS, TEAM, WITHDRAWN).when(WithdrawTeam(reason="No car")).then()
