"""What stands between a watched thing and its events: rows of a view by their positions, entries of a board as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from infra.redis.boards import Entry
from infra.views.tail import Change
from infra.web.problems import encode
from read_api.boards import Board
from read_api.listing import Filter, Listing

Conditions = Sequence[tuple[Filter, Any]]


class Watched:
    """One view on a connection: its conditions, and how far it has come."""

    def __init__(self, listing: Listing, conditions: Conditions, build: int, position: int) -> None:
        self.listing, self._conditions, self.build, self.position = listing, conditions, build, position
        self._own = next((value for one, value in conditions if one is listing.own), None)
        self.only = next(((one.field, value) for one, value in conditions if one.relation == "="), None)

    def matches(self, row: Mapping[str, Any] | None) -> bool:
        """Say whether a row is among those that are watched."""
        return row is not None and all(one.matches(row, value) for one, value in self._conditions)

    def events(self, changes: Iterable[Change]) -> Iterator[str]:
        """Yield the events that changes lead to, without their ids."""
        for change in changes:
            head = f'{{"view":"{self.listing.name}","key":{encode(change.key).decode()}'
            if change.row is None:
                # What it was may have been forgotten; whoever sees his own rows alone is told of those that bear his name.
                if self.matches(change.was) or (change.was is None and (self._own is None or change.key in self._own)):
                    yield f"event: gone\ndata: {head}}}\n"
            elif self.matches(change.row):
                if change.shown is None:  # there is nothing to show yet, as of an organisation that has not opened
                    continue
                yield f'event: row\ndata: {head},"position":{change.position},"row":{change.shown}}}\n'
            elif self.matches(change.was):
                yield f"event: leave\ndata: {head}}}\n"


class WatchedBoard:
    """One board on a connection. It has no positions: whoever comes back is told afresh what stands on it."""

    def __init__(self, board: Board, conditions: Conditions, say: Callable[[str, str], None]) -> None:
        self.board, self._conditions, self._say = board, conditions, say

    def fresh(self, entries: Mapping[str, Entry]) -> None:
        """Tell all that is watched; what was told before counts no more."""
        rows = [self._row(key, shown) for key, entry in entries.items() if (shown := self._shown(entry)) is not None]
        self._say(self.board.name, "".join([self._event("fresh"), *rows]))

    def changed(self, before: Entry | None, now: Entry | None) -> None:
        """Tell what has become of an entry."""
        if now is not None and (shown := self._shown(now)) is not None:
            self._say(self.board.name, self._row(now.key, shown))
        elif before is not None and self._shown(before) is not None:
            self._say(self.board.name, self._event("gone" if now is None else "leave", before.key))

    def lost(self) -> None:
        """Tell that what there is cannot be told for now."""
        self._say(self.board.name, self._event("lost"))

    def _shown(self, entry: Entry) -> Mapping[str, Any] | None:
        shown = self.board.show(entry)
        return shown if all(one.matches(shown, value) for one, value in self._conditions) else None

    def _row(self, key: str, shown: Mapping[str, Any]) -> str:
        data = encode({"view": self.board.name, "key": key, "row": shown}).decode()
        return f"event: row\ndata: {data}\n\n"

    def _event(self, kind: str, key: str | None = None) -> str:
        data = {"view": self.board.name} if key is None else {"view": self.board.name, "key": key}
        return f"event: {kind}\ndata: {encode(data).decode()}\n\n"
