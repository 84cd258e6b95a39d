"""Merging: what becomes of what two people say of one item, neither of whom has seen what the other said."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import assume, given
from hypothesis import strategies as some

from commands.inspections.merging import MOST_COMMENT, Changed, Merged, merge, merged_comments, settled
from domain.inspections.checks import OPEN, CheckStatus, CheckValue

BOTH: frozenset[Changed] = frozenset({"status", "comment"})
FAILED = CheckValue(status="failed")
PASSED = CheckValue(status="passed")

WORDS = some.sampled_from(["bolt", "loose", "left", "M8", "torn", ""])
COMMENTS = some.none() | some.lists(some.lists(WORDS, min_size=1, max_size=3), min_size=1, max_size=3).map(
    lambda lines: "\n".join(" ".join(line).strip() for line in lines).strip() or None
)
STATUSES = some.sampled_from(get_args(CheckStatus))
VALUES = some.builds(CheckValue, status=STATUSES, comment=COMMENTS)


def says(comment: str | None, value: CheckValue = OPEN) -> CheckValue:
    """A value with this comment."""
    return replace(value, comment=comment)


def changed_from(base: CheckValue, current: CheckValue) -> frozenset[Changed]:
    """The fields in which a value is another now."""
    fields: tuple[Changed, ...] = ("status", "comment")
    return frozenset(field for field in fields if getattr(base, field) != getattr(current, field))


def words(value: CheckValue) -> set[str]:
    """The words of a comment."""
    return set((value.comment or "").split())


def test_what_only_one_of_two_changed_holds() -> None:
    assert merge(OPEN, says("Loose"), PASSED, {"comment"}) == Merged(says("Loose", PASSED))
    assert merge(OPEN, FAILED, says("Loose"), {"status"}) == Merged(says("Loose", FAILED))


def test_what_both_say_holds() -> None:
    assert merge(OPEN, FAILED, FAILED, {"status"}) == Merged(FAILED)


def test_passed_and_failed_clash_and_what_was_said_first_holds_meanwhile() -> None:
    assert merge(OPEN, FAILED, PASSED, {"status"}) == Merged(FAILED, ("status",))


def test_a_status_that_went_to_and_fro_is_not_what_was_seen() -> None:
    assert merge(OPEN, OPEN, PASSED, {"status"}) == Merged(OPEN, ("status",))


def test_a_clash_in_one_field_leaves_the_other_as_it_is() -> None:
    assert merge(OPEN, FAILED, says("Tight", PASSED), {"status"}) == Merged(FAILED, ("status",))


@pytest.mark.parametrize(
    ("base", "current", "incoming", "both"),
    [
        (None, "Loose", "Loose, left", "Loose, left"),
        (None, "Loose", "Torn", "Loose\nTorn"),
        ("Bolt", "Bolt loose", "Bolt, left", "Bolt loose\n, left"),
        ("Bolt", "Bolt\nLoose", "Bolt\nLeft", "Bolt\nLoose\nLeft"),
        ("Bolt", "Bolt\nLoose", "Bolt\nLeft\nLoose", "Bolt\nLoose\nLeft"),
        ("Bolt", "Torn\nBolt", "Bolt\nLoose", "Torn\nBolt\nLoose"),
        ("Bolt\nBar", "Bolt\nLoose\nBar", "Bolt\nBar\nLeft", "Bolt\nLoose\nBar\nLeft"),
        ("Bolt", "Torn", "Bolt\nLeft", "Torn\nLeft"),
        ("Bolt", "Bolt\nLoose", "Torn", "Torn\nLoose"),
        ("Bolt", "Bolt\nLoose", None, "Loose"),
        ("Bolt", None, "Bolt\nLeft", "Left"),
    ],
)
def test_both_comments_remain(base: str | None, current: str | None, incoming: str | None, both: str) -> None:
    assert merge(says(base), says(current), says(incoming), BOTH) == Merged(says(both))


@pytest.mark.parametrize(
    ("current", "incoming"),
    [
        ("Torn", "Loose"),
        ("Torn", "Torn, left"),
        ("Torn", None),
        ("Bolt loose", "Torn"),
        ("Bolt loose", None),
        (None, "Bolt loose"),
    ],
)
def test_comments_clash_where_both_replace_or_one_continues_what_the_other_gave_up(
    current: str | None, incoming: str | None
) -> None:
    assert merge(says("Bolt"), says(current), says(incoming), BOTH) == Merged(says(current), ("comment",))


def test_comments_clash_that_would_be_too_long_together() -> None:
    long = "x" * (MOST_COMMENT - 1)
    assert merge(OPEN, says(long), says("y"), BOTH) == Merged(says(long), ("comment",))


@pytest.mark.parametrize(
    ("one", "other", "stricter"),
    [
        ("failed", "open", "failed"),
        ("failed", "passed", "failed"),
        ("open", "passed", "open"),
        ("passed", "not_applicable", "passed"),
    ],
)
def test_the_stricter_status_settles_a_clash(one: CheckStatus, other: CheckStatus, stricter: CheckStatus) -> None:
    base = CheckValue(status=next(status for status in get_args(CheckStatus) if status not in (one, other)))
    for current, incoming in ((one, other), (other, one)):
        value = settled(base, CheckValue(status=current), CheckValue(status=incoming), ())
        assert value == CheckValue(status=stricter)


def test_the_lines_of_both_comments_settle_a_clash() -> None:
    assert settled(says("Bolt"), says("Torn"), says("Loose\nTorn"), ()) == says("Torn\nLoose")


def test_a_clash_is_not_settled_by_what_its_author_left_as_it_was() -> None:
    base, current, incoming = says("Bolt", FAILED), says("Torn", PASSED), says("Loose", FAILED)
    assert settled(base, current, incoming, {"comment"}) == says("Torn\nLoose", PASSED)
    assert settled(base, current, incoming, BOTH) == says("Torn\nLoose", FAILED)


@given(VALUES, VALUES)
def test_equal_values_merge_to_themselves(base: CheckValue, value: CheckValue) -> None:
    assert merge(base, value, value, BOTH) == Merged(value)


@given(VALUES, VALUES)
def test_who_changes_nothing_leaves_what_others_said(base: CheckValue, current: CheckValue) -> None:
    assert merge(base, current, base, BOTH) == Merged(current)


@given(VALUES, VALUES)
def test_who_saw_everything_is_believed(base: CheckValue, incoming: CheckValue) -> None:
    assert merge(base, base, incoming, frozenset()) == Merged(incoming)


def test_where_it_is_not_known_what_somebody_saw_all_that_he_says_may_be_a_change() -> None:
    assert merge(None, PASSED, says("Loose", FAILED), {"status"}) == Merged(PASSED, ("status",))
    assert merge(None, says("Torn"), says("Loose"), {"comment"}) == Merged(says("Torn\nLoose"))
    assert merge(None, PASSED, says("Loose", FAILED), frozenset()) == Merged(says("Loose", FAILED))


@given(VALUES, VALUES, VALUES)
def test_who_came_first_matters_only_for_the_order_of_lines(
    base: CheckValue, one: CheckValue, other: CheckValue
) -> None:
    forth = merge(base, one, other, changed_from(base, one))
    back = merge(base, other, one, changed_from(base, other))
    assert forth.clash == back.clash
    if not forth.clash:
        assert forth.value.status == back.value.status
        assert words(forth.value) == words(back.value)


@given(VALUES, VALUES, VALUES)
def test_no_change_is_lost(base: CheckValue, current: CheckValue, incoming: CheckValue) -> None:
    merged = merge(base, current, incoming, changed_from(base, current))
    if merged.clash:
        assert merged.value == current
        return
    for said in (current, incoming):
        if said.status != base.status:
            assert merged.value.status == said.status
        if said.comment != base.comment:
            assert words(said) - words(base) <= words(merged.value)
    assert words(merged.value) <= words(current) | words(incoming)


@given(COMMENTS, COMMENTS)
def test_first_comments_that_were_merged_stay_as_they_are_when_one_is_said_again(
    one: str | None, other: str | None
) -> None:
    both = merged_comments(None, one, other)
    assume(both is not None)
    assert merged_comments(None, both, one) == both
    assert merged_comments(None, both, other) == both


@given(VALUES, VALUES, VALUES)
def test_what_settles_a_clash_keeps_every_new_word(base: CheckValue, current: CheckValue, incoming: CheckValue) -> None:
    value = settled(base, current, incoming, ())
    assert words(current) <= words(value)
    if incoming.comment != base.comment:
        assert words(incoming) <= words(value)
