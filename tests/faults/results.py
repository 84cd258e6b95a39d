"""What must be so of a competition once everything is well again, by the facts that are in the log."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from domain.attachments import AttachmentAbandoned, AttachmentDeclared, AttachmentStored
from domain.bookings.bookings import BOOKINGS
from domain.bookings.calendar import CALENDAR_DAYS
from domain.inspections.checks import CheckHeld, ConflictFound, HeldCheckReleased, ItemChecked
from domain.inspections.inspections import INSPECTIONS
from domain.kernel import Recorded
from infra.settings import Settings
from tests.accounting import Meant, lost
from tests.booked import Replayed
from tests.faults.competition import Word
from tests.follows import check_what_follows
from tests.objects.s3 import files
from tests.views.memory import read_log

Facts = Sequence[Recorded[Any]]


def check_competition(settings: Settings, said: Sequence[Word]) -> Counter[str]:
    """Check all of it; return how often each fact happened."""
    facts = read_log(settings)
    check_what_follows(facts)
    check_slots(facts)
    check_words(facts, said)
    check_files(facts, Path(settings.objects_place))
    streams = (BOOKINGS.name, INSPECTIONS.name, "attachments", "passports")
    return Counter(type(one.fact).__name__ for one in facts if one.stream in streams)


def check_slots(facts: Facts) -> None:
    """Check that no lane and no car was booked twice."""
    booked = Replayed()
    for one in facts:
        if one.stream in (BOOKINGS.name, CALENDAR_DAYS.name):
            booked.happened(one.id, one.fact, one.at)
    booked.check()


def check_words(facts: Facts, said: Sequence[Word]) -> None:
    """Check that everything that was said became what its receipt says, and that none of it was lost silently."""
    logs: dict[str, list[object]] = defaultdict(list)
    words: dict[str, list[Word]] = defaultdict(list)
    for one in facts:
        if one.stream == INSPECTIONS.name:
            logs[one.id].append(one.fact)
    for word in said:
        words[word.inspection].append(word)
        assert word.receipt["outcome"] == _outcome(_first(facts, word)), word
    for id, log in logs.items():
        early = any(isinstance(fact, HeldCheckReleased) and fact.forced for fact in log)
        assert list(lost(log, _answered(facts, log, words[id]), early=early)) == [], id


def _first(facts: Facts, word: Word) -> Any:
    """Return the first fact that was led to by what was said, if there is any."""
    many = len(word.receipt["facts"])
    return facts[word.receipt["position"] - many].fact if many else None


def _outcome(fact: object) -> str:
    match fact:
        case ItemChecked(merge=merge):
            return merge or "recorded"
        case ConflictFound():
            return "conflict"
        case CheckHeld():
            return "held"
    return "unchanged"


def _answered(facts: Facts, log: Sequence[object], words: Sequence[Word]) -> Iterator[tuple[Meant, object]]:
    """Yield what each word led to: online, at once; offline, in its turn, once, unless it is still held."""
    turns: dict[tuple[str | None, int | None], object] = {}
    held = Counter((fact.branch, fact.step) for fact in log if isinstance(fact, CheckHeld))
    held.subtract((fact.branch, fact.step) for fact in log if isinstance(fact, HeldCheckReleased))
    assert set(held.values()) <= {0, 1}, "a held check was held or released twice"
    for fact in log:
        if isinstance(fact, ItemChecked | ConflictFound) and fact.branch is not None:
            assert (fact.branch, fact.step) not in turns, "a step took effect twice"
            turns[fact.branch, fact.step] = fact
    for word in words:
        if word.meant.command.branch is None:
            yield word.meant, _first(facts, word)
    for turn, meant in {(word.meant.command.branch, word.meant.command.step): word.meant for word in words}.items():
        if turn != (None, None) and not held[turn]:  # type: ignore[index]
            yield meant, turns[turn]


def check_files(facts: Facts, place: Path) -> None:
    """Check that every file that is stored is there, as it was declared and without its parts, and that nothing is left of
    those that did not come in time, or that nobody declared.
    """
    declared = {one.fact.key: one.fact for one in facts if isinstance(one.fact, AttachmentDeclared)}
    stored = {one.fact.key: one.fact for one in facts if isinstance(one.fact, AttachmentStored)}
    abandoned = {one.fact.key for one in facts if isinstance(one.fact, AttachmentAbandoned)}
    for key, fact in stored.items():
        found = sha256((place / key).read_bytes()).hexdigest()
        assert found == fact.sha256 == declared[key].sha256, f"{key} has other bytes"
    allowed = {key.rpartition("/")[0] for key in declared.keys() - stored.keys() - abandoned}
    kept = [file for file in files(place) if not any(file.startswith(f"{folder}/") for folder in allowed)]
    assert sorted(kept) == sorted(stored), "there are other files than those that are stored"
