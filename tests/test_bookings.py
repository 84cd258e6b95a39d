"""Bookings: from the request to the result, with one car and a few lanes, and no slot for two."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import reduce

import pytest

from commands.bookings.bookings import (
    CancelBooking,
    CheckInBooking,
    CompleteBooking,
    ConfirmBooking,
    ContinueBooking,
    ExpireHold,
    MarkNoShow,
    PrioritizeBooking,
    RequestBooking,
    RescheduleBooking,
    StartBooking,
)
from commands.bookings.scrutineers import AssignScrutineer, RemoveScrutineer
from commands.kernel import Command
from domain.bookings.bookings import (
    BOOKINGS,
    AttendeesMissing,
    AttendeesUnknown,
    BookingAlreadyRequested,
    BookingCancelled,
    BookingCheckedIn,
    BookingCompleted,
    BookingConfirmed,
    BookingContinued,
    BookingMarkedNoShow,
    BookingNotCheckedIn,
    BookingNotConfirmed,
    BookingNotHeld,
    BookingOver,
    BookingPrioritized,
    BookingRequested,
    BookingRescheduled,
    BookingStarted,
    HoldExpired,
    HoldIsOver,
    HoldNotOver,
    NotAScrutineer,
    NotYetDue,
    PriorityNotYours,
    ScrutineerAlreadyAssigned,
    ScrutineerAssigned,
    ScrutineerNotAssigned,
    ScrutineerRemoved,
    StartsInThePast,
    TooShortNotice,
)
from domain.bookings.calendar import (
    CALENDAR_DAYS,
    CarElsewhere,
    LaneUnknown,
    SlotFreed,
    SlotKept,
    SlotNotFree,
    SlotTaken,
    car_of,
    lanes_of,
    utc_days,
)
from domain.inspections.passports import (
    PASSPORTS,
    AlreadyPassed,
    ApprovalDenied,
    ApprovalGiven,
    ApprovalReopened,
    NothingToRescrutineer,
    PrerequisitesMissing,
)
from domain.inspections.types import (
    INSPECTION_TYPES,
    PREREQUISITES,
    ClassRules,
    InspectionTypeDefined,
    InspectionTypeNotOffered,
    InspectionTypeRetired,
    InspectionTypeRevised,
    InspectionTypeUnknown,
    NotForThisClass,
    PrerequisitesDeclared,
    Rules,
)
from domain.kernel import NotYours
from domain.people import (
    PEOPLE,
    TEAMS,
    MemberEnlisted,
    PersonGone,
    PersonLeft,
    PersonRegistered,
    PersonUnknown,
    TeamGone,
    TeamRegistered,
    TeamUnknown,
    TeamWithdrawn,
)
from domain.roles import Role
from domain.tenants import TENANTS, TenantNotOpen, TenantOpened
from tests.given import NOW, Given, Outcome, given, on

DAY = date(2026, 11, 20)
NEXT_DAY = date(2026, 11, 21)
MINUTE = timedelta(minutes=1)
AT = datetime(2026, 11, 20, 14, tzinfo=UTC)
END = AT + 75 * MINUTE
FREE_AT = END + 10 * MINUTE
HELD_UNTIL = NOW + 15 * MINUTE
OPEN = TenantOpened(name="Formula", time_zone="Europe/Ljubljana", currency="EUR")
CLASSES = (ClassRules(vehicle_class="EV", prerequisites=("accumulator",), attendees=("electrical_safety_officer",)),)
RULES = Rules(name="Electrical", duration_minutes=75, classes=CLASSES, lanes=2, buffer_minutes=10, notice_minutes=60)
DECLARED = PrerequisitesDeclared(inspection_type_id="mechanical", classes=CLASSES)
TEAM = TeamRegistered(name="Volt Racing", code="VOLT", vehicle_class="EV")
ANA = MemberEnlisted(person_id="ana-id", user="ana", roles=("team_leader",))
EVA = MemberEnlisted(person_id="eva-id", roles=("electrical_safety_officer",))
WITHDRAWN = TeamWithdrawn(reason="No car")
ACCUMULATOR = ApprovalGiven(inspection_type_id="accumulator", inspection_id="earlier", result="passed")
OPENED_AGAIN = ApprovalReopened(inspection_type_id="accumulator", inspection_id="earlier", because="mechanical")
PASSED = ApprovalGiven(inspection_type_id="mechanical", inspection_id="earlier", result="passed")
FAILED = ApprovalDenied(inspection_type_id="mechanical", inspection_id="earlier")
REQUESTED = BookingRequested(
    team_id="team",
    inspection_type_id="mechanical",
    vehicle_class="EV",
    lane=1,
    starts_at=AT,
    ends_at=END,
    day=DAY,
    held_until=HELD_UNTIL,
    by="ana",
    buffer_minutes=10,
)
CONFIRMED = BookingConfirmed()
CHECKED_IN = BookingCheckedIn(
    team_id="team", inspection_type_id="mechanical", vehicle_class="EV", attendees=("eva-id", "ana-id")
)
STARTED = BookingStarted()
COMPLETED = BookingCompleted(result="passed")
CANCELLED = BookingCancelled(reason="Motor broken")
OVER = [(CANCELLED,), (HoldExpired(),), (CONFIRMED, BookingMarkedNoShow()), (CONFIRMED, CHECKED_IN, STARTED, COMPLETED)]
SLOT = SlotTaken(booking="booking", lane=1, starts_at=AT, ends_at=FREE_AT, held_until=HELD_UNTIL)
CAR = replace(SLOT, ends_at=END)
LANES, TEAMS_CAR = lanes_of("mechanical", DAY), car_of("team", DAY)
REQUEST = RequestBooking(team_id="team", inspection_type_id="mechanical", starts_at=AT)
RESCHEDULE = RescheduleBooking(starts_at=AT + 120 * MINUTE)
CANCEL = CancelBooking(reason="Motor broken")
CHECK_IN = CheckInBooking(attendees=("eva-id", "ana-id"))
ASSIGN, REMOVE = AssignScrutineer(person_id="person"), RemoveScrutineer(person_id="person")
ASSIGNED = ScrutineerAssigned(person_id="person", by="irena")


def lanes(fact: object, day: date = DAY) -> object:
    """A fact of a day of the lanes."""
    return on(CALENDAR_DAYS, fact, id=lanes_of("mechanical", day))


def car(fact: object, day: date = DAY) -> object:
    """A fact of a day of the car."""
    return on(CALENDAR_DAYS, fact, id=car_of("team", day))


FREED = (lanes(SlotFreed(booking="booking")), car(SlotFreed(booking="booking")))
TAKEN = (lanes(SLOT), car(CAR))
KEPT = (lanes(SlotKept(booking="booking")), car(SlotKept(booking="booking")))
KNOWN = (
    given(TENANTS, OPEN)
    .given(TEAMS, TEAM, ANA, EVA)
    .given(INSPECTION_TYPES, InspectionTypeDefined(rules=RULES))
    .given(PREREQUISITES, DECLARED)
    .given(PASSPORTS, ACCUMULATOR)
    .by("ana", Role.TEAM_LEADER)
)
HELD = KNOWN.given(BOOKINGS, REQUESTED).given(CALENDAR_DAYS, SLOT, id=LANES).given(CALENDAR_DAYS, CAR, id=TEAMS_CAR)
COMING = (
    HELD.given(BOOKINGS, CONFIRMED)
    .given(CALENDAR_DAYS, SlotKept(booking="booking"), id=LANES)
    .given(CALENDAR_DAYS, SlotKept(booking="booking"), id=TEAMS_CAR)
)
HERE = COMING.given(BOOKINGS, CHECKED_IN)
ONGOING = HERE.given(BOOKINGS, STARTED)
DONE = (
    ONGOING.given(BOOKINGS, COMPLETED)
    .given(CALENDAR_DAYS, SlotFreed(booking="booking"), id=LANES)
    .given(CALENDAR_DAYS, SlotFreed(booking="booking"), id=TEAMS_CAR)
)


def by_crew(story: Given) -> Given:
    """Let a scrutineer ask."""
    return story.by("irena", Role.SCRUTINEER)


def by_staff(story: Given) -> Given:
    """Let the one who runs scrutineering ask."""
    return story.by("chief", Role.INSPECTION_RESPONSIBLE)


def others(story: Given, *slots: tuple[int, int, int], held_until: datetime | None = None) -> Given:
    """Other bookings have a lane from and to so many minutes after the start of ours: `(lane, from, to)`."""
    facts = [
        SlotTaken(
            booking=f"other-{number}",
            lane=lane,
            starts_at=AT + start * MINUTE,
            ends_at=AT + end * MINUTE,
            held_until=held_until,
        )
        for number, (lane, start, end) in enumerate(slots)
    ]
    return story.given(CALENDAR_DAYS, *facts, id=LANES)


def moved_to(starts_at: datetime, lane: int = 1, held_until: datetime | None = None) -> BookingRescheduled:
    """The fact that the booking is at another time now."""
    ends_at = starts_at + 75 * MINUTE
    return BookingRescheduled(
        lane=lane, starts_at=starts_at, ends_at=ends_at, day=DAY, held_until=held_until, buffer_minutes=10
    )


def slot_from(starts_at: datetime, lane: int = 1, held_until: datetime | None = None) -> tuple[object, object]:
    """The facts that the booking has a lane and its car from then on."""
    of_lane = SlotTaken(
        booking="booking", lane=lane, starts_at=starts_at, ends_at=starts_at + 85 * MINUTE, held_until=held_until
    )
    return lanes(of_lane), car(replace(of_lane, lane=1, ends_at=starts_at + 75 * MINUTE))


def after(story: Given, outcome: Outcome) -> Given:
    """What has happened after a command was carried out."""
    return reduce(lambda told, one: told.given(one.stream, one.fact, id=one.id), outcome.facts, story)


OF_A_TEAM = pytest.mark.parametrize(
    ("story", "command"),
    [(KNOWN, REQUEST), (HELD, ConfirmBooking()), (COMING, RESCHEDULE), (COMING, CANCEL)],
    ids=["request", "confirm", "reschedule", "cancel"],
)
BY_THE_RULES = pytest.mark.parametrize(
    ("story", "command"), [(KNOWN, REQUEST), (COMING, RESCHEDULE)], ids=["request", "reschedule"]
)


def test_a_team_requests_a_slot_which_is_held_for_it() -> None:
    KNOWN.when(REQUEST).then(REQUESTED, *TAKEN)


def test_a_booking_is_requested_once() -> None:
    HELD.when(REQUEST).refused(BookingAlreadyRequested)


@OF_A_TEAM
def test_a_team_does_nothing_for_another(story: Given, command: Command) -> None:
    story.by("ben", Role.TEAM_LEADER).when(command).refused(NotYours)


@OF_A_TEAM
def test_a_team_acts_for_itself(story: Given, command: Command) -> None:
    assert story.when(command).refusal is None


@OF_A_TEAM
def test_staff_acts_for_a_team(story: Given, command: Command) -> None:
    assert by_staff(story).when(command).refusal is None


def test_a_scrutineer_books_for_a_team_but_does_not_cancel() -> None:
    by_crew(KNOWN).when(REQUEST).then(replace(REQUESTED, by="irena"), *TAKEN)
    by_crew(COMING).when(CANCEL).refused(NotYours)


def test_only_staff_gives_a_priority() -> None:
    first = REQUEST.model_copy(update={"priority": 5})
    KNOWN.when(first).refused(PriorityNotYours)
    by_crew(KNOWN).when(first).refused(PriorityNotYours)
    by_staff(KNOWN).when(first).then(replace(REQUESTED, by="chief", priority=5), *TAKEN)


def test_a_slot_is_held_for_a_team_that_we_know() -> None:
    by_staff(KNOWN).when(REQUEST.model_copy(update={"team_id": "nobody"})).refused(TeamUnknown, team_id="nobody")


@BY_THE_RULES
def test_a_team_that_gave_up_does_not_come(story: Given, command: Command) -> None:
    story.given(TEAMS, WITHDRAWN).when(command).refused(TeamGone, team_id="team")


def test_a_team_that_gave_up_neither_confirms_nor_checks_in() -> None:
    HELD.given(TEAMS, WITHDRAWN).when(ConfirmBooking()).refused(TeamGone, team_id="team")
    by_crew(COMING.given(TEAMS, WITHDRAWN)).when(CHECK_IN).refused(TeamGone, team_id="team")


def test_a_date_needs_the_calendar_of_an_open_organisation() -> None:
    replace(KNOWN, happened={key: facts for key, facts in KNOWN.happened.items() if key[0] != "tenants"}).when(
        REQUEST
    ).refused(TenantNotOpen)


def test_a_team_books_an_inspection_that_there_is() -> None:
    KNOWN.when(REQUEST.model_copy(update={"inspection_type_id": "none"})).refused(
        InspectionTypeUnknown, inspection_type_id="none"
    )


@BY_THE_RULES
def test_a_team_books_an_inspection_that_is_offered(story: Given, command: Command) -> None:
    (
        story.given(INSPECTION_TYPES, InspectionTypeRetired())
        .when(command)
        .refused(InspectionTypeNotOffered, inspection_type_id="mechanical")
    )


@BY_THE_RULES
def test_a_team_books_an_inspection_for_its_class(story: Given, command: Command) -> None:
    combustion = replace(RULES, classes=(ClassRules(vehicle_class="CV"),))
    (
        story.given(INSPECTION_TYPES, InspectionTypeRevised(rules=combustion))
        .when(command)
        .refused(NotForThisClass, vehicle_class="EV")
    )


@BY_THE_RULES
def test_what_must_be_passed_before_is_named(story: Given, command: Command) -> None:
    story.given(PASSPORTS, OPENED_AGAIN).when(command).refused(PrerequisitesMissing, missing=["accumulator"])


@BY_THE_RULES
def test_what_those_need_in_turn_is_named_too_and_before_them(story: Given, command: Command) -> None:
    later = [
        PrerequisitesDeclared(inspection_type_id=test, classes=(ClassRules(vehicle_class="EV", prerequisites=before),))
        for test, before in {"accumulator": ("cells", "box"), "cells": ("papers",), "box": ("papers",)}.items()
    ]
    story.given(PREREQUISITES, *later).given(PASSPORTS, OPENED_AGAIN).when(command).refused(
        PrerequisitesMissing, missing=["papers", "box", "cells", "accumulator"]
    )


@BY_THE_RULES
def test_what_is_passed_is_not_booked_again(story: Given, command: Command) -> None:
    story.given(PASSPORTS, PASSED).when(command).refused(AlreadyPassed)


def test_what_is_passed_is_booked_again_to_be_scrutineered_again() -> None:
    again = REQUEST.model_copy(update={"rescrutineering": True})
    for earlier in (PASSED, FAILED):
        KNOWN.given(PASSPORTS, earlier).when(again).then(replace(REQUESTED, rescrutineering=True), *TAKEN)


def test_what_was_failed_is_booked_again() -> None:
    KNOWN.given(PASSPORTS, FAILED).when(REQUEST).then(REQUESTED, *TAKEN)


def test_what_was_not_inspected_is_not_scrutineered_again() -> None:
    KNOWN.when(REQUEST.model_copy(update={"rescrutineering": True})).refused(NothingToRescrutineer)


def test_teams_book_in_time() -> None:
    for starts_at in (NOW + 59 * MINUTE, NOW):
        KNOWN.when(REQUEST.model_copy(update={"starts_at": starts_at})).refused(
            TooShortNotice, earliest=NOW + 60 * MINUTE
        )
        COMING.when(RescheduleBooking(starts_at=starts_at)).refused(TooShortNotice, earliest=NOW + 60 * MINUTE)
    assert KNOWN.when(REQUEST.model_copy(update={"starts_at": NOW + 60 * MINUTE})).refusal is None


def test_those_who_inspect_book_at_once() -> None:
    for story in (by_crew(KNOWN), by_staff(KNOWN)):
        assert story.when(REQUEST.model_copy(update={"starts_at": NOW})).refusal is None


def test_nobody_books_the_past() -> None:
    past = NOW - timedelta(microseconds=1)
    for story in (KNOWN, by_staff(KNOWN)):
        story.when(REQUEST.model_copy(update={"starts_at": past})).refused(StartsInThePast)
    by_staff(COMING).when(RescheduleBooking(starts_at=past)).refused(StartsInThePast)


def test_the_past_is_that_of_the_door_whatever_the_client_says() -> None:
    story = KNOWN.moment(NOW - timedelta(days=9), now=AT + MINUTE)
    story.when(REQUEST).refused(StartsInThePast)


def test_the_lowest_free_lane_is_taken() -> None:
    outcome = others(KNOWN, (1, 0, 85)).when(REQUEST)
    outcome.then(replace(REQUESTED, lane=2), lanes(replace(SLOT, lane=2)), car(CAR))


def test_a_lane_can_be_named() -> None:
    KNOWN.when(REQUEST.model_copy(update={"lane": 2})).then(
        replace(REQUESTED, lane=2), lanes(replace(SLOT, lane=2)), car(CAR)
    )


def test_a_lane_that_is_named_must_be_there() -> None:
    KNOWN.when(REQUEST.model_copy(update={"lane": 3})).refused(LaneUnknown, lanes=2)


def test_a_lane_that_is_named_must_be_free() -> None:
    (
        others(KNOWN, (2, -10, 75))
        .when(REQUEST.model_copy(update={"lane": 2}))
        .refused(SlotNotFree, free_from=AT + 75 * MINUTE)
    )


def test_a_slot_that_is_not_free_says_when_it_is() -> None:
    others(KNOWN, (1, 0, 85), (2, 20, 105), (1, 120, 205), (2, 170, 255)).when(REQUEST).refused(
        SlotNotFree, free_from=AT + 205 * MINUTE
    )


def test_a_slot_that_is_not_free_says_when_the_car_is_free_as_well() -> None:
    elsewhere = SlotTaken(booking="x", lane=1, starts_at=AT + 80 * MINUTE, ends_at=AT + 100 * MINUTE)
    (
        others(KNOWN, (1, 0, 85), (2, 0, 85))
        .given(CALENDAR_DAYS, elsewhere, id=TEAMS_CAR)
        .when(REQUEST)
        .refused(SlotNotFree, free_from=AT + 100 * MINUTE)
    )


def test_a_slot_that_is_not_free_on_what_is_known_of_the_day_says_nothing_of_the_next() -> None:
    others(KNOWN, (1, 0, 540), (2, 0, 540)).when(REQUEST).refused(SlotNotFree, free_from=None)


@pytest.mark.parametrize("slot", [(1, -85, 0), (1, 85, 170)])
def test_slots_may_follow_each_other_with_their_buffers(slot: tuple[int, int, int]) -> None:
    others(KNOWN, slot, (2, 0, 85)).when(REQUEST).then(REQUESTED, *TAKEN)


@pytest.mark.parametrize("slot", [(1, -84, 1), (1, 84, 169), (1, -10, 200), (1, 10, 20)])
def test_neither_slots_nor_their_buffers_overlap(slot: tuple[int, int, int]) -> None:
    assert isinstance(others(KNOWN, slot, (2, 0, 85)).when(REQUEST).refusal, SlotNotFree)


def test_what_is_held_counts_like_what_is_confirmed() -> None:
    story = others(KNOWN, (1, 0, 85), (2, 0, 85), held_until=NOW + MINUTE)
    story.when(REQUEST).refused(SlotNotFree, free_from=FREE_AT)


def test_what_was_held_is_free_once_its_time_is_over_without_anybody_saying_so() -> None:
    others(KNOWN, (1, 0, 85), (2, 0, 85), held_until=NOW).when(REQUEST).then(REQUESTED, *TAKEN)


def test_a_car_is_at_one_inspection_at_a_time() -> None:
    elsewhere = SlotTaken(booking="mechanical", lane=1, starts_at=AT - 60 * MINUTE, ends_at=AT + MINUTE)
    KNOWN.given(CALENDAR_DAYS, elsewhere, id=TEAMS_CAR).when(REQUEST).refused(CarElsewhere, booking="mechanical")


def test_a_car_goes_from_one_inspection_to_the_next() -> None:
    before = SlotTaken(booking="before", lane=1, starts_at=AT - 60 * MINUTE, ends_at=AT)
    later = SlotTaken(booking="later", lane=1, starts_at=END, ends_at=END + 60 * MINUTE)
    KNOWN.given(CALENDAR_DAYS, before, later, id=TEAMS_CAR).when(REQUEST).then(REQUESTED, *TAKEN)


def test_the_day_of_a_booking_is_the_local_one_on_which_it_begins() -> None:
    late = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
    [requested, *_] = KNOWN.when(REQUEST.model_copy(update={"starts_at": late})).facts
    assert requested.fact.day == NEXT_DAY


def test_a_slot_over_midnight_stands_on_both_days() -> None:
    late = datetime(2026, 11, 20, 23, 30, tzinfo=UTC)
    slot = replace(SLOT, starts_at=late, ends_at=late + 85 * MINUTE)
    of_car = replace(slot, ends_at=late + 75 * MINUTE)
    story = KNOWN.given(
        CALENDAR_DAYS, replace(slot, booking="early", starts_at=late + 80 * MINUTE), id=f"type:mechanical:{NEXT_DAY}"
    )
    outcome = story.when(REQUEST.model_copy(update={"starts_at": late}))
    requested = replace(REQUESTED, lane=2, starts_at=late, ends_at=late + 75 * MINUTE, day=NEXT_DAY)
    slot = replace(slot, lane=2)
    outcome.then(requested, lanes(slot), lanes(slot, NEXT_DAY), car(of_car), car(of_car, NEXT_DAY))
    cancelled = after(story, outcome).when(CANCEL)
    assert [one.id for one in cancelled.facts[1:]] == [one.id for one in outcome.facts[1:]]


def test_the_days_that_a_stretch_of_time_touches() -> None:
    midnight = datetime(2026, 11, 21, tzinfo=UTC)
    assert utc_days(AT, midnight) == [DAY]
    assert utc_days(AT, midnight + MINUTE) == [DAY, NEXT_DAY]
    assert utc_days(AT, midnight + timedelta(days=1, minutes=1)) == [DAY, NEXT_DAY, date(2026, 11, 22)]


def test_a_team_confirms_that_it_comes() -> None:
    HELD.when(ConfirmBooking()).then(CONFIRMED, *KEPT)


def test_a_booking_is_confirmed_once() -> None:
    COMING.when(ConfirmBooking()).refused(BookingNotHeld, status="confirmed")


def test_a_hold_ends_by_the_clock_of_the_door_whatever_the_client_says() -> None:
    HELD.moment(NOW, now=HELD_UNTIL).when(ConfirmBooking()).refused(HoldIsOver, held_until=HELD_UNTIL)
    HELD.moment(NOW, now=HELD_UNTIL - MINUTE).when(ConfirmBooking()).then(CONFIRMED, *KEPT)


@pytest.mark.parametrize("place", [LANES, TEAMS_CAR])
def test_a_slot_that_was_given_to_another_is_not_confirmed_by_a_clock_that_is_late(place: str) -> None:
    given_away = replace(SLOT, booking="other", starts_at=AT + MINUTE, held_until=HELD_UNTIL + 15 * MINUTE)
    HELD.given(CALENDAR_DAYS, given_away, id=place).when(ConfirmBooking()).refused(HoldIsOver, held_until=HELD_UNTIL)


def test_a_confirmed_booking_comes_at_another_time() -> None:
    at = AT + 120 * MINUTE
    COMING.when(RESCHEDULE).then(moved_to(at), *FREED, *slot_from(at))


def test_a_hold_that_is_moved_does_not_last_longer() -> None:
    at = AT + 120 * MINUTE
    HELD.when(RESCHEDULE).then(moved_to(at, held_until=HELD_UNTIL), *FREED, *slot_from(at, held_until=HELD_UNTIL))


def test_a_hold_that_is_over_is_not_moved() -> None:
    HELD.moment(NOW, now=HELD_UNTIL).when(RESCHEDULE).refused(HoldIsOver, held_until=HELD_UNTIL)


def test_a_booking_may_overlap_with_where_it_was() -> None:
    at = AT + 10 * MINUTE
    COMING.when(RescheduleBooking(starts_at=at)).then(moved_to(at), *FREED, *slot_from(at))


def test_a_booking_moves_to_another_lane() -> None:
    COMING.when(RescheduleBooking(starts_at=AT, lane=2)).then(moved_to(AT, lane=2), *FREED, *slot_from(AT, lane=2))


def test_a_booking_that_is_there_already_stays() -> None:
    COMING.when(RescheduleBooking(starts_at=AT)).then()


def test_a_booking_moves_by_the_rules_as_they_are_now_and_frees_what_it_took_by_those_of_then() -> None:
    at = datetime(2026, 11, 20, 22, 30, tzinfo=UTC)
    booked = COMING.given(INSPECTION_TYPES, InspectionTypeRevised(rules=replace(RULES, buffer_minutes=60)))
    moved = booked.when(RescheduleBooking(starts_at=at))
    assert [one.id for one in moved.facts] == [
        "booking",
        LANES,
        TEAMS_CAR,
        LANES,
        lanes_of("mechanical", NEXT_DAY),
        TEAMS_CAR,
    ]
    back = after(booked, moved).given(INSPECTION_TYPES, InspectionTypeRevised(rules=RULES)).when(CANCEL)
    assert [one.id for one in back.facts] == ["booking", LANES, lanes_of("mechanical", NEXT_DAY), TEAMS_CAR]


@BY_THE_RULES
def test_lanes_that_are_taken_away_are_not_booked(story: Given, command: Command) -> None:
    one_lane = InspectionTypeRevised(rules=replace(RULES, lanes=1))
    story = others(story, (1, 0, 300)).given(INSPECTION_TYPES, one_lane)
    story.when(command).refused(SlotNotFree, free_from=AT + 300 * MINUTE)


@pytest.mark.parametrize("facts", [*OVER, (CONFIRMED, CHECKED_IN), (CONFIRMED, CHECKED_IN, STARTED)])
@pytest.mark.parametrize("command", [RESCHEDULE, CANCEL], ids=["reschedule", "cancel"])
def test_what_is_over_or_has_begun_is_neither_moved_nor_cancelled(facts: tuple[object, ...], command: Command) -> None:
    story = HELD.given(BOOKINGS, *facts)
    status = reduce(BOOKINGS.evolve, story.happened["bookings", "booking"], BOOKINGS.initial).status
    story.when(command).refused(BookingOver, status=status)


def test_staff_gives_a_booking_another_priority() -> None:
    for story in (HELD, COMING, HERE):
        by_staff(story).when(PrioritizeBooking(priority=3)).then(BookingPrioritized(priority=3))


def test_a_priority_that_a_booking_has_is_not_given_again() -> None:
    by_staff(COMING).when(PrioritizeBooking(priority=0)).then()


def test_what_has_begun_waits_no_more() -> None:
    by_staff(ONGOING).when(PrioritizeBooking(priority=3)).refused(BookingOver, status="ongoing")


def test_a_team_cancels_and_its_slot_is_free_again() -> None:
    for story in (HELD, COMING):
        story.when(CANCEL).then(CANCELLED, *FREED)
    assert others(after(COMING, COMING.when(CANCEL)), (2, 0, 85)).when(REQUEST, id="another").refusal is None


def test_a_team_did_not_come() -> None:
    by_crew(COMING).moment(AT, now=AT).when(MarkNoShow()).then(BookingMarkedNoShow(), *FREED)


def test_a_team_may_come_until_its_time() -> None:
    by_crew(COMING).moment(AT, now=AT - MINUTE).when(MarkNoShow()).refused(NotYetDue, due=AT)


def test_only_a_team_that_said_it_would_come_did_not() -> None:
    by_crew(HELD).moment(AT, now=AT).when(MarkNoShow()).refused(BookingNotConfirmed, status="requested")
    by_crew(HERE).moment(AT, now=AT).when(MarkNoShow()).refused(BookingNotConfirmed, status="checked_in")


def test_a_team_is_here_with_those_who_have_to_be() -> None:
    by_crew(COMING).when(CHECK_IN).then(CHECKED_IN)


def test_somebody_is_here_once() -> None:
    by_crew(COMING).when(CheckInBooking(attendees=("eva-id", "ana-id", "eva-id"))).then(CHECKED_IN)


@pytest.mark.parametrize("attendees", [(), ("ana-id",)])
def test_the_roles_that_are_missing_are_named(attendees: tuple[str, ...]) -> None:
    (
        by_crew(COMING)
        .when(CheckInBooking(attendees=attendees))
        .refused(AttendeesMissing, missing=["electrical_safety_officer"])
    )


def test_who_is_here_for_a_team_belongs_to_it() -> None:
    strangers = CheckInBooking(attendees=("eva-id", "stranger"))
    by_crew(COMING).when(strangers).refused(AttendeesUnknown, unknown=["stranger"])


def test_what_came_before_must_still_be_passed_when_the_team_is_here() -> None:
    (
        by_crew(COMING)
        .given(PASSPORTS, OPENED_AGAIN)
        .when(CHECK_IN)
        .refused(PrerequisitesMissing, missing=["accumulator"])
    )


def test_a_team_is_here_though_its_inspection_is_not_offered_any_more() -> None:
    by_crew(COMING).given(INSPECTION_TYPES, InspectionTypeRetired()).when(CHECK_IN).then(CHECKED_IN)


def test_only_a_confirmed_booking_is_checked_in() -> None:
    by_crew(HELD).when(CHECK_IN).refused(BookingNotConfirmed, status="requested")
    by_crew(HERE).when(CHECK_IN).refused(BookingNotConfirmed, status="checked_in")


@pytest.mark.parametrize("role", ["scrutineer", "inspection_responsible"])
def test_a_scrutineer_is_assigned(role: str) -> None:
    story = by_crew(COMING).given(PEOPLE, PersonRegistered(name="Jan", roles=(role,)))
    story.when(ASSIGN).then(ASSIGNED)


def test_several_inspect_together() -> None:
    story = by_crew(ONGOING).given(PEOPLE, PersonRegistered(name="Jan", roles=("scrutineer",)))
    story.given(BOOKINGS, ScrutineerAssigned(person_id="other", by="chief")).when(ASSIGN).then(ASSIGNED)


def test_who_inspects_takes_part_as_a_scrutineer() -> None:
    driver = PersonRegistered(name="Jan", roles=("driver",))
    by_crew(COMING).when(ASSIGN).refused(PersonUnknown, person_id="person")
    by_crew(COMING).given(PEOPLE, driver).when(ASSIGN).refused(NotAScrutineer, person_id="person")
    by_crew(COMING).given(PEOPLE, driver, PersonLeft()).when(ASSIGN).refused(PersonGone, person_id="person")


def test_a_scrutineer_is_assigned_once() -> None:
    by_crew(COMING).given(BOOKINGS, ASSIGNED).when(ASSIGN).refused(ScrutineerAlreadyAssigned, person_id="person")


def test_a_scrutineer_is_removed() -> None:
    by_crew(ONGOING).given(BOOKINGS, ASSIGNED).when(REMOVE).then(ScrutineerRemoved(person_id="person", by="irena"))


def test_only_a_scrutineer_who_is_assigned_is_removed() -> None:
    story = by_crew(COMING).given(BOOKINGS, ASSIGNED, ScrutineerRemoved(person_id="person", by="irena"))
    story.when(REMOVE).refused(ScrutineerNotAssigned, person_id="person")


@pytest.mark.parametrize("facts", OVER)
@pytest.mark.parametrize("command", [ASSIGN, REMOVE], ids=["assign", "remove"])
def test_nobody_inspects_what_is_over(facts: tuple[object, ...], command: Command) -> None:
    story = by_crew(HELD.given(BOOKINGS, ASSIGNED, *facts))
    assert isinstance(story.when(command).refusal, BookingOver)


def test_what_is_held_is_free_again_after_its_time() -> None:
    HELD.moment(HELD_UNTIL, now=HELD_UNTIL).when(ExpireHold()).then(HoldExpired(), *FREED)


def test_what_is_held_is_not_freed_before() -> None:
    HELD.moment(HELD_UNTIL, now=HELD_UNTIL - MINUTE).when(ExpireHold()).refused(HoldNotOver, held_until=HELD_UNTIL)


@pytest.mark.parametrize("facts", [(CONFIRMED,), *OVER])
def test_what_is_not_held_does_not_expire(facts: tuple[object, ...]) -> None:
    HELD.given(BOOKINGS, *facts).moment(HELD_UNTIL, now=HELD_UNTIL).when(ExpireHold()).then()


def test_a_booking_follows_its_inspection() -> None:
    HERE.when(StartBooking()).then(STARTED)
    ONGOING.when(CompleteBooking(result="passed")).then(COMPLETED, *FREED)
    DONE.when(ContinueBooking()).then(BookingContinued())
    DONE.given(BOOKINGS, BookingContinued()).when(CompleteBooking(result="failed")).then(
        BookingCompleted(result="failed")
    )


def test_a_car_that_is_done_early_may_be_elsewhere_and_its_lane_be_another_cars() -> None:
    elsewhere = replace(DECLARED, inspection_type_id="tilt")
    done = after(ONGOING, ONGOING.when(CompleteBooking(result="passed")))
    known = done.given(INSPECTION_TYPES, InspectionTypeDefined(rules=RULES), id="tilt")
    tilt = known.given(PREREQUISITES, elsewhere).by("ana", Role.TEAM_LEADER)
    assert tilt.when(REQUEST.model_copy(update={"inspection_type_id": "tilt"}), id="next").refusal is None
    assert others(done, (2, 0, 85)).by("ana", Role.TEAM_LEADER).when(REQUEST, id="another").refusal is None


def test_a_booking_follows_its_inspection_once() -> None:
    ONGOING.when(StartBooking()).then()
    DONE.when(StartBooking()).then()
    DONE.when(CompleteBooking(result="passed")).then()
    ONGOING.when(ContinueBooking()).then()


def test_a_booking_follows_its_inspection_though_it_was_not_told_of_every_step() -> None:
    HERE.when(CompleteBooking(result="passed")).then(COMPLETED, *FREED)
    HERE.when(ContinueBooking()).then(BookingContinued())
    DONE.when(CompleteBooking(result="failed")).then(BookingCompleted(result="failed"))


@pytest.mark.parametrize(
    "command",
    [StartBooking(), CompleteBooking(result="passed"), ContinueBooking()],
    ids=["start", "complete", "continue"],
)
def test_there_is_no_inspection_of_a_team_that_is_not_here(command: Command) -> None:
    COMING.when(command).refused(BookingNotCheckedIn, status="confirmed")
