"""Saying: the facts that follow when somebody says something of an item, online or on a device that was offline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import reduce

from commands.inspections.merging import Changed, merge
from domain.inspections.checks import (
    UNCHECKED,
    Check,
    CheckHeld,
    CheckValue,
    Clash,
    ConflictFound,
    DefectCleared,
    DefectFound,
    HeldCheckReleased,
    ItemChecked,
    Merge,
    Said,
)
from domain.inspections.inspections import UNHEARD, Inspection, evolve


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """What somebody says of an item who saw one of its revisions; offline, as a step of his device's branch."""

    item: str
    value: CheckValue
    based_on: int
    by: str
    at: datetime
    branch: str | None = None
    step: int | None = None


@dataclass(frozen=True, slots=True)
class Since:
    """What an author saw, be it as his own last word, and what others changed and whether they spoke at all after that.

    It is not `certain` what he saw while an earlier step of his branch is missing, or one arrived only after that revision.
    """

    base: CheckValue
    certain: bool
    changed: frozenset[Changed]
    others: bool


def outcome(inspection: Inspection, saying: Saying) -> list[object]:
    """Return what follows of what is said; nothing if that is known and nobody waits for it as a step of a branch."""
    check = inspection.checks.get(saying.item, UNCHECKED)
    since = _since(inspection, check, saying)
    merged = merge(since.base if since.certain else None, check.value, saying.value, since.changed)
    clash: tuple[Clash, ...] = merged.clash
    if check.locked and merged.value != check.value:
        clash = ("locked",)
    if clash:
        return [_conflict(inspection, check, saying, since, clash)]
    how: Merge | None = None
    if merged.value == check.value:
        if not since.others and saying.branch is None:
            return []
        how = "equal"
    elif since.others or merged.value != saying.value:
        how = "merged"
    checked = ItemChecked(
        item=saying.item,
        revision=check.revision + 1,
        value=merged.value,
        by=saying.by,
        at=saying.at,
        based_on=saying.based_on,
        merge=how,
        sent=saying.value if saying.value != merged.value else None,
        branch=saying.branch,
        step=saying.step,
    )
    return [checked, *defects(inspection, saying.item, merged.value, saying.by)]


def _since(inspection: Inspection, check: Check, saying: Saying) -> Since:
    """Return what the author saw and what came after that; if his step comes late, what he said later counts as others' words.

    So does what somebody else said as a step of the same branch: it is not certain that they worked on one device.
    """
    before = check.value_at(saying.based_on)
    base, certain = _base(inspection, check, saying)
    changed, others = set[Changed](), False
    for revision in check.revisions[saying.based_on :]:
        is_own = (revision.branch, revision.by) == (saying.branch, saying.by)
        step = revision.step if is_own else None
        late = step is not None and saying.step is not None and step > saying.step
        if late or step is None:
            others = True
            if late or revision.value.status != before.status:
                changed.add("status")
            if late or revision.value.comment != before.comment:
                changed.add("comment")
        before = revision.value
    return Since(base, certain, frozenset(changed), others)


def _base(inspection: Inspection, check: Check, saying: Saying) -> tuple[CheckValue, bool]:
    """Return what the author saw, his own last word or else the revision, and whether that is certain."""
    own = _own_word(check, saying)
    certain = not _misses_a_step(inspection, saying, own)
    if own is None:
        return check.value_at(saying.based_on), certain
    if own.based_on >= saying.based_on:
        return own.value, certain
    return check.value_at(saying.based_on), certain and own.revision <= saying.based_on


def _own_word(check: Check, saying: Saying) -> Said | None:
    """Return what the author said of the item last, before this step of his branch."""
    if saying.branch is None or saying.step is None:
        return None
    said = check.said.get(saying.branch, ())
    own = [one for one in said if one.by == saying.by and one.step < saying.step]
    return max(own, key=lambda one: one.step) if own else None


def _misses_a_step(inspection: Inspection, saying: Saying, own: Said | None) -> bool:
    """Say whether a step of the branch is missing between the author's last word and this."""
    if saying.branch is None or saying.step is None:
        return False
    branch, last = inspection.branches.get(saying.branch, UNHEARD), own.step if own is not None else 0
    return branch.waits_for(saying.step) or branch.misses_between(last, saying.step)


def _conflict(
    inspection: Inspection, check: Check, saying: Saying, since: Since, clash: tuple[Clash, ...]
) -> ConflictFound:
    current = check.revisions[-1] if check.revisions else None
    return ConflictFound(
        number=inspection.conflicts_found + 1,
        item=saying.item,
        clash=clash,
        base=since.base,
        current=check.value,
        current_revision=check.revision,
        current_by=current.by if current is not None else None,
        current_at=current.at if current is not None else None,
        incoming=saying.value,
        incoming_by=saying.by,
        incoming_at=saying.at,
        based_on=saying.based_on,
        branch=saying.branch,
        step=saying.step,
    )


def defects(inspection: Inspection, item: str, value: CheckValue, by: str) -> Iterator[object]:
    """Yield that a defect was found or cleared, if the item's new value says so."""
    known = inspection.checks.get(item, UNCHECKED).defect
    if value.status == "failed" and known is None:
        yield DefectFound(number=inspection.defects_found + 1, item=item, comment=value.comment, by=by)
    elif value.status != "failed" and known is not None:
        yield DefectCleared(number=known, item=item, by=by)


def in_turn(inspection: Inspection, saying: Saying) -> Iterator[object]:
    """Yield what follows of what is said, and of the held steps of its branch that waited for it."""
    facts = outcome(inspection, saying)
    yield from facts
    if saying.branch is not None and inspection.held:
        yield from following(after(inspection, facts), saying.branch)


def following(inspection: Inspection, branch: str) -> Iterator[object]:
    """Yield what follows of the held steps of a branch whose turn has come, each on what the one before led to."""
    last = inspection.branches.get(branch, UNHEARD).last
    while (held := inspection.held.get((branch, last + 1))) is not None:
        facts = released(inspection, held)
        yield from facts
        inspection, last = after(inspection, facts), held.step


def released(inspection: Inspection, held: CheckHeld) -> list[object]:
    """Return what follows of a held check that takes its turn; it is forced if something before it has not arrived."""
    forced = inspection.branches.get(held.branch, UNHEARD).waits_for(held.step)
    facts: list[object] = [HeldCheckReleased(branch=held.branch, step=held.step, forced=forced)]
    return facts + outcome(inspection, said_of(held))


def said_of(held: CheckHeld) -> Saying:
    """Return what was said by a check that is held."""
    return Saying(
        item=held.item,
        value=held.value,
        based_on=held.based_on,
        by=held.by,
        at=held.at,
        branch=held.branch,
        step=held.step,
    )


def after(inspection: Inspection, facts: Iterable[object]) -> Inspection:
    """Return the inspection after facts."""
    return reduce(evolve, facts, inspection)
