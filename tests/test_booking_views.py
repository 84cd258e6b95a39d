"""What readers get to know of bookings, stations and deadlines: rows after short stories."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from domain.attachments import ATTACHMENTS, AttachmentAbandoned, AttachmentDeclared, AttachmentStored
from domain.bookings.bookings import (
    BOOKINGS,
    BookingCancelled,
    BookingCheckedIn,
    BookingCompleted,
    BookingConfirmed,
    BookingContinued,
    BookingMarkedNoShow,
    BookingPrioritized,
    BookingRequested,
    BookingRescheduled,
    BookingStarted,
    HoldExpired,
    ScrutineerAssigned,
    ScrutineerRemoved,
)
from domain.inspections.checks import CheckHeld, CheckValue, HeldCheckReleased
from domain.inspections.inspections import (
    INSPECTIONS,
    FeedbackGiven,
    InspectionCompleted,
    InspectionReopened,
    InspectionResumed,
    InspectionStarted,
    InspectionSuspended,
)
from domain.inspections.types import INSPECTION_TYPES, ClassRules, InspectionTypeDefined, Rules
from domain.kernel import Recorded
from domain.tenants import TENANTS, TenantOpened, TimeZoneChanged, Zone
from projections.bookings.bookings import ASSIGNMENTS_VIEW, BOOKINGS_VIEW, AssignmentRow, BookingRow
from projections.bookings.stations import (
    CALENDAR_VIEW,
    STATION_DAYS_VIEW,
    STATIONS_VIEW,
    CalendarRow,
    Queued,
    StationDayRow,
    StationRow,
)
from projections.deadlines import DEADLINES_VIEW, DeadlineRow, Held
from projections.kernel import Context
from tests.given import NOW, folded, recorded
from tests.views.house import seeded

# The views of this slice alone: its stories leave out what only those of inspections need.
OWN = Context(
    "inspections",
    version=1,
    views=(BOOKINGS_VIEW, ASSIGNMENTS_VIEW, STATIONS_VIEW, STATION_DAYS_VIEW, CALENDAR_VIEW, DEADLINES_VIEW),
)
MINUTE = timedelta(minutes=1)
DAY, NEXT_DAY = date(2026, 11, 20), date(2026, 11, 21)
STARTS, ENDS, HELD_UNTIL = NOW + 60 * MINUTE, NOW + 90 * MINUTE, NOW + 15 * MINUTE
REQUESTED = BookingRequested(
    team_id="team",
    inspection_type_id="brake",
    vehicle_class="EV",
    lane=1,
    starts_at=STARTS,
    ends_at=ENDS,
    day=DAY,
    held_until=HELD_UNTIL,
    priority=3,
    notes="Late",
    by="ana",
    buffer_minutes=5,
)
LATER = BookingRescheduled(
    lane=2, starts_at=STARTS + 1440 * MINUTE, ends_at=ENDS + 1440 * MINUTE, day=NEXT_DAY, held_until=None
)
CHECKED_IN = BookingCheckedIn(team_id="team", inspection_type_id="brake", vehicle_class="EV", attendees=("ana",))
PASSED = BookingCompleted(result="passed")
WORK = InspectionStarted(checklist_version=1, by="sam", at=NOW + 60 * MINUTE)
WAITS = InspectionSuspended(reason="Rain", at=NOW + 70 * MINUTE)
GOES_ON = InspectionResumed(at=NOW + 80 * MINUTE)
DONE = InspectionCompleted(team_id="team", inspection_type_id="brake", result="passed", seconds=1_500, by="sam")
REOPENED = InspectionReopened(reason="Wrong car", by="ada", at=NOW + 100 * MINUTE)
HELD = CheckHeld(
    branch="phone", step=2, item="B1", value=CheckValue(), based_on=0, by="sam", at=NOW, since=NOW + 5 * MINUTE
)
RULES = Rules(name="Brake test", duration_minutes=30, classes=(ClassRules(vehicle_class="EV"),))

Story = list[Recorded[Any]]


def booking(*facts: object, id: str = "booking", minute: int = 0) -> Story:
    """Facts of a booking, at this minute."""
    return recorded(BOOKINGS, *facts, id=id, at=NOW + minute * MINUTE)


def work(*facts: object, id: str = "booking", minute: int = 0) -> Story:
    """Facts of its inspection, at this minute."""
    return recorded(INSPECTIONS, *facts, id=id, at=NOW + minute * MINUTE)


HERE = booking(REQUESTED, BookingConfirmed(), CHECKED_IN)
IN_WORK = [*HERE, *work(WORK), *booking(BookingStarted())]
COMPLETED = [*IN_WORK, *work(DONE, minute=90), *booking(PASSED, minute=91)]


def rows(view: str, *stories: Story) -> dict[Any, Any]:
    """The rows of a view after these stories, by key."""
    return folded(OWN, *stories)[view]


def row(view: str, *stories: Story) -> Any:
    """The only row of a view after these stories."""
    (only,) = rows(view, *stories).values()
    return only


# Bookings


def test_a_requested_booking_is_a_row() -> None:
    assert rows("bookings", booking(REQUESTED)) == {
        ("booking",): BookingRow(
            id="booking",
            status="requested",
            team_id="team",
            inspection_type_id="brake",
            vehicle_class="EV",
            day=DAY,
            lane=1,
            starts_at=STARTS,
            ends_at=ENDS,
            free_at=ENDS + 5 * MINUTE,
            held_until=HELD_UNTIL,
            priority=3,
            rank=-3,
            notes="Late",
            requested_by="ana",
            version=1,
        )
    }


def test_a_booking_is_confirmed_and_checked_in() -> None:
    confirmed = replace(row("bookings", booking(REQUESTED)), status="confirmed", held_until=None, version=2)
    assert row("bookings", booking(REQUESTED, BookingConfirmed())) == confirmed
    here = row("bookings", booking(REQUESTED, BookingConfirmed()), booking(CHECKED_IN, minute=50))
    assert here == replace(
        confirmed, status="checked_in", attendees=("ana",), checked_in_at=NOW + 50 * MINUTE, version=3
    )


def test_a_booking_moves_to_another_time_and_lane() -> None:
    moved = row("bookings", booking(REQUESTED, LATER))
    assert (moved.day, moved.lane, moved.starts_at) == (NEXT_DAY, 2, LATER.starts_at)
    assert (moved.ends_at, moved.free_at, moved.held_until) == (LATER.ends_at, LATER.ends_at, None)


def test_a_higher_priority_ranks_before() -> None:
    shown = row("bookings", booking(REQUESTED, BookingPrioritized(priority=9)))
    assert (shown.priority, shown.rank, shown.version) == (9, -9, 2)


def test_a_booking_follows_its_inspection() -> None:
    ongoing = row("bookings", IN_WORK)
    assert (ongoing.status, ongoing.started_at, ongoing.working_since) == ("ongoing", WORK.at, WORK.at)
    done = row("bookings", COMPLETED)
    assert (done.status, done.result, done.seconds) == ("completed", "passed", 1_500)
    assert (done.ended_at, done.working_since) == (NOW + 90 * MINUTE, None)


def test_what_an_inspection_waited_is_no_work() -> None:
    waiting = row("bookings", IN_WORK, work(WAITS))
    assert (waiting.status, waiting.worked_seconds, waiting.working_since) == ("ongoing", 600, None)
    again = row("bookings", IN_WORK, work(WAITS, GOES_ON))
    assert (again.worked_seconds, again.working_since) == (600, GOES_ON.at)
    twice = row("bookings", IN_WORK, work(WAITS, WAITS))
    assert twice.worked_seconds == 600


def test_a_booking_goes_on_when_its_inspection_is_reopened() -> None:
    shown = row("bookings", COMPLETED, work(REOPENED), booking(BookingContinued()))
    assert (shown.status, shown.result, shown.ended_at) == ("ongoing", None, None)
    assert (shown.worked_seconds, shown.working_since) == (1_500, REOPENED.at)


@pytest.mark.parametrize(
    ("fact", "status", "reason"),
    [
        (BookingCancelled(reason="Battery"), "cancelled", "Battery"),
        (BookingMarkedNoShow(), "no_show", None),
        (HoldExpired(), "expired", None),
    ],
)
def test_a_booking_ends_without_an_inspection(fact: object, status: str, reason: str | None) -> None:
    shown = row("bookings", booking(REQUESTED), booking(fact, minute=20))
    assert (shown.status, shown.ended_at, shown.cancel_reason) == (status, NOW + 20 * MINUTE, reason)


def test_an_inspection_that_nobody_booked_makes_no_booking() -> None:
    story = work(WORK, WAITS, GOES_ON, DONE, REOPENED, FeedbackGiven(score=4, by="ana"))
    assert [rows(view, story) for view in ("bookings", "stations", "station_days")] == [{}, {}, {}]


# Assignments


def test_scrutineers_are_assigned_and_removed() -> None:
    sam, tea = ScrutineerAssigned(person_id="sam", by="ada"), ScrutineerAssigned(person_id="tea", by="ada")
    story = booking(REQUESTED, sam, tea, ScrutineerRemoved(person_id="sam", by="ada"))
    assert rows("assignments", story) == {
        ("booking", "tea"): AssignmentRow(booking_id="booking", person_id="tea", assigned_at=NOW, assigned_by="ada")
    }
    assert row("bookings", story).version == 4


# Station days


def test_a_day_counts_where_its_bookings_stand() -> None:
    other = booking(replace(REQUESTED, rescrutineering=True), BookingConfirmed(), id="other")
    assert rows("station_days", COMPLETED, other, work(FeedbackGiven(score=4, by="ana"))) == {
        ("brake", DAY): StationDayRow(
            inspection_type_id="brake",
            day=DAY,
            confirmed=1,
            completed=1,
            passed=1,
            rescrutineerings=1,
            seconds=1_500,
            timed=1,
            scores=4,
            scored=1,
        )
    }


def test_a_booking_that_moves_counts_on_its_new_day() -> None:
    days = rows("station_days", booking(REQUESTED, LATER))
    assert {key: day.requested for key, day in days.items()} == {("brake", DAY): 0, ("brake", NEXT_DAY): 1}


def test_a_result_that_was_not_the_last_word_counts_once() -> None:
    again = work(replace(DONE, result="failed", seconds=2_000))
    story = [*work(REOPENED), *booking(BookingContinued()), *again, *booking(BookingCompleted(result="failed"))]
    day = row("station_days", COMPLETED, story)
    assert (day.completed, day.passed, day.failed, day.seconds, day.timed) == (1, 0, 1, 2_000, 1)


def test_a_day_is_always_the_sum_of_its_bookings() -> None:
    dice = seeded()
    facts = [
        (BOOKINGS, [BookingConfirmed(), CHECKED_IN, BookingStarted(), PASSED, BookingContinued(), HoldExpired()]),
        (BOOKINGS, [LATER, BookingCancelled(reason="Battery"), BookingMarkedNoShow(), BookingPrioritized(priority=1)]),
        (INSPECTIONS, [WORK, WAITS, GOES_ON, DONE, replace(DONE, seconds=9), REOPENED, FeedbackGiven(score=2, by="a")]),
    ]
    story = [one for n in range(5) for one in booking(replace(REQUESTED, rescrutineering=n > 2), id=str(n))]
    for _ in range(300):
        stream, choices = dice.choice(facts)
        story += recorded(stream, dice.choice(choices), id=str(dice.randrange(5)))
    views = folded(OWN, story)
    assert sum_of(views["station_days"].values()) == sum_of_bookings(list(views["bookings"].values()))
    queued = {one.booking_id for station in views["stations"].values() for one in station.queue}
    assert queued == {one.id for one in views["bookings"].values() if one.status in ("checked_in", "ongoing")}


def sum_of(days: Any) -> dict[Any, tuple[int, ...]]:
    """What days count of statuses, results and the rest, as far as they count anything."""
    counts = {
        (one.inspection_type_id, one.day): (
            one.confirmed,
            one.completed,
            one.cancelled,
            one.passed,
            one.rescrutineerings,
            one.seconds,
            one.timed,
            one.scores,
        )
        for one in days
    }
    return {key: sums for key, sums in counts.items() if any(sums)}


def sum_of_bookings(bookings: list[BookingRow]) -> dict[Any, tuple[int, ...]]:
    """The same, counted from the bookings."""
    days = {(one.inspection_type_id, one.day) for one in bookings}
    sums = {}
    for key in days:
        of_day = [one for one in bookings if (one.inspection_type_id, one.day) == key]
        sums[key] = (
            *(sum(one.status == status for one in of_day) for status in ("confirmed", "completed", "cancelled")),
            sum(one.result == "passed" for one in of_day),
            sum(one.rescrutineering for one in of_day),
            sum(one.seconds or 0 for one in of_day),
            sum(one.seconds is not None for one in of_day),
            sum(one.score or 0 for one in of_day),
        )
    return {key: one for key, one in sums.items() if any(one)}


# Stations


def test_a_station_is_there_before_anybody_comes() -> None:
    defined = recorded(INSPECTION_TYPES, InspectionTypeDefined(rules=RULES), id="brake")
    assert rows("stations", defined) == {("brake",): StationRow(inspection_type_id="brake")}
    assert rows("stations", defined, booking(REQUESTED)) == {("brake",): StationRow(inspection_type_id="brake")}


def test_cars_that_are_here_queue_by_priority_then_check_in() -> None:
    low = replace(REQUESTED, priority=0)
    story = [
        *booking(low, CHECKED_IN, id="second", minute=2),
        *booking(low, CHECKED_IN, id="first", minute=1),
        *booking(REQUESTED, CHECKED_IN, id="urgent", minute=3),
    ]
    queue = row("stations", story).queue
    assert [one.booking_id for one in queue] == ["urgent", "first", "second"]
    assert queue[0] == Queued(
        booking_id="urgent",
        team_id="team",
        day=DAY,
        status="checked_in",
        rank=-3,
        checked_in_at=NOW + 3 * MINUTE,
        worked_seconds=0,
        working_since=None,
    )
    raised = row("stations", story, booking(BookingPrioritized(priority=9), id="second")).queue
    assert [one.booking_id for one in raised] == ["second", "urgent", "first"]


def test_a_car_stays_in_the_queue_until_it_is_done() -> None:
    [working] = row("stations", IN_WORK).queue
    assert (working.status, working.working_since) == ("ongoing", WORK.at)
    [waiting] = row("stations", IN_WORK, work(WAITS)).queue
    assert (waiting.worked_seconds, waiting.working_since) == (600, None)
    assert row("stations", COMPLETED).queue == ()


# The calendar


def test_the_calendar_follows_the_organisation() -> None:
    opened = recorded(TENANTS, TenantOpened(name="Hub", time_zone="Europe/Ljubljana", currency="EUR"))
    zone = Zone(from_date=date.min, time_zone="Europe/Ljubljana")
    assert rows("calendar", opened) == {("calendar",): CalendarRow(name="calendar", zones=(zone,))}
    changed = recorded(TENANTS, TimeZoneChanged(time_zone="Europe/London", from_date=NEXT_DAY))
    assert row("calendar", opened, changed).zones == (zone, Zone(from_date=NEXT_DAY, time_zone="Europe/London"))


# Deadlines


def test_a_hold_is_due_when_it_ends() -> None:
    assert rows("deadlines", booking(REQUESTED)) == {
        ("expire-hold", "booking"): DeadlineRow(name="expire-hold", id="booking", stream="bookings", due_at=HELD_UNTIL)
    }
    moved = replace(LATER, held_until=HELD_UNTIL + MINUTE)
    assert row("deadlines", booking(REQUESTED, moved)).due_at == HELD_UNTIL + MINUTE


@pytest.mark.parametrize("fact", [BookingConfirmed(), BookingCancelled(reason="Battery"), HoldExpired()])
def test_a_hold_that_is_settled_is_not_due(fact: object) -> None:
    assert rows("deadlines", booking(REQUESTED, fact)) == {}


def test_a_confirmed_booking_that_moves_is_never_due() -> None:
    assert rows("deadlines", booking(REQUESTED, BookingConfirmed(), LATER)) == {}


def test_held_checks_are_due_an_hour_after_the_first_of_them_came() -> None:
    story = work(HELD, replace(HELD, step=3, since=NOW + 10 * MINUTE))
    assert row("deadlines", story) == DeadlineRow(
        name="release-held",
        id="booking",
        stream="inspections",
        due_at=NOW + 65 * MINUTE,
        held=(
            Held(branch="phone", step=2, since=NOW + 5 * MINUTE),
            Held(branch="phone", step=3, since=NOW + 10 * MINUTE),
        ),
    )
    released = work(HeldCheckReleased(branch="phone", step=2))
    assert row("deadlines", story, released).due_at == NOW + 70 * MINUTE
    assert rows("deadlines", story, released, work(HeldCheckReleased(branch="phone", step=3))) == {}


def test_a_file_is_due_until_it_is_there_or_given_up() -> None:
    declared = AttachmentDeclared(
        booking_id="booking",
        team_id="team",
        name="a.jpg",
        size=3,
        media_type="image/jpeg",
        sha256="00",
        key="k",
        complete_by=NOW + 30 * MINUTE,
        by="sam",
    )
    story = recorded(ATTACHMENTS, declared, id="file")
    assert row("deadlines", story).due_at == NOW + 30 * MINUTE
    stored = AttachmentStored(key="k", size=3, sha256="00", media_type="image/jpeg")
    for fact in (stored, AttachmentAbandoned(key="k")):
        assert rows("deadlines", story, recorded(ATTACHMENTS, fact, id="file")) == {}
