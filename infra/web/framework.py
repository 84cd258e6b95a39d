"""What stands behind both APIs: FastAPI with every failure as a problem; health, metrics, and a tuned garbage collector."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import FastAPI, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from starlette.exceptions import HTTPException

from infra.settings import Settings, networks
from infra.web.drain import DRAIN
from infra.web.edge import App, Edge, Message, Receive, Scope, Send, context_of, header
from infra.web.problems import (
    CONTENT_TYPE,
    INTERNAL,
    INVALID_INPUT,
    MALFORMED_BODY,
    METHOD_NOT_ALLOWED,
    NOT_FOUND,
    TOO_LARGE,
    Kind,
    ProblemError,
    ProblemShown,
    detail_of,
    encode,
    pointer,
    responses,
)
from infra.web.proxies import Proxies

log = logging.getLogger(__name__)

CHECK_S = 3.0
EXPOSED = [
    "ETag",
    "Position",
    "Link",
    "Retry-After",
    "X-Request-Id",
    "Event-Id",
    "RateLimit",
    "RateLimit-Policy",
    "Age",
]
PROBLEM = f"#/components/schemas/{ProblemShown.__name__}"
NOWHERE = re.compile(r"(?!)")
ASKED = (400, 401, 403, 404, 422, 429, 503)
STATUSES: Mapping[str, Sequence[int]] = {
    "health": (),
    "problems": (404,),
    "contract": (),
    "imports": (400, 401, 403, 413, 415, 422, 429, 503),
}
Check = Callable[[], Awaitable[str]]


@dataclass
class Health:
    """What a process says of itself: alive, started, and ready if every check passes; not ready while it drains.

    `measures` bring metrics up to date that are looked up when somebody asks for them.
    """

    checks: Mapping[str, Check]
    measures: Sequence[Callable[[], Awaitable[None]]] = ()
    started: bool = False

    async def ready(self) -> tuple[bool, dict[str, str]]:
        """Return whether requests should come here, and what each check says."""
        said = {"started": "yes" if self.started else "no", "draining": "yes" if DRAIN.begun else "no"}
        ready = self.started and not DRAIN.begun
        for name, check in self.checks.items():
            try:
                async with asyncio.timeout(CHECK_S):
                    said[name] = await check()
            except Exception as error:
                ready = False
                said[name] = f"failed: {type(error).__name__}: {error}"
        return ready, said

    async def metrics(self, accept: str) -> Response:
        """Return the metrics in the format that is asked for; those that cannot be looked up now are not among them."""
        for measure in self.measures:
            try:
                async with asyncio.timeout(CHECK_S):
                    await measure()
            except Exception as error:
                log.warning("metrics not measured", extra={"reason": f"{type(error).__name__}: {error}"})
        encoded, content_type = choose_encoder(accept)
        return Response(encoded(REGISTRY), headers={"Content-Type": content_type})


class Bounded:
    """An ASGI application around another one, which reads no body larger than it may be; routes at the `streamed` paths see
    to that themselves, as they read.
    """

    def __init__(self, app: App, most: int, streamed: re.Pattern[str]) -> None:
        self._app, self._most, self._streamed = app, most, streamed

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or self._streamed.fullmatch(scope["path"]):
            return await self._app(scope, receive, send)
        size = 0

        async def bounded() -> Message:
            nonlocal size
            message = await receive()
            size += len(message.get("body", b""))
            if size > self._most:
                raise HTTPException(413, headers={"Connection": "close"})
            return message

        return await self._app(scope, bounded, send)


def framework(
    title: str,
    description: str,
    health: Health,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[None]],
    max_body_bytes: int,
    streamed: re.Pattern[str] = NOWHERE,
) -> FastAPI:
    """Return an application that answers for its health, and answers every failure as a problem."""
    app = FastAPI(title=title, description=description, version="1", lifespan=lifespan, redoc_url=None)
    app.add_middleware(Bounded, most=max_body_bytes, streamed=streamed)
    app.add_exception_handler(ProblemError, _problem)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _internal)

    @app.get("/livez", tags=["health"])
    async def livez() -> dict[str, str]:
        """Say that the process runs its event loop."""
        return {"status": "alive"}

    @app.get("/startupz", tags=["health"])
    async def startupz(response: Response) -> dict[str, str]:
        """Say whether the process has started."""
        response.status_code = 200 if health.started else 503
        return {"status": "started" if health.started else "starting"}

    @app.get("/readyz", tags=["health"])
    async def readyz(response: Response, verbose: str | None = None) -> dict[str, Any]:
        """Say whether requests should come here; `?verbose` lists the checks."""
        ready, said = await health.ready()
        response.status_code = 200 if ready else 503
        return {"status": "ready" if ready else "not ready"} | ({"checks": said} if verbose is not None else {})

    @app.get("/metrics", tags=["health"])
    async def metrics(accept: Annotated[str, Header()] = "") -> Response:
        """Return the metrics, in Prometheus's text format or as OpenMetrics, which has trace ids as exemplars."""
        return await health.metrics(accept)

    return _telling_problems(app)


