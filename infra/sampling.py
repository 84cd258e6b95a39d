"""Which spans are collected; apart from `tracing`, so that who collects none need not load the SDK."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult, _get_from_env_or_default
from opentelemetry.trace import Link, SpanKind, TraceState
from opentelemetry.util.types import Attributes


class _Caused(Sampler):
    """Collects what is linked to something that is collected; anything else as another sampler says."""

    def __init__(self, otherwise: Sampler) -> None:
        self._otherwise = otherwise

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide on a span that begins."""
        if links:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, trace_state)
        return self._otherwise.should_sample(parent_context, trace_id, name, kind, attributes, links)

    def get_description(self) -> str:
        """Say what this is."""
        return f"Caused({self._otherwise.get_description()})"


def sampler() -> Sampler:
    """Return the sampler that OTEL_TRACES_SAMPLER names (by default: what the caller samples, and all that nobody called
    for), for whatever has no cause of its own.
    """
    return _Caused(_get_from_env_or_default())
