"""The events of the live stream, as the AsyncAPI document describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from infra.contract.asyncapi import Live
from read_api.boards import BOARDS
from read_api.listing import Watchable
from read_api.live import LIVE
from read_api.stream import MOST_VIEWS

REF = "#/components/schemas/{model}"
WHAT = """Rows of views as they change, as server-sent events: an event's `event` and `id` are described as headers, its `data` as
the payload. An event that is not listed here may come; ignore it."""
ALL: Mapping[str, Watchable] = {**LIVE, **BOARDS}
VIEWS = {"type": "string", "enum": list(ALL)}
ONE_BOARD = {
    "type": "object",
    "properties": {"view": {"type": "string", "enum": list(BOARDS)}},
    "required": ["view"],
}
KEYED = {"type": "object", "properties": {"view": VIEWS, "key": {"type": "string"}}, "required": ["view", "key"]}
POSITIONS = {
    "type": "object",
    "propertyNames": VIEWS,
    "additionalProperties": {"type": ["integer", "null"], "description": "Null where a view has no positions"},
}
RESET = {
    "type": "object",
    "properties": {"view": VIEWS, "reason": {"type": "string"}},
    "required": ["view", "reason"],
}


def live() -> Live:
    """Return the live stream's description."""
    models = [(one.shown, "serialization") for one in ALL.values()]
    names, shapes = models_json_schema(models, ref_template=REF)  # type: ignore[arg-type]
    refs = {one.name: names[one.shown, "serialization"] for one in ALL.values()}
    return Live("/stream", " ".join(WHAT.split()), _messages(refs), _query(), shapes.get("$defs", {}))


def _messages(refs: Mapping[str, Any]) -> dict[str, Any]:
    rows = {
        f"row.{name}": _message("row", f"This row of {name} is new or has changed.", _row(name, ref))
        for name, ref in refs.items()
    }
    return {
        "ready": _message("ready", "The first event: where each view begins.", POSITIONS),
        **rows,
        "leave": _message("leave", "This row matched before and does not any more.", KEYED),
        "gone": _message("gone", "This row is no more, or what it was has been forgotten.", KEYED),
        "fresh": _message("fresh", "Forget what you know of this view; what there is follows as rows.", ONE_BOARD),
        "lost": _message("lost", "What there is of this view cannot be told until the next `fresh`.", ONE_BOARD),
        "reset": _message("reset", "Begin anew: read the list again. The stream ends.", RESET),
    }


def _message(event: str, description: str, payload: Mapping[str, Any]) -> dict[str, Any]:
    headers = {
        "type": "object",
        "properties": {
            "event": {"const": event},
            "id": {"type": "string", "description": "Hand it back as `last_event_id` to go on after this event"},
        },
        "required": ["event"],
    }
    return {"name": event, "description": description, "headers": headers, "payload": payload}


def _row(name: str, ref: Mapping[str, Any]) -> dict[str, Any]:
    position = {} if name in BOARDS else {"position": {"type": "integer"}}
    shown = {"view": {"const": name}, "key": {"type": "string"}, **position, "row": ref}
    return {"type": "object", "properties": shown, "required": list(shown)}


def _query() -> dict[str, Any]:
    filters = {f"{one.name}.{name}": shape for one in ALL.values() for name, shape in _filters(one)}
    beginning = {
        "view": {"type": "array", "items": VIEWS, "minItems": 1, "maxItems": MOST_VIEWS},
        "after": {"type": "integer", "minimum": 0},
        "last_event_id": {"type": "string"},
        "ticket": {"type": "string"},
    }
    return {
        "type": "object",
        "description": "A filter without the name of a view is one of every watched view that has it.",
        "properties": beginning | filters,
        "required": ["view"],
    }


def _filters(watchable: Watchable) -> list[tuple[str, Any]]:
    properties = watchable.wanted.model_json_schema(by_alias=True)["properties"]
    return [(name, properties[name]) for name in watchable.filters]
