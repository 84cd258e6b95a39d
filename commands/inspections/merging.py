"""Merging: what becomes of a check whose author has not seen what others said meanwhile, so that nobody's word is lost.

What only one side changed holds; what both changed alike, too. Lines that somebody adds to a comment are added to whatever
others made of it. All else is a clash, which people resolve.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from domain.inspections.checks import CheckStatus, CheckValue, Clash

MOST_COMMENT = 2_000
STRICTEST_FIRST: tuple[CheckStatus, ...] = ("failed", "open", "passed", "not_applicable")

Changed = Literal["status", "comment"]


@dataclass(frozen=True, slots=True)
class Merged:
    """What holds, and in which fields two people contradict each other; then the current value holds."""

    value: CheckValue
    clash: tuple[Changed, ...] = ()


def merge(base: CheckValue | None, current: CheckValue, incoming: CheckValue, changed: Collection[Changed]) -> Merged:
    """Return what becomes of what somebody says who saw `base`, while others `changed` these fields since.

    Where it is not known what he saw, all that he says may be a change.
    """
    status, comment, clash = current.status, current.comment, list[Changed]()
    if incoming.status != current.status and (base is None or incoming.status != base.status):
        if "status" in changed:
            clash.append("status")
        status = incoming.status
    if incoming.comment != current.comment and (base is None or incoming.comment != base.comment):
        both = incoming.comment
        if "comment" in changed:
            both = merged_comments(None if base is None else base.comment, current.comment, incoming.comment)
            if both is None:
                clash.append("comment")
        comment = both
    return Merged(current, tuple(clash)) if clash else Merged(CheckValue(status=status, comment=comment))


def merged_comments(base: str | None, current: str | None, incoming: str | None) -> str | None:
    """Return a comment in which remains what two differing ones added to `base` and, of that, nothing that either removed.

    None if there is none: both replaced what was there, or one continues a line that the other gave up.
    """
    base, current, incoming = base or "", current or "", incoming or ""
    here, there = _added(current, base), _added(incoming, base)
    both = None
    if here is not None and there is not None:
        both = _with_lines(current, there.lines)
        if current.startswith(incoming) or incoming.startswith(current):
            both = max(current, incoming, key=len)
    elif there is not None and not there.continues:
        both = _with_lines(current, there.lines)
    elif here is not None and not here.continues:
        both = _with_lines(incoming, here.lines)
    return both if both and len(both) <= MOST_COMMENT else None


def settled(base: CheckValue, current: CheckValue, incoming: CheckValue, clash: Collection[Clash]) -> CheckValue:
    """Return what holds of a clash by the kind of each field: the stricter status, the lines of both comments."""
    status, comment = current.status, current.comment
    if "status" in clash or incoming.status != base.status:
        status = min(current.status, incoming.status, key=STRICTEST_FIRST.index)
    if "comment" in clash or incoming.comment != base.comment:
        comment = _with_lines(current.comment or "", (incoming.comment or "").split("\n")) or None
    return CheckValue(status=status, comment=comment)


@dataclass(frozen=True, slots=True)
class _Added:
    """The lines of a comment beside those that were there, and whether one of them continues one of those."""

    lines: list[str]
    continues: bool


def _added(comment: str, base: str) -> _Added | None:
    """Return what was added to `base`; None if not all of it is still there, line by line."""
    kept = [line for line in base.split("\n") if line.strip()]
    lines, continues = list[str](), False
    for line in comment.split("\n"):
        if not kept or not line.startswith(kept[0]):
            lines.append(line)
        elif tail := line[len(kept.pop(0)) :]:
            lines.append(tail)
            continues = True
    return None if kept else _Added(lines, continues)


def _with_lines(comment: str, more: Iterable[str]) -> str:
    """Return a comment with those of the other lines that it does not have yet."""
    known = {line.strip() for line in comment.split("\n")}
    new = dict.fromkeys(line for line in map(str.strip, more) if line and line not in known)
    return "\n".join([comment, *new] if comment else new)
