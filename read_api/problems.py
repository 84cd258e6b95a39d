"""The problems of an address, as its OpenAPI page lists them."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, ConfigDict

from infra.web.problems import CONTENT_TYPE, QUOTA_EXCEEDED, UNAUTHENTICATED, Kind


class Problem(BaseModel):
    """A problem (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str
    code: str
    trace_id: str
    errors: list[dict[str, Any]] = []


def problems(*kinds: Kind) -> dict[int | str, dict[str, Any]]:
    """Return the responses of an address that answers with these problems, and with those of every address."""
    by_status: dict[int | str, list[str]] = {}
    for kind in (UNAUTHENTICATED, QUOTA_EXCEEDED, *kinds):
        by_status.setdefault(kind.status, []).append(f"`{kind.code}`: {kind.title}")
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": "\n\n".join(lines), "content": content} for status, lines in sorted(by_status.items())
    }


def with_problems(app: FastAPI) -> None:
    """Let the application's OpenAPI document say what a problem is."""
    own = app.openapi

    def openapi() -> dict[str, Any]:
        document = own()
        document["components"]["schemas"]["Problem"] = Problem.model_json_schema()
        return document

    app.openapi = openapi  # type: ignore[method-assign]
