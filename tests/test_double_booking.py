"""Whatever is asked of bookings, in whatever order: no lane and no car has two at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from hypothesis import example, settings
from hypothesis import given as for_all
from hypothesis import strategies as some

from commands.bookings.bookings import (
    CancelBooking,
    CheckInBooking,
    ConfirmBooking,
    ExpireHold,
    MarkNoShow,
    RequestBooking,
    RescheduleBooking,
)
from commands.kernel import Command
from domain.bookings.bookings import BOOKINGS
from domain.inspections.types import (
    INSPECTION_TYPES,
    ClassRules,
    InspectionTypeDefined,
    InspectionTypeRevised,
    Rules,
)
from domain.people import TEAMS, TeamRegistered
from domain.roles import Role
from domain.tenants import TENANTS, TenantOpened, TimeZoneChanged
from tests.booked import Replayed
from tests.given import NOW, Given, given

MINUTE = timedelta(minutes=1)
MIDNIGHT = datetime(2026, 11, 21, tzinfo=UTC)
CLASSES = (ClassRules(vehicle_class="EV"),)
RULES = Rules(name="Brakes", duration_minutes=30, classes=CLASSES, lanes=2, buffer_minutes=10, hold_minutes=2)
KINDS, TEAM_IDS, IDS = ("brakes", "tilt"), ("volt", "ampere", "ohm"), ("a", "b", "c", "d", "e", "f")
VERBS = ("request", "request", "confirm", "confirm", "reschedule", "cancel", "expire", "no-show", "check-in")
ZONES = ("Pacific/Kiritimati", "America/Los_Angeles")


class Step(NamedTuple):
    """Something that is asked of a booking, so many minutes after the step before, by a clock that may be late."""

    verb: str
    id: str
    team: str
    kind: str
    starts_at: datetime
    lane: int | None
    later: int
    late: int

    def command(self) -> Command:
        """What is asked."""
        match self.verb:
            case "request":
                return RequestBooking(
                    team_id=self.team, inspection_type_id=self.kind, starts_at=self.starts_at, lane=self.lane
                )
            case "reschedule":
                return RescheduleBooking(starts_at=self.starts_at, lane=self.lane)
        return ASKED[self.verb]


class Turn(NamedTuple):
    """The organisation changes its rules or its time zone."""

    kind: str
    rules: Rules
    zone: str | None


ASKED = {
    "confirm": ConfirmBooking(),
    "cancel": CancelBooking(reason="Rain"),
    "expire": ExpireHold(),
    "no-show": MarkNoShow(),
    "check-in": CheckInBooking(),
}
STEPS = some.builds(
    Step,
    verb=some.sampled_from(VERBS),
    id=some.sampled_from(IDS),
    team=some.sampled_from(TEAM_IDS),
    kind=some.sampled_from(KINDS),
    starts_at=some.sampled_from((-40, -30, 0, 5, 40)).map(lambda minutes: MIDNIGHT + minutes * MINUTE),
    lane=some.sampled_from((None, None, 1, 2)),
    later=some.sampled_from((0, 0, 1, 2)),
    late=some.sampled_from((0, 0, 1)),
)
TURNS = some.builds(
    Turn,
    kind=some.sampled_from(KINDS),
    rules=some.builds(
        Rules,
        name=some.just("Brakes"),
        duration_minutes=some.sampled_from((10, 30, 60)),
        classes=some.just(CLASSES),
        lanes=some.sampled_from((1, 2, 3)),
        buffer_minutes=some.sampled_from((0, 10)),
        hold_minutes=some.just(2),
    ),
    zone=some.sampled_from((None, *ZONES)),
)


def competition() -> Given:
    """Teams, inspections and a calendar, before anything is booked."""
    story = given(TENANTS, TenantOpened(name="Formula", time_zone="Europe/Ljubljana", currency="EUR"))
    for team in TEAM_IDS:
        story = story.given(TEAMS, TeamRegistered(name=team, code=team, vehicle_class="EV"), id=team)
    for kind in KINDS:
        story = story.given(INSPECTION_TYPES, InspectionTypeDefined(rules=RULES), id=kind)
    return story.by("chief", Role.ADMIN)


def turned(story: Given, turn: Turn) -> Given:
    """What has happened after the organisation changed something."""
    story = story.given(INSPECTION_TYPES, InspectionTypeRevised(rules=turn.rules), id=turn.kind)
    if turn.zone is not None:
        story = story.given(TENANTS, TimeZoneChanged(time_zone=turn.zone, from_date=date(2026, 11, 21)))
    return story


def told(steps: Sequence[Step | Turn]) -> tuple[Replayed, Counter[str]]:
    """Ask for one thing after another; return what was booked, and what was carried out how often."""
    story, booked, done, now = competition(), Replayed(), Counter[str](), NOW
    for step in steps:
        if isinstance(step, Turn):
            story = turned(story, step)
            continue
        now += step.later * MINUTE
        clock = now - step.late * MINUTE
        if step.verb != "request" and (BOOKINGS.name, step.id) not in story.happened:
            continue
        outcome = story.moment(clock, now=clock).when(step.command(), id=step.id)
        done[step.verb] += bool(outcome.facts)
        for one in outcome.facts:
            story = story.given(one.stream, one.fact, id=one.id)
            booked.happened(one.id, one.fact, clock)
    return booked, done


def step(verb: str, id: str = "a", minutes: float = 0, later: int = 0, late: int = 0, team: str = "volt") -> Step:
    """A step at the brakes."""
    return Step(verb, id, team, "brakes", MIDNIGHT + minutes * MINUTE, 1, later, late)


@settings(max_examples=300, deadline=None)
@example([step("request"), step("request", "b", later=2, team="ohm"), step("confirm", "b"), step("confirm", late=1)])
@example([step("request"), step("request", "b", minutes=-30, team="ohm")])
@example([step("request", minutes=-90), Turn("brakes", RULES, ZONES[0]), step("request", "b", minutes=-85, team="ohm")])
@example([step("request", minutes=-29.5)])
@for_all(some.lists(STEPS | TURNS, max_size=40))
def test_no_lane_and_no_car_has_two_bookings_at_once(steps: list[Step | Turn]) -> None:
    booked, _ = told(steps)
    booked.check()


def test_such_steps_lead_somewhere() -> None:
    """If everything were refused, the rule above would hold for nothing."""
    _, done = told(
        [
            step("request"),
            step("confirm"),
            step("reschedule", minutes=-30),
            step("cancel"),
            step("request", "b"),
            step("expire", "b", later=2),
        ]
    )
    assert done == {"request": 2, "confirm": 1, "reschedule": 1, "cancel": 1, "expire": 1}
