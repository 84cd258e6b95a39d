"""Where the rows of each organisation moved last, as far as a process knows without asking: what makes cached answers safe.

It is heard with every bookmark, and read with every answer. What is known is exact: an answer made where rows stood is
still what the tables say, as long as they are known to stand there. Whatever may have been missed is not known.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Set
from uuid import UUID

MOST_TENANTS = 100_000
NEVER = 2**63 - 1


class Moves:
    """The last moves in one build. Nothing is known at first, and answers from before `_floor` teach nothing."""

    def __init__(self) -> None:
        self._floor = NEVER
        self._moved: OrderedDict[UUID, int] = OrderedDict()

    def forget(self) -> None:
        """Take note that moves may have been missed, until `listening` says from where on they are not."""
        self._moved.clear()
        self._floor = NEVER

    def listening(self, position: int) -> None:
        """Take note that every move after a position is heard."""
        if self._floor == NEVER:
            self._floor = position

    def heard(self, position: int, tenants: Set[UUID] | None) -> None:
        """Take note that rows moved with a bookmark: those of these organisations, None: anybody's."""
        if tenants is None:
            self._moved.clear()
            if self._floor != NEVER:
                self._floor = max(self._floor, position)
            return
        for tenant in tenants:
            self._note(tenant, position)

    def read(self, tenant: UUID, position: int, moved: int) -> None:
        """Take note of where an organisation's rows had moved last, as an answer of this position says."""
        if position >= self._floor and position >= self._moved.get(tenant, 0):
            self._note(tenant, moved)

    def last(self, tenant: UUID) -> int | None:
        """Return where an organisation's rows moved last, if that is known."""
        return self._moved.get(tenant)

    def _note(self, tenant: UUID, position: int) -> None:
        self._moved[tenant] = position
        self._moved.move_to_end(tenant)
        if len(self._moved) > MOST_TENANTS:
            _, dropped = self._moved.popitem(last=False)
            if self._floor != NEVER:
                self._floor = max(self._floor, dropped)
