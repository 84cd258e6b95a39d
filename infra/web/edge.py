"""The edge of both APIs: each request gets an id and a trace, a log line, its metrics, and a problem if it fails."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram
from uuid_utils import compat

from infra import tracing
from infra.measured import BUCKETS, SLOW_S
from infra.web.drain import DRAIN
from infra.web.problems import CONTENT_TYPE, INTERNAL, ProblemError, encode
from infra.web.proxies import Proxies

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# What is known of a request under the name of its log line, and of the attribute of its span (C-14).
LIVE = b"text/event-stream"
ATTRIBUTES = {"tenant": "tenant.id", "command": "command.name", "position": "event.position"}
REQUESTS = Counter("http_requests_total", "Requests answered", ["method", "route", "status"])
DURATIONS = Histogram("http_request_duration_seconds", "Time until a request was answered", ["route"], buckets=BUCKETS)

failures = logging.getLogger(__name__)
lines = structlog.get_logger()


@dataclass(slots=True)
class Context:
    """What is known of a request while it runs; `route`, `fields` and `headers` are filled in by whoever answers it.

    `request_name` is its id as text; `answered` is when a live stream began, which has no other answer; `headers` are sent
    with the answer, whatever it is.
    """

    request_id: UUID
    request_name: str
    traced: tracing.Traced
    problems_url: str
    started: float
    route: str = ""
    answered: float = 0.0
    fields: dict[str, Any] = field(default_factory=dict)
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def document(self, problem: ProblemError) -> dict[str, Any]:
        """Return a problem of this request as it is sent."""
        self.fields["code"] = problem.kind.code
        return problem.document(self.problems_url, self.request_name, self.traced.trace_id)


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
        request_id, method = (b"x-request-id", context.request_name.encode()), scope["method"]
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                answer = message["headers"] = [*message["headers"], request_id, *context.headers]
                if DRAIN.begun:  # so that no connection is left to be closed just as a request arrives on it
                    answer.append((b"connection", b"close"))
                if method == "GET" and any(one == b"content-type" and kind.startswith(LIVE) for one, kind in answer):
                    context.answered = time.perf_counter()
            await send(message)

        try:
            with tracing.within(context.traced.span):
                await self._app(scope, receive, noting)
        except ProblemError as problem:
            await _send_problem(context, problem, noting)
        except Exception:
            failures.exception("request failed", extra={"trace_id": context.traced.trace_id})
            if not status:
                await _send_problem(context, ProblemError(INTERNAL), noting)
        finally:
            _end(scope, context, status)


async def _send_problem(context: Context, problem: ProblemError, send: Send) -> None:
    headers = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    await respond(send, problem.kind.status, encode(context.document(problem)), headers, CONTENT_TYPE.encode())


def _begin(scope: Scope, problems_url: str) -> Context:
    request_id = compat.uuid7()
    traced = tracing.begin(header(scope, b"traceparent"))
    return Context(request_id, str(request_id), traced, problems_url, time.perf_counter())


@lru_cache(maxsize=4096)
def _metrics(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    return REQUESTS.labels(method, route, status), DURATIONS.labels(route)


def _end(scope: Scope, context: Context, status: int) -> None:
    duration = (context.answered or time.perf_counter()) - context.started
    method, traced = scope["method"], context.traced
    route = context.route or getattr(scope.get("route"), "path", "unmatched")
    requests, durations = _metrics(method, route, status)
    requests.inc()
    durations.observe(duration, {"trace_id": traced.trace_id} if traced.sampled else None)
    if traced.span.is_recording():
        tracing.end(traced.span, f"{method} {route}", _attributes(context, method, route, status), failed=status >= 500)
    (lines.warning if duration > SLOW_S else lines.info)(
        "request",
        method=method,
        route=route,
        status=status,
        duration_ms=round(duration * 1000, 2),
        request_id=context.request_name,
        trace_id=traced.trace_id,
        **context.fields,
    )


def _attributes(context: Context, method: str, route: str, status: int) -> dict[str, str | int]:
    known = {ATTRIBUTES[name]: value for name, value in context.fields.items() if name in ATTRIBUTES}
    if "aggregate" in context.fields:
        known["aggregate.type"] = context.fields["aggregate"].partition("/")[0]
    return {
        "http.request.method": method,
        "http.route": route,
        "http.response.status_code": status,
        "fieldlog.request_id": context.request_name,
        **known,
    }
