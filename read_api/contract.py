"""What consumers may rely on: `GET /schemas`, the schemas themselves, `GET /asyncapi.json`; open to everybody, without a token."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import urljoin

from fastapi import APIRouter, Header, Request, Response

from infra.contract.asyncapi import asyncapi, facts_of_topics, views_of_topics
from infra.contract.schemas import CONTENT_TYPE, fact_path, row_path, schemas
from infra.kafka.topics import Topics
from infra.settings import Settings
from infra.web.problems import CONTENT_TYPE as PROBLEM
from infra.web.problems import NOT_FOUND, ProblemError, encode
from read_api.events import live
from read_api.kernel import same_tag
from read_api.listing import Shown

router = APIRouter(tags=["contract"])

KEPT_S = 86_400
JSON = "application/json"
SCHEMA: dict[int | str, dict[str, Any]] = {
    200: {"description": "A JSON Schema", "content": {CONTENT_TYPE: {}}},
    404: {"description": "There is none; the problem says which there are", "content": {PROBLEM: {}}},
}

IfNoneMatch = Annotated[str | None, Header()]


class FactSchema(Shown):
    """Where the schema of a kind of fact is, and the topics that carry such facts."""

    type: str
    topics: list[str]
    dataschema: str


class RowSchema(Shown):
    """Where the schema of a view's rows is, and the topic that carries them."""

    view: str
    version: int
    topic: str
    dataschema: str


class Schemas(Shown):
    """Every schema there is."""

    facts: list[FactSchema]
    views: list[RowSchema]
    asyncapi: str


@router.get("/schemas", response_model=Schemas)
async def all_schemas(request: Request, if_none_match: IfNoneMatch = None) -> Response:
    """Which schemas there are, of which topics."""
    settings: Settings = request.app.state.settings
    return _answer(_list(settings.schemas_url, Topics(settings.topic_prefix)), JSON, if_none_match)


@router.get("/schemas/facts/{type}.json", response_class=Response, responses=SCHEMA)
async def fact_schema(request: Request, type: str, if_none_match: IfNoneMatch = None) -> Response:
    """Return the schema of the facts of one stored name, as they are stored and published."""
    return _schema(request, fact_path(type), if_none_match)


@router.get("/schemas/views/{view}.json", response_class=Response, responses=SCHEMA)
async def row_schema(request: Request, view: str, if_none_match: IfNoneMatch = None) -> Response:
    """Return the schema of the rows of one view and version, such as `trips.v2`."""
    return _schema(request, f"views/{view}.json", if_none_match)


@router.get("/asyncapi.json", response_class=Response, responses={200: {"content": {JSON: {}}}})
async def described(request: Request, if_none_match: IfNoneMatch = None) -> Response:
    """Return the AsyncAPI document: every topic of facts and rows, and the live stream."""
    settings: Settings = request.app.state.settings
    return _answer(_asyncapi(settings), JSON, if_none_match)


def _schema(request: Request, path: str, if_none_match: str | None) -> Response:
    settings: Settings = request.app.state.settings
    known = _schemas(settings.schemas_url)
    if path not in known:
        kind = path.partition("/")[0]
        there = ", ".join(one.removeprefix(f"{kind}/") for one in known if one.startswith(f"{kind}/"))
        raise ProblemError(NOT_FOUND, f"There is no schema {path}; of {kind} there are: {there}.")
    return _answer(known[path], CONTENT_TYPE, if_none_match)


@lru_cache(maxsize=8)
def _schemas(base: str) -> Mapping[str, bytes]:
    return {path: encode(document) for path, document in schemas(base).items()}


@lru_cache(maxsize=8)
def _asyncapi(settings: Settings) -> bytes:
    return encode(asyncapi(settings, live()))


@lru_cache(maxsize=8)
def _list(base: str, topics: Topics) -> bytes:
    carried: dict[str, list[str]] = {}
    for topic, names in facts_of_topics(topics).items():
        for name in names:
            carried.setdefault(name, []).append(topic)
    views = [
        RowSchema(view=view.name, version=context.version, topic=topic, dataschema=base + row_path(context, view))
        for topic, (context, view) in views_of_topics(topics).items()
    ]
    facts = [FactSchema(type=name, topics=on, dataschema=base + fact_path(name)) for name, on in carried.items()]
    return Schemas(facts=facts, views=views, asyncapi=urljoin(base, "../asyncapi.json")).model_dump_json().encode()


def _answer(body: bytes, content_type: str, if_none_match: str | None) -> Response:
    etag = f'"{sha256(body).hexdigest()[:16]}"'
    headers = {"ETag": etag, "Cache-Control": f"public, max-age={KEPT_S}"}
    if if_none_match is not None and same_tag(if_none_match, etag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=content_type)
