"""What many hands say of one checklist, and accounting for it: whether a change that somebody meant was lost silently.

Whoever says something means to change what he saw. His change is accounted for if it is in a conflict, or if it holds and
whoever changed it later had seen it, be it as the word of somebody else who had said the same.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from random import Random
from typing import get_args

from commands.inspections.checks import CheckItem
from domain.inspections.checks import OPEN, CheckStatus, CheckValue, ConflictFound, ConflictResolved, ItemChecked


def first_seed() -> int:
    """FIELDLOG_TEST_SEED, or another one each time."""
    seed = int(os.environ.get("FIELDLOG_TEST_SEED", time.time_ns() % 1_000_000_000))
    print(f"FIELDLOG_TEST_SEED={seed}")
    return seed


@dataclass(frozen=True)
class Meant:
    """What somebody said who saw this."""

    command: CheckItem
    seen: CheckValue

    @property
    def said(self) -> CheckValue:
        """The value."""
        return CheckValue(status=self.command.status, comment=self.command.comment)


def otherwise(seen: CheckValue, dice: Random, word: str) -> CheckValue:
    """What somebody says who saw this: another status, more or other or no words, both, or neither."""
    value = seen
    if dice.random() < 0.6:
        value = replace(value, status=dice.choice(get_args(CheckStatus)))
    comment = seen.comment
    match dice.choice(["same", "same", "more", "new line", "other", "none"]):
        case "more":
            comment = f"{comment or ''} {word}".strip()
        case "new line":
            comment = f"{comment or ''}\n{word}".strip()
        case "other":
            comment = word
        case "none":
            comment = None
    return replace(value, comment=comment)


Revisions = Mapping[str, Sequence[ItemChecked | ConflictResolved]]


def lost(log: Iterable[object], answered: Iterable[tuple[Meant, object]], *, early: bool = False) -> Iterator[str]:
    """Yield what was meant and is not accounted for, given all facts and the one that each of them led to (None: none).

    Where checks were released `early`, words that their authors took back may come back.
    """
    revisions = _revisions(log)
    for meant, fact in answered:
        match fact:
            case ConflictFound(incoming=incoming):
                if incoming != meant.said:
                    yield f"{meant}: the conflict shows {incoming}"
            case ItemChecked():
                yield from _overruled(meant, fact, revisions[fact.item], early=early)
            case _:
                if meant.said != meant.seen:
                    yield f"{meant}: no trace"


def _revisions(log: Iterable[object]) -> Revisions:
    revisions: dict[str, list[ItemChecked | ConflictResolved]] = defaultdict(list)
    for fact in log:
        if isinstance(fact, ItemChecked | ConflictResolved) and fact.revision > len(revisions[fact.item]):
            assert fact.revision == len(revisions[fact.item]) + 1, "a revision is missing"
            revisions[fact.item].append(fact)
    return revisions


def _overruled(
    meant: Meant, fact: ItemChecked, revisions: Sequence[ItemChecked | ConflictResolved], *, early: bool
) -> Iterator[str]:
    """Yield which part of a change does not hold though nobody who saw it changed it."""
    before, after = revisions[: fact.revision], revisions[fact.revision :]
    said, seen = meant.said, meant.seen
    if said.status != seen.status:
        yield from _undone(meant, lambda value: value.status == said.status, before, after)
    for word in _words(said) - _words(seen):
        yield from _undone(meant, lambda value, word=word: word in _words(value), before, after)
    for word in _words(seen) - _words(said) if not early else ():
        yield from _undone(meant, lambda value, word=word: word not in _words(value), before, after)


def _undone(
    meant: Meant,
    holds: Callable[[CheckValue], bool],
    before: Sequence[ItemChecked | ConflictResolved],
    after: Sequence[ItemChecked | ConflictResolved],
) -> Iterator[str]:
    """Yield who undid a part of a change without having seen it, as this or an earlier revision said it."""
    alike = list(takewhile(lambda one: holds(one.value), reversed(before)))
    undoing = next((one for one in after if not holds(one.value)), None)
    if not alike:
        yield f"{meant}: it never held"
    elif len(alike) == len(before) and holds(OPEN):
        return  # it was so before anybody said anything, which everybody saw
    elif undoing is not None and not any(_saw(undoing, one) for one in alike):
        yield f"{meant}: {undoing} had not seen it"


def _saw(later: ItemChecked | ConflictResolved, fact: ItemChecked | ConflictResolved) -> bool:
    """Say whether the author of a later revision had seen this one, or had made it."""
    if isinstance(later, ConflictResolved) or later.based_on >= fact.revision:
        return True
    own = isinstance(fact, ItemChecked) and later.branch is not None and later.branch == fact.branch
    return own and (later.step or 0) > (fact.step or 0)


def _words(value: CheckValue) -> set[str]:
    return set((value.comment or "").split())
