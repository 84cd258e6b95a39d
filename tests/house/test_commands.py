"""What every command declares is so: its fields are bounded, and it refuses exactly as it says."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from functools import cache
from types import FunctionType
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from commands.catalog import COMMANDS
from commands.kernel import Command
from domain.catalog import STREAMS
from domain.kernel import Refused
from domain.roles import Role
from tests.house.source import sources
from write_api import orders, uploads

BOUNDS_OF_TEXT = {"maxLength", "pattern", "enum", "const", "format"}
Schema = Mapping[str, Any]


def _every_command() -> list[type[Command]]:
    """Return all commands of production code, those that only Fieldlog itself asks for too."""
    for source in sources():
        if source.layer == "commands":
            importlib.import_module(source.name)
    found, beneath = set(), [Command]
    while beneath:
        below = beneath.pop().__subclasses__()
        beneath += below
        found |= {one for one in below if one.__module__.startswith("commands.")}
    return sorted(found, key=lambda one: one.__name__)


EVERY_COMMAND = _every_command()
IN_CATALOG = {command for verbs in COMMANDS.values() for command in verbs.values()}
SENT = sorted({route.command for route in orders.SENT.values()}, key=lambda one: one.__name__)


def test_only_what_fieldlog_itself_asks_for_has_no_door() -> None:
    """Reactions and timers ask for these: their fields come from facts, which were bounded when they came in."""
    inside = {one.__name__ for one in set(EVERY_COMMAND) - set(SENT)}
    assert inside == {
        "AbandonAttachment",
        "CompleteBooking",
        "CondenseTrack",
        "ContinueBooking",
        "ExpireFixes",
        "ExpireHold",
        "NoteReactionRefused",
        "OpenFollowUp",
        "PrepareInspection",
        "StartBooking",
    }
    assert all(one.allows <= {Role.SYSTEM} for one in set(EVERY_COMMAND) - set(SENT))
    assert all(one.allows - {Role.SYSTEM} for one in SENT)


def test_only_the_routes_of_uploads_ask_by_hand() -> None:
    """What these commands say is known to their route alone; the door knows them not, nor do batches."""
    by_hand = {one.__name__ for one in EVERY_COMMAND if one.by_hand}
    assert by_hand == {"CompleteAttachment", "DeclareAttachment", "ExpectAttachment"}
    assert by_hand == {command.__name__ for command in uploads.ROUTES}
    assert not by_hand & {route.command.__name__ for route in orders.ROUTES.values()}


@pytest.mark.parametrize("command", SENT)
def test_everything_that_can_be_sent_is_bounded(command: type[Command]) -> None:
    schema = command.model_json_schema(mode="validation")
    assert list(_unbounded(schema, schema.get("$defs", {}), "")) == []


def _unbounded(schema: Schema, definitions: Mapping[str, Schema], path: str) -> Iterator[str]:
    """Yield the places of a JSON schema that admit something of any size."""
    if "$ref" in schema:
        schema = definitions[schema["$ref"].rpartition("/")[2]]
    choices = [choice for name in ("anyOf", "oneOf", "allOf") for choice in schema.get(name, ())]
    for choice in choices:
        yield from _unbounded(choice, definitions, path)
    match schema.get("type"):
        case "string" if not BOUNDS_OF_TEXT & schema.keys():
            yield f"{path}: text without an end"
        case "integer" | "number":
            yield from (f"{path}: {what}" for what in _unbounded_number(schema))
        case "array":
            if "maxItems" not in schema:
                yield f"{path}: a list without an end"
            for item in (*schema.get("prefixItems", ()), *([schema["items"]] if "items" in schema else [])):
                yield from _unbounded(item, definitions, f"{path}/*")
        case "object":
            if schema.get("additionalProperties") is not False:
                yield f"{path}: fields that nobody knows"
            for name, one in schema.get("properties", {}).items():
                yield from _unbounded(one, definitions, f"{path}/{name}")
        case None if not choices and not {"const", "enum"} & schema.keys():
            yield f"{path}: anything"


def _unbounded_number(schema: Schema) -> Iterator[str]:
    if {"const", "enum"} & schema.keys():
        return
    least = schema.get("minimum", schema.get("exclusiveMinimum"))
    most = schema.get("maximum", schema.get("exclusiveMaximum"))
    if least is None:
        yield "a number without a least"
    if most is None:
        yield "a number without a most"
    if schema["type"] == "integer" and not -(2**63) <= (least or 0) <= (most or 0) < 2**63:
        yield "beyond 64 bits"


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_decimals_are_sent_as_text(command: type[Command]) -> None:
    schema = command.model_json_schema(mode="validation")
    for name, field in command.model_fields.items():
        if Decimal in (field.annotation, *get_args(field.annotation)):
            shown = schema["properties"][field.alias or name]
            kinds = {one.get("type") for one in shown.get("anyOf", [shown])}
            assert kinds <= {"string", "null"}, name


def test_a_bound_that_is_missing_would_be_found() -> None:
    class Loose(BaseModel):
        """Everything that may not be."""

        text: str
        number: int
        list: tuple[int, ...]
        any: Any

    schema = Loose.model_json_schema()
    places = {one.partition(":")[0] for one in _unbounded(schema, {}, "")}
    assert places == {"", "/text", "/number", "/list", "/list/*", "/any"}


@pytest.mark.parametrize("command", EVERY_COMMAND)
def test_a_command_refuses_exactly_as_it_says(command: type[Command]) -> None:
    raised = set().union(*(_refusals(one) for one in _methods(command)))
    assert {one.__name__ for one in command.refuses} == {one.__name__ for one in raised}


def _methods(cls: type) -> Iterator[Callable[..., Any]]:
    """Yield the functions of a class and of those of its bases that are ours."""
    for base in cls.__mro__:
        if base in (Command, BaseModel) or not base.__module__.startswith(("commands.", "domain.")):
            continue
        for one in vars(base).values():
            function = one.fget if isinstance(one, property) else getattr(one, "__func__", one)
            if isinstance(function, FunctionType) and function.__code__.co_filename == inspect.getsourcefile(base):
                yield function


@cache
def _refusals(function: FunctionType) -> frozenset[type[Refused]]:
    """Return what a function raises, and what the functions and classes of ours that it names raise."""
    found: set[type[Refused]] = set()
    seen: set[FunctionType] = set()
    waiting = [function]
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(one)))):
            if isinstance(node, ast.Raise):
                named = {_named(one, name) for name in ast.walk(node) if isinstance(name, ast.Name)}
                found |= {cls for cls in named if isinstance(cls, type) and issubclass(cls, Refused)}
            elif isinstance(node, ast.Name):
                other = _named(one, node)
                if isinstance(other, FunctionType) and other.__module__.startswith(("commands.", "domain.")):
                    waiting.append(other)
                elif isinstance(other, type) and other.__module__.startswith("commands.") and not _declares(other):
                    waiting += _methods(other)
    return frozenset(found)


def _named(function: FunctionType, name: ast.Name) -> Any:
    return function.__globals__.get(name.id)


def _declares(cls: type) -> bool:
    return issubclass(cls, (Refused, BaseModel))


@pytest.mark.parametrize("command", sorted(IN_CATALOG, key=lambda one: one.__name__))
def test_somebody_may_ask(command: type[Command]) -> None:
    assert command.allows
    assert command.allows <= set(Role)


def test_every_command_is_in_the_catalog_of_a_stream_that_exists() -> None:
    assert COMMANDS.keys() <= STREAMS.keys()
    assert {one.__name__ for one in EVERY_COMMAND} - {one.__name__ for one in IN_CATALOG} == {"NoteReactionRefused"}
