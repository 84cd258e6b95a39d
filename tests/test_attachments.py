"""Attachments: declared, expected, complete, abandoned; and what readers get to know of them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import ValidationError

from commands.attachments import AbandonAttachment, CompleteAttachment, DeclareAttachment, ExpectAttachment, Expected
from commands.inspections.checklists import ItemSent
from domain.attachments import (
    ATTACHMENTS,
    LAST_CALL,
    TIME_TO_COME,
    AttachmentAbandoned,
    AttachmentAlreadyDeclared,
    AttachmentAlreadyStored,
    AttachmentDeclared,
    AttachmentNotDue,
    AttachmentOverdue,
    AttachmentStored,
    NothingToAttachTo,
    PartUnknown,
)
from domain.bookings.bookings import BOOKINGS, BookingCancelled, BookingRequested
from domain.kernel import NotYours
from domain.people import TEAMS, MemberEnlisted, MemberStruckOff, TeamRegistered
from domain.roles import Role
from projections.attachments import ATTACHMENTS_VIEW, AttachmentRow
from projections.kernel import Context
from read_api.attachments import disposition
from tests.given import NOW, TENANT, folded, given, recorded
from write_api.uploads import Upload

REQUESTED = BookingRequested(
    team_id="team",
    inspection_type_id="brake",
    vehicle_class="EV",
    lane=1,
    starts_at=NOW,
    ends_at=NOW + timedelta(minutes=30),
    day=NOW.date(),
    held_until=NOW,
)
TEAM = (
    TeamRegistered(name="Volt", code="VLT", vehicle_class="EV"),
    MemberEnlisted(person_id="tia", user="tia", roles=("team_member",)),
)
HASH = "ab" * 32
KEY = f"{TENANT}/attachments/1/content"
DECLARE = DeclareAttachment(
    booking_id="booking",
    item="brakes.3",
    name="Bremse vorn.jpg",
    size=30,
    media_type="image/jpeg",
    sha256=HASH,
    key=KEY,
    parts=3,
)
DECLARED = AttachmentDeclared(
    booking_id="booking",
    team_id="team",
    item="brakes.3",
    name="Bremse vorn.jpg",
    size=30,
    media_type="image/jpeg",
    sha256=HASH,
    key=KEY,
    complete_by=NOW + TIME_TO_COME,
    by="sam",
    parts=3,
)
COMPLETE = CompleteAttachment(size=30, sha256=HASH, media_type="image/jpeg")
STORED = AttachmentStored(key=KEY, size=30, sha256=HASH, media_type="image/jpeg")
GONE = AttachmentAbandoned(key=KEY)
BOOKED = given(BOOKINGS, REQUESTED).given(TEAMS, *TEAM).by("sam", Role.SCRUTINEER)
WAITING = BOOKED.given(ATTACHMENTS, DECLARED)
TOO_LATE = NOW + TIME_TO_COME - LAST_CALL


def test_a_file_is_declared_for_a_booking() -> None:
    BOOKED.when(DECLARE).then(DECLARED)


def test_the_answer_says_what_is_waited_for() -> None:
    assert BOOKED.when(DECLARE).answer == Expected(
        status="declared",
        name="Bremse vorn.jpg",
        size=30,
        media_type="image/jpeg",
        sha256=HASH,
        key=KEY,
        parts=3,
        until=TOO_LATE,
    )


def test_there_is_no_such_booking() -> None:
    given(TEAMS, *TEAM).by("sam", Role.SCRUTINEER).when(DECLARE).refused(NothingToAttachTo, booking_id="booking")


def test_evidence_may_be_added_to_a_booking_that_is_over() -> None:
    BOOKED.given(BOOKINGS, BookingCancelled(reason="Rain")).when(DECLARE).then(DECLARED)


def test_somebody_of_the_team_attaches_to_its_booking() -> None:
    BOOKED.by("tia", Role.TEAM_MEMBER).when(DECLARE).then(replace(DECLARED, by="tia"))


@pytest.mark.parametrize("command", [DECLARE, ExpectAttachment(part=1), COMPLETE])
def test_another_team_does_not(command: DeclareAttachment) -> None:
    WAITING.by("tom", Role.TEAM_LEADER).when(command).refused(NotYours)


@pytest.mark.parametrize("command", [DECLARE, ExpectAttachment(part=1), COMPLETE])
def test_somebody_who_left_the_team_does_not(command: DeclareAttachment) -> None:
    left = WAITING.given(TEAMS, MemberStruckOff(person_id="tia"))
    left.by("tia", Role.TEAM_MEMBER).when(command).refused(NotYours)


def test_declared_again_nothing_happens_and_its_bytes_go_where_they_went() -> None:
    again = WAITING.when(DECLARE.model_copy(update={"key": "elsewhere", "parts": 1})).then()
    assert (again.answer.key, again.answer.parts) == (KEY, 3)


@pytest.mark.parametrize(
    "other", [{"sha256": "cd" * 32}, {"name": "other.jpg"}, {"size": 31}, {"item": None}, {"media_type": "image/png"}]
)
def test_another_file_needs_another_id(other: dict[str, object]) -> None:
    WAITING.when(DECLARE.model_copy(update=other)).refused(AttachmentAlreadyDeclared)


def test_what_was_given_up_is_not_declared_again() -> None:
    WAITING.given(ATTACHMENTS, GONE).when(DECLARE).refused(AttachmentOverdue)


def test_where_bytes_go_is_no_part_of_what_is_asked() -> None:
    """So a declaration that is repeated under the same key is the same one."""
    elsewhere = DECLARE.model_copy(update={"key": "elsewhere", "parts": 1})
    assert elsewhere.model_dump_json() == DECLARE.model_dump_json()


@pytest.mark.parametrize("name", ["", "a\x00b", "a\nb", "a\x7fb", "a\u2028b", " a", "a" * 201])
def test_a_name_is_short_and_without_control_characters(name: str) -> None:
    with pytest.raises(ValidationError):
        DeclareAttachment(**{**DECLARE.model_dump(), "key": KEY, "parts": 1, "name": name})


@pytest.mark.parametrize("name", ["../../etc/passwd", "Screenshot at 1.00\u202fPM.png", "バイク　写真.png"])
def test_any_other_name_is_taken_as_it_is(name: str) -> None:
    BOOKED.when(DECLARE.model_copy(update={"name": name})).then(replace(DECLARED, name=name))


def test_evidence_is_about_an_item_by_whatever_code_it_has() -> None:
    code = "Bremse vorn (links) 3/4"
    assert ItemSent(code=code, section="Brakes", description="Pads").code == code
    sent = DECLARE.model_dump() | {"key": KEY, "parts": 1}
    assert DeclareAttachment(**{**sent, "item": code}).item == code
    assert Upload(**{**sent_by_client(sent), "item": code}).item == code


def sent_by_client(sent: dict[str, object]) -> dict[str, object]:
    """What of a declaration comes from outside."""
    return {"id": "file"} | {name: value for name, value in sent.items() if name not in ("key", "parts")}


def test_bytes_are_expected_until_shortly_before_they_are_thrown_away() -> None:
    WAITING.moment(NOW, now=TOO_LATE - timedelta(seconds=1)).when(ExpectAttachment(part=3)).then()
    WAITING.moment(NOW, now=TOO_LATE).when(ExpectAttachment(part=3)).refused(AttachmentOverdue)


def test_there_are_no_more_parts_than_were_declared() -> None:
    WAITING.when(ExpectAttachment(part=4)).refused(PartUnknown, parts=3)


def test_a_file_that_is_there_takes_no_bytes() -> None:
    WAITING.given(ATTACHMENTS, STORED).when(ExpectAttachment(part=1)).refused(AttachmentAlreadyStored)
    assert WAITING.given(ATTACHMENTS, STORED).when(ExpectAttachment()).then().answer.status == "stored"


def test_a_file_is_there_as_it_was_found_to_be() -> None:
    WAITING.when(COMPLETE).then(STORED)


def test_completed_again_nothing_happens() -> None:
    WAITING.given(ATTACHMENTS, STORED).when(COMPLETE).then()


def test_what_was_given_up_is_not_completed() -> None:
    WAITING.given(ATTACHMENTS, GONE).when(COMPLETE).refused(AttachmentOverdue)
    WAITING.given(ATTACHMENTS, GONE).when(ExpectAttachment()).refused(AttachmentOverdue)


def test_bytes_that_did_not_come_in_time_are_given_up() -> None:
    WAITING.moment(NOW, now=NOW + TIME_TO_COME).when(AbandonAttachment()).then(GONE)


def test_what_happened_earlier_by_the_clock_of_its_sender_is_not_overdue() -> None:
    late, soon = NOW + TIME_TO_COME, NOW + TIME_TO_COME - timedelta(seconds=1)
    WAITING.moment(late, now=soon).when(AbandonAttachment()).refused(AttachmentNotDue, complete_by=late)


@pytest.mark.parametrize("after", [STORED, GONE])
def test_what_is_settled_is_not_given_up(after: object) -> None:
    WAITING.given(ATTACHMENTS, after).moment(NOW, now=NOW + 2 * TIME_TO_COME).when(AbandonAttachment()).then()


OWN = Context("inspections", version=1, views=(ATTACHMENTS_VIEW,))
ROW = AttachmentRow(
    id="file",
    booking_id="booking",
    team_id="team",
    item="brakes.3",
    name="Bremse vorn.jpg",
    size=30,
    media_type="image/jpeg",
    sha256=HASH,
    key=KEY,
    by="sam",
    declared_at=NOW,
    complete_by=NOW + TIME_TO_COME,
    version=1,
)


def test_readers_see_what_is_waited_for() -> None:
    assert folded(OWN, recorded(ATTACHMENTS, DECLARED))["attachments"] == {("file",): ROW}


def test_readers_see_what_is_there() -> None:
    rows = folded(OWN, recorded(ATTACHMENTS, DECLARED, STORED))["attachments"]
    assert rows == {("file",): replace(ROW, status="stored", stored_at=NOW, version=2)}


def test_readers_see_what_did_not_come() -> None:
    rows = folded(OWN, recorded(ATTACHMENTS, DECLARED, GONE))["attachments"]
    assert rows == {("file",): replace(ROW, status="abandoned", version=2)}


@pytest.mark.parametrize(
    ("name", "saved_as"),
    [
        ("a.png", "attachment; filename=\"a.png\"; filename*=UTF-8''a.png"),
        ("../../x.png", "attachment; filename=\"_.._x.png\"; filename*=UTF-8''_.._x.png"),
        ('a".png\r\nSet-Cookie: x', "attachment; filename=\"a_.png__Set-Cookie_ x\"; filename*=UTF-8''a_.png__Set-Cookie_%20x"),
        ("č.png", "attachment; filename=\"_.png\"; filename*=UTF-8''%C4%8D.png"),
        ("gpj\u202eexe.png", "attachment; filename=\"gpj_exe.png\"; filename*=UTF-8''gpj_exe.png"),
        ("..", "attachment; filename=\"file\"; filename*=UTF-8''file"),
    ],
)  # fmt: skip
def test_a_file_is_saved_under_a_name_that_harms_nobody(name: str, saved_as: str) -> None:
    assert disposition(name) == saved_as
