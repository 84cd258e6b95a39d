"""Where a schema says something else than it did before that whoever reads, or whoever sends, does not survive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, NamedTuple

Document = Mapping[str, Any]

ANYTHING, OBJECT = "anything", "an object"
FORM = ("format", "contentEncoding", "pattern")
LEAST, MOST = (
    ("minimum", "exclusiveMinimum", "minLength", "minItems"),
    ("maximum", "exclusiveMaximum", "maxLength", "maxItems"),
)


class Side(Enum):
    """Who relies on a schema: who reads what we send, or who sends what we read."""

    READS = "reads"
    SENDS = "sends"


class Difference(NamedTuple):
    """What became of something (`GET /trips` + what), and what that does to those who relied on it (clients + effect)."""

    what: str
    effect: str


@dataclass(frozen=True)
class Shape:
    """A schema in its document, to whose parts it refers."""

    schema: Document
    document: Document

    def at(self, schema: Any) -> Shape:
        """Return another schema of the same document, with what it refers to put in its place."""
        schema = schema if isinstance(schema, Mapping) else {}  # true: anything
        while "$ref" in schema and str(schema["$ref"]).startswith("#/"):
            found: Any = self.document
            for step in schema["$ref"].removeprefix("#/").split("/"):
                found = found[step.replace("~1", "/").replace("~0", "~")]
            schema = found
        return replace(self, schema=schema)

    def whole(self) -> Shape:
        """Return this with everything that `allOf` adds to it."""
        parts = [self.at(one).whole().schema for one in self.schema.get("allOf", ())]
        if not parts:
            return self
        own = {name: value for name, value in self.schema.items() if name != "allOf"}
        merged: dict[str, Any] = {}
        for part in (*parts, own):
            properties = merged.get("properties", {})
            for name, one in part.get("properties", {}).items():
                properties = {**properties, name: {**properties.get(name, {}), **one}}
            required = [*merged.get("required", ()), *part.get("required", ())]
            merged = {**merged, **part, "properties": properties, "required": required}
        return replace(self, schema=merged)

    def kinds(self) -> dict[str, Shape]:
        """Return what a value may be, by kind: `text`, `null`, ...; several objects are told apart by their constants."""
        alternatives = list(self._alternatives())
        several = sum(one._kind() == OBJECT for one in alternatives) > 1
        found: dict[str, Shape] = {}
        for one in alternatives:
            name = " ".join([one._kind(), *(one._constants() if several else ())])
            while name in found:
                name += "'"
            found[name] = one
        return found

    def _alternatives(self) -> Iterator[Shape]:
        union = [*self.schema.get("anyOf", ()), *self.schema.get("oneOf", ())]
        if union:
            for one in union:
                yield from self.at(one).whole()._alternatives()
            return
        types = self.schema.get("type")
        for one in types if isinstance(types, list) else [types]:
            allowed = [value for value in self.schema.get("enum", ()) if (value is None) == (one == "null")]
            yield replace(self, schema={**self.schema, "type": one} | ({"enum": allowed} if allowed else {}))

    def _kind(self) -> str:
        kind = self.schema.get("type")
        if kind is None and "properties" in self.schema:
            kind = "object"
        elif kind is None and ("const" in self.schema or "enum" in self.schema):
            kind = "string"
        return {None: ANYTHING, "string": "text", "array": "a list", "object": OBJECT}.get(kind, str(kind))

    def _constants(self) -> list[str]:
        return [str(one["const"]) for one in self.schema.get("properties", {}).values() if "const" in one]

    def values(self) -> list[Any] | None:
        """Return the only values that are possible, or None if there are others."""
        return [self.schema["const"]] if "const" in self.schema else self.schema.get("enum")

    def form(self) -> str:
        """Return how a value is written."""
        return ", ".join(str(self.schema[name]) for name in FORM if name in self.schema) or ANYTHING


class Walk:
    """A walk through a schema before and now; `noun` is what a place in it is called."""

    def __init__(self, side: Side, noun: str = "field") -> None:
        self._side, self._noun = side, noun
        self._open: list[tuple[Document, Document]] = []

    def differences(self, old: Shape, new: Shape, place: str = "") -> Iterator[Difference]:
        """Yield what breaks those who relied on the old schema."""
        old, new = old.at(old.schema), new.at(new.schema)
        if any(before is old.schema and now is new.schema for before, now in self._open):
            return  # a part that contains itself
        self._open.append((old.schema, new.schema))
        yield from self._compared(old.whole(), new.whole(), place)
        self._open.pop()

    def _compared(self, old: Shape, new: Shape, place: str) -> Iterator[Difference]:
        before, now = old.kinds(), new.kinds()
        yield from self._kinds(set(before), set(now), place)
        for kind in before.keys() & now.keys():
            yield from self._values(before[kind], now[kind], place)
            yield from self._forms(before[kind], now[kind], place)
            yield from self._objects(before[kind], now[kind], place)
            if "items" in before[kind].schema and "items" in now[kind].schema:
                items = (one.at(one.schema["items"]) for one in (before[kind], now[kind]))
                yield from self.differences(*items, f"{place}[]")
        if "default" in old.schema and "default" in new.schema and old.schema["default"] != new.schema["default"]:
            what = f"has another default for {self._named(place)}, {new.schema['default']!r} instead of {old.schema['default']!r}"
            yield Difference(what, "that rely on the former one are misled")

    def _named(self, place: str) -> str:
        return f"its {self._noun} {place}" if place else "itself"

    def _kinds(self, old: set[str], new: set[str], place: str) -> Iterator[Difference]:
        known, met = (old, new) if self._side is Side.READS else (new, old)
        covered = known | ({"integer"} if "number" in known else set())
        strange = sorted(met - covered) if ANYTHING not in known else []
        if not strange:
            return
        if self._side is Side.SENDS:
            yield Difference(
                f"no longer accepts {_listed(strange)} for {self._named(place)}", "that send it are refused"
            )
        elif strange == ["null"]:
            yield Difference(f"may have null for {self._named(place)} now", "that do not expect it break")
        else:
            what = (
                f"has {_listed(strange)} for {self._named(place)} now, where it had {_listed(sorted(old - {'null'}))}"
            )
            yield Difference(what, "that read it break")

    def _values(self, old: Shape, new: Shape, place: str) -> Iterator[Difference]:
        before, now = old.values(), new.values()
        if self._side is Side.READS and before is not None:
            if now is None:
                yield Difference(
                    f"may have any value for {self._named(place)} now", "that know the former values only are lost"
                )
            elif added := [one for one in now if one not in before]:
                what = f"has new values for {self._named(place)}: {_listed(added)}"
                yield Difference(what, "that know the former values only do not know them")
        if self._side is Side.SENDS and now is not None:
            gone = [one for one in before if one not in now] if before is not None else None
            if gone is None:
                yield Difference(
                    f"accepts only {_listed(now)} for {self._named(place)} now", "that send others are refused"
                )
            elif gone:
                yield Difference(
                    f"no longer accepts {_listed(gone)} for {self._named(place)}", "that send it are refused"
                )

    def _forms(self, old: Shape, new: Shape, place: str) -> Iterator[Difference]:
        known, met = (old, new) if self._side is Side.READS else (new, old)
        if known.form() not in (ANYTHING, met.form()):
            what = f"has {self._named(place)} in another form ({new.form()}, before: {old.form()})"
            effect = "that read it break" if self._side is Side.READS else "that send the former one are refused"
            yield Difference(what, effect)
        if self._side is Side.SENDS:
            for name in (*LEAST, *MOST):
                if _narrower(name, old.schema.get(name), new.schema.get(name)):
                    what = f"has another {name} for {self._named(place)}, {new.schema[name]}"
                    before = old.schema.get(name)
                    what += f" instead of {before}" if before is not None else " where there was none"
                    yield Difference(what, "that send what was allowed before are refused")

    def _objects(self, old: Shape, new: Shape, place: str) -> Iterator[Difference]:
        before, now = old.schema.get("properties", {}), new.schema.get("properties", {})
        always, still = set(old.schema.get("required", ())), set(new.schema.get("required", ()))
        inside = f"{place}." if place else ""
        for name in before:
            if name not in now:
                yield self._lost(inside + name)
                continue
            yield from self.differences(old.at(before[name]), new.at(now[name]), inside + name)
            if self._side is Side.READS and name in always - still:
                yield Difference(f"may leave out {self._named(inside + name)} now", "that count on it break")
        if self._side is Side.SENDS:
            for name in (one for one in now if one in still - always):
                yield Difference(f"now requires the {self._noun} {inside}{name}", "that do not send it are refused")
            if (
                new.schema.get("additionalProperties") is False
                and old.schema.get("additionalProperties", True) is not False
            ):
                yield Difference(
                    f"refuses what is not listed in {self._named(place)} now", "that send more are refused"
                )
        others = [one.schema.get("additionalProperties") for one in (old, new)]
        if all(isinstance(one, Mapping) for one in others):
            yield from self.differences(old.at(others[0]), new.at(others[1]), f"{inside}*")

    def _lost(self, place: str) -> Difference:
        effect = "that read it break" if self._side is Side.READS else "that send it are refused"
        return Difference(f"lost {self._named(place)}", effect)


def _narrower(name: str, old: float | None, new: float | None) -> bool:
    if new is None:
        return False
    return old is None or (new > old if name in LEAST else new < old)


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(str, values)) or "nothing"
