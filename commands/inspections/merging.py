"""Merging: what becomes of a check whose author has not seen what others said meanwhile, so that nobody's word is lost.

What only one side changed holds; what both changed alike, too. Of two comments that both keep what was there, both remain.
All else is a clash, which people resolve.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

from domain.inspections.checks import CheckStatus, CheckValue

MOST_COMMENT = 2_000
STRICTEST_FIRST: tuple[CheckStatus, ...] = ("failed", "open", "passed", "not_applicable")

Changed = Literal["status", "comment"]


@dataclass(frozen=True, slots=True)
class Merged:
    """What holds, and in which fields two people contradict each other; then the current value holds."""

    value: CheckValue
    clash: tuple[Changed, ...] = ()


def merge(base: CheckValue, current: CheckValue, incoming: CheckValue, changed: Collection[Changed]) -> Merged:
    """Return what becomes of what somebody says who saw `base`, while others `changed` these fields since."""
    status, comment, clash = current.status, current.comment, list[Changed]()
    if incoming.status not in (base.status, current.status):
        if "status" in changed:
            clash.append("status")
        status = incoming.status
    if incoming.comment not in (base.comment, current.comment):
        both = incoming.comment
        if "comment" in changed:
            both = merged_comments(base.comment, current.comment, incoming.comment)
            if both is None:
                clash.append("comment")
        comment = both
    return Merged(current, tuple(clash)) if clash else Merged(CheckValue(status=status, comment=comment))


def merged_comments(base: str | None, current: str | None, incoming: str | None) -> str | None:
    """Return a comment in which both differing ones remain that became of `base`; None if there is none."""
    base, current, incoming = base or "", current or "", incoming or ""
    kept, both = _keeps(current, base), None
    if kept != _keeps(incoming, base):
        return None
    if current.startswith(incoming) or incoming.startswith(current):
        both = max(current, incoming, key=len)
    elif kept:
        both = _with_lines(current, _beyond(incoming, base))
    return both if both is not None and len(both) <= MOST_COMMENT else None


def settled(base: CheckValue, current: CheckValue, incoming: CheckValue) -> CheckValue:
    """Return what holds of a clash by the kind of each field: the stricter status, the lines of both comments."""
    status, comment = current.status, current.comment
    if incoming.status != base.status:
        status = min(current.status, incoming.status, key=STRICTEST_FIRST.index)
    if incoming.comment != base.comment:
        comment = _with_lines(current.comment or "", incoming.comment or "") or None
    return CheckValue(status=status, comment=comment)


def _keeps(comment: str, base: str) -> bool:
    """Say whether what was there still begins one of the lines."""
    return f"\n{base}" in f"\n{comment}"


def _beyond(comment: str, base: str) -> str:
    """Return what a comment has beside what was there."""
    before, _, after = f"\n{comment}".partition(f"\n{base}")
    return f"{before}\n{after}"


def _with_lines(comment: str, more: str) -> str:
    """Return a comment with those of the other lines that it does not have yet."""
    known = {line.strip() for line in comment.split("\n")}
    new = dict.fromkeys(line for line in map(str.strip, more.split("\n")) if line and line not in known)
    return "\n".join([comment, *new] if comment else new)
