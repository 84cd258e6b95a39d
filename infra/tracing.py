"""Traces (OpenTelemetry) from a request through log, views, reactions and relay, sent where OTEL_EXPORTER_OTLP_ENDPOINT says.

Each fact is stored with the `traceparent` of its command. What is made of facts later, many at once, is a trace of its own
with links to theirs. Without an endpoint nothing is measured, and a traceparent that came in is handed on as it is.
"""

from __future__ import annotations

import os
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import islice
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    Tracer,
)

from infra.settings import Settings

TRACEPARENT = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
MOST_LINKS = 32
LAST_SPANS_S = 2.0
_OFF = nullcontext(INVALID_SPAN)
_NOT_SAMPLED = NonRecordingSpan(SpanContext(1, 1, is_remote=False))
_tracer: Tracer | None = None


class Traced(NamedTuple):
    """A request's place in its trace; `span` measures it, if that is wanted."""

    span: Span
    trace_id: str
    traceparent: str

    @property
    def sampled(self) -> bool:
        """Say whether somebody collects this trace."""
        return bool(int(self.traceparent[-2:], 16) & TraceFlags.SAMPLED)


@contextmanager
def exporting(settings: Settings, service: str) -> Iterator[None]:
    """Measure and send spans meanwhile, if the settings say where to. What cannot be sent in time is dropped."""
    global _tracer  # noqa: PLW0603
    if settings.otel_exporter_otlp_endpoint is None or os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true":
        yield
        return
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from infra.sampling import sampler

    name = os.environ.get("OTEL_SERVICE_NAME", f"fieldlog-{service}")
    processor = BatchSpanProcessor(OTLPSpanExporter(f"{settings.otel_exporter_otlp_endpoint.rstrip('/')}/v1/traces"))
    resource = Resource.create({"service.name": name})
    provider = TracerProvider(sampler=sampler(), resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    _tracer = provider.get_tracer("fieldlog")
    try:
        yield
    finally:
        _tracer = None
        processor._batch_processor.shutdown(timeout_millis=int(LAST_SPANS_S * 1000))  # its own takes up to 30 s


def on() -> bool:
    """Say whether spans are measured."""
    return _tracer is not None


def begin(incoming: bytes | None) -> Traced:
    """Return the place of a request that begins, after the traceparent that came with it."""
    came = TRACEPARENT.fullmatch(incoming.decode("latin-1")) if incoming is not None else None
    if _tracer is not None:
        parent = Context() if came is None else trace.set_span_in_context(NonRecordingSpan(_context(came)), Context())
        span = _tracer.start_span("request", parent, SpanKind.SERVER)
        context = span.get_span_context()
        return Traced(span, f"{context.trace_id:032x}", _traceparent(context))
    if came is not None:
        return Traced(INVALID_SPAN, came[1], came[0])
    # Trace ids tell requests apart and guard nothing; asking the system for each costs more than all else here.
    trace_id = f"{random.getrandbits(128):032x}"
    return Traced(INVALID_SPAN, trace_id, f"00-{trace_id}-{random.getrandbits(64):016x}-00")


def within(span: Span) -> AbstractContextManager[Span]:
    """Let what is measured in the block be a part of a span."""
    return _OFF if span is INVALID_SPAN else trace.use_span(span)


def span(name: str, attributes: Mapping[str, Any] | None = None) -> AbstractContextManager[Span]:
    """Measure a block as a part of what is measured around it. Exceptions are answers here, and no errors."""
    if _tracer is None:
        return _OFF
    return _tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    )


def batch(
    name: str,
    traceparents: Iterable[str | None],
    attributes: Mapping[str, Any] | None = None,
    kind: SpanKind = SpanKind.CONSUMER,
) -> AbstractContextManager[Span]:
    """Measure work on what several traces led to: in a trace of its own with links to those of them that are sampled."""
    if _tracer is None:
        return _OFF
    links = list(islice(_links(traceparents), MOST_LINKS))
    if not links:
        return trace.use_span(_NOT_SAMPLED)
    return _tracer.start_as_current_span(name, Context(), kind, attributes, links)


def traceparent() -> str | None:
    """Return the traceparent of what is measured here, if it is sampled."""
    if _tracer is None:
        return None
    context = trace.get_current_span().get_span_context()
    return _traceparent(context) if context.trace_flags.sampled else None


def end(span: Span, name: str, attributes: Mapping[str, Any], *, failed: bool) -> None:
    """End the span of a request with what is known of it by then."""
    span.update_name(name)
    span.set_attributes(attributes)
    if failed:
        span.set_status(Status(StatusCode.ERROR))
    span.end()


def _links(traceparents: Iterable[str | None]) -> Iterator[Link]:
    for one in dict.fromkeys(traceparents):
        came = TRACEPARENT.fullmatch(one) if one is not None else None
        if came is not None and int(came[3], 16) & TraceFlags.SAMPLED:
            yield Link(_context(came))


def _context(came: re.Match[str]) -> SpanContext:
    flags = TraceFlags(int(came[3], 16) & TraceFlags.SAMPLED)
    return SpanContext(int(came[1], 16), int(came[2], 16), is_remote=True, trace_flags=flags)


def _traceparent(context: SpanContext) -> str:
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
