"""Validators of our schemas and of AsyncAPI documents, without a network; they check formats and base64 too."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker, ValidationError, validators
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7, DRAFT202012

OFFICIAL = Path(__file__).with_name("asyncapi-3.1.0.json")
RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
FORMATS = FormatChecker(formats=["date", "uuid"])


@FORMATS.checks("date-time", raises=ValueError)
def is_moment(value: object) -> bool:
    """Say whether text is a moment by RFC 3339."""
    return not isinstance(value, str) or bool(RFC3339.fullmatch(value) and datetime.fromisoformat(value))


def _encoded(_: Any, encoding: str, value: object, __: Any) -> Iterator[ValidationError]:
    if encoding == "base64" and isinstance(value, str):
        try:
            b64decode(value, validate=True)
        except ValueError:
            yield ValidationError("this is not base64")


Checking = validators.extend(Draft202012Validator, {"contentEncoding": _encoded})


def closed(schema: Any) -> Any:
    """Return a schema that names everything there may be: what our own side writes is checked by it."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: False if name == "additionalProperties" and one is True else closed(one) for name, one in schema.items()
    }


def wrong(schema: Any, value: Any) -> list[str]:
    """Return what is wrong with a value by a schema of 2020-12."""
    return [
        f"{error.json_path}: {error.message}" for error in Checking(schema, format_checker=FORMATS).iter_errors(value)
    ]


def wrong_in(document: Any, schema: Any, value: Any) -> list[str]:
    """Return what is wrong with a value by a schema inside of an AsyncAPI document, whose parts it refers to."""
    registry = Registry().with_resource(
        "urn:asyncapi", Resource.from_contents(document, default_specification=DRAFT202012)
    )
    resolved = _rebased(schema)
    checked = Checking(resolved, registry=registry, format_checker=FORMATS)
    return [f"{error.json_path}: {error.message}" for error in checked.iter_errors(value)]


def _rebased(schema: Any) -> Any:
    """Return a schema whose references to parts of its document name that document."""
    if isinstance(schema, list):
        return [_rebased(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: f"urn:asyncapi{one}" if name == "$ref" and str(one).startswith("#") else _rebased(one)
        for name, one in schema.items()
    }


def wrong_asyncapi(document: Any) -> list[str]:
    """Return what is wrong with an AsyncAPI document by the official schema."""
    official = json.loads(OFFICIAL.read_text())
    parts = {**official["definitions"], official["$id"]: official}
    registry = Registry().with_resources(
        (name, Resource.from_contents(part, default_specification=DRAFT7)) for name, part in parts.items()
    )
    checked = Draft7Validator(official, registry=registry)
    return [f"{error.json_path}: {error.message}" for error in checked.iter_errors(document)]
