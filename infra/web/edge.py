"""The edge of both APIs: each request gets an id and a trace, a log line, its metrics, and a problem if it fails."""

from __future__ import annotations

import logging
import random
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram
from uuid_utils import compat

from infra.web.problems import CONTENT_TYPE, INTERNAL, ProblemError, encode
from infra.web.proxies import Proxies

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

SLOW_S = 1.0
TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
BUCKETS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.5, 1, 3, 5)
REQUESTS = Counter("http_requests_total", "Requests answered", ["method", "route", "status"])
DURATIONS = Histogram("http_request_duration_seconds", "Time until a request was answered", ["route"], buckets=BUCKETS)

failures = logging.getLogger(__name__)
lines = structlog.get_logger()


@dataclass(slots=True)
class Context:
    """What is known of a request while it runs; `route`, `fields` and `headers` are filled in by whoever answers it.

    `request_name` is its id as text; `headers` are sent with the answer, whatever it is.
    """

    request_id: UUID
    request_name: str
    trace_id: str
    traceparent: str
    problems_url: str
    started: float
    route: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def document(self, problem: ProblemError) -> dict[str, Any]:
        """Return a problem of this request as it is sent."""
        self.fields["code"] = problem.kind.code
        return problem.document(self.problems_url, self.request_name, self.trace_id)


def context_of(scope: Scope) -> Context:
    """Return the context that the edge gave this request."""
    context: Context = scope["fieldlog"]
    return context


def header(scope: Scope, name: bytes) -> bytes | None:
    """Return a request's header by its lower-case name, or None."""
    for key, value in scope["headers"]:
        if key == name:
            return bytes(value)
    return None


async def respond(
    send: Send, status: int, body: bytes, headers: list[tuple[bytes, bytes]], content_type: bytes = b"application/json"
) -> None:
    """Send a whole response."""
    named = [(b"content-type", content_type), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": named})
    await send({"type": "http.response.body", "body": body})


class Edge:
    """An ASGI application around another one."""

    def __init__(self, app: App, problems_url: str, proxies: Proxies) -> None:
        self._app, self._problems_url, self._proxies = app, problems_url, proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, whatever happens."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._proxies.reveal(scope)
        context = scope["fieldlog"] = _begin(scope, self._problems_url)
        request_id = (b"x-request-id", context.request_name.encode())
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], request_id, *context.headers]
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except ProblemError as problem:
            await _send_problem(context, problem, noting)
        except Exception:
            failures.exception("request failed", extra={"trace_id": context.trace_id})
            if not status:
                await _send_problem(context, ProblemError(INTERNAL), noting)
        finally:
            _end(scope, context, status)


async def _send_problem(context: Context, problem: ProblemError, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    await respond(send, problem.kind.status, encode(context.document(problem)), headers, CONTENT_TYPE.encode())


def _begin(scope: Scope, problems_url: str) -> Context:
    traced = TRACEPARENT.fullmatch(header(scope, b"traceparent") or b"")
    # Trace ids tell requests apart and guard nothing; asking the system for each costs more than all else here.
    trace_id = traced[1].decode() if traced else f"{random.getrandbits(128):032x}"
    traceparent = f"00-{trace_id}-{random.getrandbits(64):016x}-01"
    request_id = compat.uuid7()
    return Context(request_id, str(request_id), trace_id, traceparent, problems_url, time.perf_counter())


@lru_cache(maxsize=4096)
def _metrics(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method, route, status), DURATIONS.labels(route)


def _end(scope: Scope, context: Context, status: int) -> None:
    duration = time.perf_counter() - context.started
    route = context.route or getattr(scope.get("route"), "path", "unmatched")
    requests, durations = _metrics(scope["method"], route, status)
    requests.inc()
    durations.observe(duration)
    (lines.warning if duration > SLOW_S else lines.info)(
        "request",
        method=scope["method"],
        route=route,
        status=status,
        duration_ms=round(duration * 1000, 2),
        request_id=context.request_name,
        trace_id=context.trace_id,
        **context.fields,
    )
