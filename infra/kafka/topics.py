"""The topics: their names, and which facts and rows they carry."""

from __future__ import annotations

from collections.abc import Mapping

from domain.catalog import STREAMS_BY_CONTEXT
from projections.kernel import Context, View

RELAY_TOPIC = "fieldlog.relay"
FACTS_TOPICS: Mapping[str, str] = {
    stream.name: f"fieldlog.facts.{context}" for context, streams in STREAMS_BY_CONTEXT.items() for stream in streams
}


def view_topic(context: Context, view: View) -> str:
    """Return the topic of a view's rows; each version of its context has topics of its own."""
    return f"fieldlog.views.{view.name}.v{context.version}"
