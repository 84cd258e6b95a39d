"""The events of the live stream, as the AsyncAPI document describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import models_json_schema

from infra.contract.asyncapi import Live
from read_api.listing import Listing
from read_api.live import LIVE
from read_api.stream import MOST_VIEWS

REF = "#/components/schemas/{model}"
WHAT = """Rows of views as they change, as server-sent events: an event's `event` and `id` are described as headers, its `data` as
the payload. An event that is not listed here may come; ignore it."""
VIEWS = {"type": "string", "enum": list(LIVE)}
KEYED = {"type": "object", "properties": {"view": VIEWS, "key": {"type": "string"}}, "required": ["view", "key"]}
POSITIONS = {
    "type": "object",
    "propertyNames": VIEWS,
    "additionalProperties": {"type": "integer"},
}
RESET = {
    "type": "object",
    "properties": {"view": VIEWS, "reason": {"type": "string"}},
    "required": ["view", "reason"],
}


def live() -> Live:
    """Return the live stream's description."""
    models = [(listing.shown, "serialization") for listing in LIVE.values()]
    names, shapes = models_json_schema(models, ref_template=REF)  # type: ignore[arg-type]
    refs = {listing.name: names[listing.shown, "serialization"] for listing in LIVE.values()}
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
    shown = {"view": {"const": name}, "key": {"type": "string"}, "position": {"type": "integer"}, "row": ref}
    return {"type": "object", "properties": shown, "required": list(shown)}


def _query() -> dict[str, Any]:
    filters = {f"{listing.name}.{name}": shape for listing in LIVE.values() for name, shape in _filters(listing)}
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


def _filters(listing: Listing) -> list[tuple[str, Any]]:
    properties = listing.wanted.model_json_schema(by_alias=True)["properties"]
    return [(name, properties[name]) for name in listing.filters]
