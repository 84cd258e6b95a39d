"""JSON Schemas (2020-12) of what is published: every fact as it is stored, and every row as its view has it.

They are open: whoever reads tolerates fields that came later. What is written is checked by the same documents, closed
(`closed` in tests/contract), so that nothing is published that they do not name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from datetime import date, datetime
from decimal import Decimal
from inspect import cleandoc
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

from domain.catalog import STREAMS
from domain.kernel import COMMON_FACTS, Erased, Personal
from infra.views.tables import encode
from projections.catalog import CONTEXTS
from projections.kernel import Context, View

Document = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
CONTENT_TYPE = "application/schema+json"
OF_FACTS = """Under this name nothing ever changes but that fields are added. Tolerate fields that are not listed here; one that is
not required is absent from facts older than the field, and has its default there."""
OF_ROWS = """Every field is in every row. Another version of the view has a topic and a schema of its own; tolerate fields that are
not listed here all the same."""
SEALED = """Personal data of {person}, encrypted under {key}. Once that key is destroyed nobody can read it any more; the text
itself stays as it is."""

SCALARS: Mapping[type, Document] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer", "format": "int64"},
    float: {"type": "number", "format": "double"},
    Decimal: {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "description": "A decimal number, exactly"},
    date: {"type": "string", "format": "date"},
    datetime: {"type": "string", "format": "date-time"},
    UUID: {"type": "string", "format": "uuid"},
}


def fact_path(topic: str) -> str:
    """Return where the schema of a stored name is, under the base URL of schemas."""
    return f"facts/{topic}.json"


def row_path(context: Context, view: View) -> str:
    """Return where the schema of a view's rows is, under the base URL of schemas."""
    return f"views/{view.name}.v{context.version}.json"


def schemas(base: str) -> dict[str, Document]:
    """Return every schema by its path under the base URL of schemas."""
    topics = {topic: fact for stream in STREAMS.values() for topic, fact in stream.facts.items()} | dict(COMMON_FACTS)
    facts = {fact_path(topic): _fact(base, topic, fact) for topic, fact in topics.items()}
    rows = {
        row_path(context, view): _row(base, context, view) for context in CONTEXTS.values() for view in context.views
    }
    return facts | rows


def _fact(base: str, topic: str, fact: type) -> Document:
    return _document(base + fact_path(topic), topic, fact, Shapes(whole=False), OF_FACTS)


def _row(base: str, context: Context, view: View) -> Document:
    title = f"{view.name}.v{context.version}"
    document = _document(base + row_path(context, view), title, view.row, Shapes(whole=True), OF_ROWS)
    return document | {"x-key": list(view.key)}


def _document(url: str, title: str, cls: type, shapes: Shapes, promise: str) -> Document:
    shape = shapes.of(cls)
    shape["description"] += "\n\n" + " ".join(promise.split())
    document = {"$schema": DIALECT, "$id": url, "title": title} | shape
    return document | ({"$defs": shapes.parts} if shapes.parts else {})


class Shapes:
    """The shapes of one document; parts that are classes of their own are found in `parts`, by the names of the classes.

    `whole` says that every field is always there; otherwise those with a default may have come later than what was stored.
    """

    def __init__(self, *, whole: bool) -> None:
        self.parts: dict[str, Document] = {}
        self._classes: dict[str, type] = {}
        self._whole = whole

    def of(self, cls: type) -> Document:
        """Return the shape of a class: its fields, and which of them are always there."""
        hints = get_type_hints(cls, include_extras=True)
        return {
            "type": "object",
            "description": cleandoc(cls.__doc__ or ""),
            "properties": {one.name: self._property(one, hints[one.name]) for one in fields(cls)},
            "required": [one.name for one in fields(cls) if self._whole or not _has_default(one)],
            "additionalProperties": True,
        }

    def _property(self, field: Field[Any], hint: Any) -> Document:
        shape = self._value(hint)
        if not self._whole and _has_default(field):
            shape = shape | {"default": _default(field)}
        return shape

    def _value(self, hint: Any) -> Document:
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            marks = [mark for mark in arguments[1:] if isinstance(mark, Personal)]
            return _sealed(marks[0], arguments[0]) if marks else self._value(arguments[0])
        if origin in (Union, UnionType):
            return self._union(arguments)
        if origin is Literal:
            return {"type": "string", "enum": list(arguments)}
        if origin is tuple and arguments[1:] == (...,):
            return {"type": "array", "items": self._value(arguments[0])}
        if isinstance(hint, type) and is_dataclass(hint):
            return self._part(hint)
        if hint not in SCALARS:
            raise TypeError(f"no schema is known for {hint!r}")
        return dict(SCALARS[hint])

    def _union(self, options: tuple[Any, ...]) -> Document:
        """Return the shape of one kind of value that may be null."""
        literals = [value for one in options if get_origin(one) is Literal for value in get_args(one)]
        kinds = [one for one in options if one is not NoneType and get_origin(one) is not Literal]
        shapes = [{"type": "string", "enum": literals}] if literals else []
        shapes += [self._value(one) for one in kinds]
        if NoneType not in options:
            return shapes[0] if len(shapes) == 1 else {"anyOf": shapes}
        return _or_null(shapes[0]) if len(shapes) == 1 else {"anyOf": [*shapes, {"type": "null"}]}

    def _part(self, cls: type) -> Document:
        name = cls.__name__
        if self._classes.setdefault(name, cls) is not cls:
            raise TypeError(f"two classes of one document are named {name}")
        if name not in self.parts:
            self.parts[name] = {}  # so that a part that contains itself ends here
            self.parts[name] = self.of(cls)
        return {"$ref": f"#/$defs/{name}"}


def _or_null(shape: Document) -> Document:
    if "$ref" in shape:
        return {"anyOf": [shape, {"type": "null"}]}
    nullable = shape | {"type": [shape["type"], "null"]}
    return nullable | ({"enum": [*shape["enum"], None]} if "enum" in shape else {})


def _sealed(mark: Personal, hint: Any) -> Document:
    """Return the shape of personal data as facts hold it: base64 of what only its key opens, or null if there is none."""
    person = "the person whom this record is about" if mark.of is None else f"the person in `{mark.of}`"
    key = "their key" if mark.day is None else f"their key for the UTC day in `{mark.day}`"
    optional = NoneType in get_args(hint)
    assert Erased in get_args(hint)
    return {
        "type": ["string", "null"] if optional else "string",
        "contentEncoding": "base64",
        "description": " ".join(SEALED.format(person=person, key=key).split()),
        "x-personal": {"of": mark.of, "day": mark.day},
    }


def _has_default(field: Field[Any]) -> bool:
    return field.default is not MISSING or field.default_factory is not MISSING


def _default(field: Field[Any]) -> Any:
    value = field.default_factory() if field.default_factory is not MISSING else field.default
    return msgspec.json.decode(encode(value))
