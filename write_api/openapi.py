"""The OpenAPI page of the write API: one operation per command, derived from the catalog."""

from __future__ import annotations

from functools import cache
from inspect import cleandoc
from typing import Any

from fastapi import FastAPI, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.json_schema import models_json_schema

from commands.inspections.sheets import Sheet
from commands.kernel import Command
from domain.roles import Role
from infra.web.problems import (
    KINDS,
    NOT_FOUND,
    OF_FILES,
    Kind,
    ProblemError,
    ProblemShown,
    of_kinds,
    refusal_kind,
    responses,
)
from write_api.orders import ROUTES, SENT, Batch, Route

Refs = dict[Any, dict[str, Any]]
REF = "#/components/schemas/{model}"
ID = {
    "name": "id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._~:-]{0,127}$"},
}
HEADERS = {
    "Idempotency-Key": "Any text of the client's; the same key with the same command has the same receipt, for ever.",
    "If-Match": "The version (an entity tag) that the record must be at; * if it must exist.",
    "Lock-Token": "The token of the record's edit lock: carried out only while you hold that very lock.",
    "Occurred-At": "When it happened, if not now: RFC 3339, at most 5 minutes ahead.",
    "X-Application-Name": "Which application sends this.",
    "X-Correlation-Id": "What this belongs to, across requests.",
}
WAITS = " While somebody else holds the record's edit lock, it is answered 423."
SHARED = (400, 401, 403, 404, 412, 413, 415, 422, 423, 429, 503)


class ReceiptShown(BaseModel):
    """What a command led to."""

    model_config = ConfigDict(title="Receipt")

    id: str
    version: int = Field(description="The record's version after it; also the ETag")
    position: int = Field(description="The position of its last fact in the log; also the Position header")
    facts: list[str] = Field(description="The stored names of its facts, in order")


class ItemAnswer(BaseModel):
    """What became of one command of a batch: a receipt or a problem."""

    op: str
    status: int
    receipt: ReceiptShown | None = None
    problem: ProblemShown | None = None


class BatchAnswer(BaseModel):
    """What became of each command of a batch, in order."""

    items: list[ItemAnswer]


def with_commands(app: FastAPI) -> None:
    """Let the application's OpenAPI document describe every command too."""
    own = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = own()
            describe(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def with_problems(app: FastAPI) -> None:
    """Let the application serve a page for every kind of problem, at the address that is its type."""
    refusals = {refused for route in SENT.values() for refused in route.command.refuses}
    kinds = {kind.code: kind for kind in (*KINDS, *OF_FILES, *map(refusal_kind, refusals))}

    @app.get("/problems/{code}", tags=["problems"], response_class=Response)
    async def problem(code: str) -> Response:
        """Say what a problem means."""
        kind = kinds.get(code)
        if kind is None:
            raise ProblemError(NOT_FOUND)
        page = f"<!doctype html><title>{code}</title><h1>{code}</h1><p>HTTP status {kind.status}</p><p>{kind.title}</p>"
        return Response(page, media_type="text/html")


def told_of(command: type[Command], *kinds: Kind) -> dict[str, Any]:
    """Return what the route that asks for a command by hand says of its problems, beside those of every route."""
    return {"responses": of_kinds(*kinds, *map(refusal_kind, command.refuses))}


def describe(document: dict[str, Any]) -> None:
    """Add the commands, their bodies and their problems to an OpenAPI document."""
    models: list[type[BaseModel]] = [ReceiptShown, ProblemShown, Batch, BatchAnswer, Sheet]
    for route in ROUTES.values():
        models.append(route.command)
        if route.command.answers is not None:
            models.append(_receipt_with(route.command))
    modes = [(model, "validation") for model in dict.fromkeys(models)]
    names, schemas = models_json_schema(modes, ref_template=REF)  # type: ignore[arg-type]
    refs: Refs = {model: ref for (model, _), ref in names.items()}
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(schemas.get("$defs", {}))
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    for (stream, verb), route in ROUTES.items():
        document["paths"][f"/{stream}/{{id}}/{verb}"] = {"post": _operation(route, refs)}
    document["paths"]["/commands"] = {"post": _batch(refs)}


@cache
def _receipt_with(command: type[Command]) -> type[BaseModel]:
    assert command.answers is not None
    name = f"{command.__name__}Receipt"
    return type(
        name, (ReceiptShown, command.answers), {"__doc__": ReceiptShown.__doc__, "model_config": {"title": name}}
    )


def _operation(route: Route, refs: Refs) -> dict[str, Any]:
    command = route.command
    receipt = ReceiptShown if command.answers is None else _receipt_with(command)
    roles = sorted(command.allows - {Role.SYSTEM})
    doc = cleandoc(command.__doc__ or "")
    return {
        "tags": [route.stream.name],
        "operationId": route.name,
        "summary": doc.partition(".")[0],
        "description": f"{doc}\n\nFor: {', '.join(roles)}.{WAITS if command.respects_lock else ''}",
        "security": [{"bearer": []}],
        "x-roles": roles,
        "x-refusals": [one.__name__ for one in command.refuses],
        "parameters": [
            ID,
            *(
                {"name": name, "in": "header", "description": what, "schema": {"type": "string"}}
                for name, what in HEADERS.items()
            ),
        ],
        "requestBody": {"content": {"application/json": {"schema": refs[command]}}, "required": _has_required(command)},
        "responses": {
            "200": {"description": "Carried out", "content": {"application/json": {"schema": refs[receipt]}}},
            **responses(command.refuses, SHARED + ((428,) if command.needs_version else ()), refs[ProblemShown]),
        },
    }


def _batch(refs: Refs) -> dict[str, Any]:
    return {
        "tags": ["commands"],
        "operationId": "commands",
        "summary": "Carry out commands in order",
        "description": "Each item is answered for itself; `atomic` carries out all of them or none.",
        "security": [{"bearer": []}],
        "requestBody": {"content": {"application/json": {"schema": refs[Batch]}}, "required": True},
        "responses": {
            "200": {
                "description": "Each item's answer",
                "content": {"application/json": {"schema": refs[BatchAnswer]}},
            },
            **responses((), (400, 401, 413, 415, 422, 429, 503), refs[ProblemShown]),
        },
    }


def _has_required(command: type[Command]) -> bool:
    return any(one.is_required() for one in command.model_fields.values())
