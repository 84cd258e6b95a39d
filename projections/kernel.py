"""The words views speak: rows, what is recorded of a fact, and pure folds from facts to rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, dataclass_transform
from uuid import UUID

from domain.kernel import Recorded, Stream

Class = TypeVar("Class")
Row = TypeVar("Row")

Key = tuple[Any, ...]


@dataclass_transform(frozen_default=True, kw_only_default=True)
def row(cls: type[Class]) -> type[Class]:
    """Declare what one row of a view holds: frozen, keyword-only; its key fields come first and have no default."""
    return dataclass(frozen=True, kw_only=True, slots=True)(cls)


class Look(Protocol):
    """Reads another row of the same context and tenant, as it was before this fact; None if there is none."""

    def __call__(self, kind: type[Row], /, *key: Any) -> Row | None: ...


Keys = Callable[[Recorded[Any], Look], Iterable[Key]]
Change = Callable[[Any, Recorded[Any], Look], Any]
KeyedChange = Callable[[Any, Recorded[Any], Look, Key], Any]


@dataclass(frozen=True)
class Fold:
    """How one kind of fact changes the rows with these keys: `change(row or None, happened, look, key) -> row or None`."""

    keys: Keys
    change: KeyedChange


def at(keys: Keys, change: KeyedChange) -> Fold:
    """Say that a fact changes the rows with these keys, not the one named like its own record."""
    return Fold(keys, change)


def own(happened: Recorded[Any], look: Look) -> Iterable[Key]:
    """Return the key of the row that is named like the fact's own record."""
    return ((happened.id,),)


@dataclass(frozen=True)
class View:
    """A table that readers see: its rows, which fields are their key, and what each fact does to them.

    `filters` are the fields that live subscribers may filter by. `indexes` are further orders to read it in. Where a fact
    of `forgets` changes a row, the former states of that row are forgotten with it.
    """

    name: str
    row: type
    key: Sequence[str]
    folds: Mapping[Stream[Any], Mapping[type, Change | Fold]]
    filters: Sequence[str] = ()
    indexes: Sequence[str] = ()
    forgets: frozenset[type] = frozenset()

    def fold_of(self, stream: Stream[Any], fact: type) -> Fold | None:
        """Return how this kind of fact on this stream changes rows, or None if it does not."""
        found = self.folds.get(stream, {}).get(fact)
        if found is None or isinstance(found, Fold):
            return found
        return Fold(own, lambda row, happened, look, _: found(row, happened, look))


@dataclass(frozen=True)
class Context:
    """Views that move together: one runner, one bookmark. `version` goes up when a fold or a row changes its meaning."""

    name: str
    version: int
    views: Sequence[View]
    streams: Sequence[Stream[Any]] = field(init=False)

    def __post_init__(self) -> None:
        streams = dict.fromkeys(stream for view in self.views for stream in view.folds)
        object.__setattr__(self, "streams", tuple(streams))


Read = Callable[[View, UUID, Key], Any]
"""Reads a row of a view and tenant by its key, as it is now; None if there is none."""


class Folding:
    """The folds of a context, ready to be applied: the same in the runner, in explanations and in tests."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self._views = {view.row: view for view in context.views}
        self._folds: dict[tuple[str, type], list[tuple[View, Fold]]] = {}
        for stream in context.streams:
            for fact in stream.facts.values():
                folds = [(view, fold) for view in context.views if (fold := view.fold_of(stream, fact)) is not None]
                if folds:
                    self._folds[stream.name, fact] = folds

    def streams(self) -> frozenset[str]:
        """Return the names of the streams whose facts change rows here."""
        return frozenset(stream for stream, _ in self._folds)

    def rows_after(self, happened: Recorded[Any], read: Read) -> list[tuple[View, Key, Any]]:
        """Return the rows that a fact leads to, by view and key; every fold sees what was there before the fact."""
        folds = self._folds.get((happened.stream, type(happened.fact)))
        if folds is None:
            return []
        look = self._look(happened, read)
        return [
            (view, key, fold.change(read(view, happened.tenant, key), happened, look, key))
            for view, fold in folds
            for key in fold.keys(happened, look)
        ]

    def keys(self, happened: Recorded[Any], read: Read) -> list[tuple[View, Key]]:
        """Return the keys of the rows that a fact would change."""
        look = self._look(happened, read)
        folds = self._folds.get((happened.stream, type(happened.fact)), [])
        return [(view, key) for view, fold in folds for key in fold.keys(happened, look)]

    def _look(self, happened: Recorded[Any], read: Read) -> Look:
        def look(kind: type[Row], /, *key: Any) -> Row | None:
            found: Row | None = read(self._views[kind], happened.tenant, key)
            return found

        return look