def _telling_problems(app: FastAPI) -> FastAPI:
    """Let the OpenAPI document say which problems an address may answer with; health checks answer with none."""
    own = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            _tell_problems(own())
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def _tell_problems(document: dict[str, Any]) -> None:
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas[ProblemShown.__name__] = ProblemShown.model_json_schema()
    for operations in document["paths"].values():
        for operation in operations.values():
            known = operation["responses"]
            if "HTTPValidationError" in str(known.get("422")):
                del known["422"]
            statuses = STATUSES.get((operation.get("tags") or [""])[0], ASKED)
            operation["responses"] = {**responses((), statuses, {"$ref": PROBLEM}), **known}


def edged(app: App, settings: Settings) -> App:
    """Return an application behind the edge, answering pages of other origins if the settings allow it."""
    origins = [origin.strip() for origin in settings.cors_origins.split(",") if origin.strip()]
    proxies = Proxies(networks(settings.trusted_proxies), settings.proxy_header)
    edge = Edge(app, settings.problems_url, proxies)
    return _answering_origins(edge, origins) if origins else edge


def _answering_origins(app: App, origins: list[str]) -> App:
    answering = CORSMiddleware(
        app, allow_origins=origins, allow_methods=["*"], allow_headers=["*"], expose_headers=EXPOSED, max_age=3600
    )

    async def origins_answered(scope: Scope, receive: Receive, send: Send) -> None:
        # A POST without an origin comes from no page, and no cache keeps its answer.
        plain = scope["type"] == "http" and scope["method"] == "POST" and header(scope, b"origin") is None
        await (app if plain else answering)(scope, receive, send)

    return origins_answered


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    document = context_of(request.scope).document(error)
    return Response(encode(document), error.kind.status, error.headers, CONTENT_TYPE)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    known = {404: NOT_FOUND, 405: METHOD_NOT_ALLOWED, 400: MALFORMED_BODY, 413: TOO_LARGE}
    kind = known.get(error.status_code) or Kind(f"http-{error.status_code}", error.status_code, error.detail)
    return await _problem(request, ProblemError(kind, headers=error.headers))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    errors = []
    for one in error.errors():
        if one["type"] == "json_invalid":
            return await _problem(request, ProblemError(MALFORMED_BODY))
        place, *rest = one["loc"]
        detail = detail_of({**one, "loc": rest}, _parameters(request))
        where = (
            {"pointer": pointer(rest)}
            if place == "body"
            else {"parameter" if place != "header" else "header": rest[-1]}
        )
        errors.append(where | {"code": one["type"], "detail": detail})
    return await _problem(request, ProblemError(INVALID_INPUT, errors=errors))


def _parameters(request: Request) -> list[str]:
    """Return the names of the query parameters that an address takes."""
    operation = request.app.openapi()["paths"].get(request.scope["route"].path, {}).get(request.method.lower(), {})
    return [one["name"] for one in operation.get("parameters", []) if one["in"] == "query"]


async def _internal(request: Request, error: Exception) -> Response:  # noqa: ARG001
    return await _problem(request, ProblemError(INTERNAL))
