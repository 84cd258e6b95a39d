"""The whole system in one document, from the catalogs: every stream, verb, fact, refusal, role, view and topic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from inspect import cleandoc
from typing import Any

from commands.catalog import COMMANDS
from commands.reactions import TIMERS, reactions
from domain.catalog import STREAMS, STREAMS_BY_CONTEXT
from domain.kernel import COMMON_FACTS
from infra.kafka.topics import Topics
from projections.catalog import CONTEXTS


def describe() -> Mapping[str, Any]:
    """Return the system as plain data, in a fixed order."""
    return {
        "streams": {
            name: {
                "facts": {topic: [one.name for one in fields(fact)] for topic, fact in stream.facts.items()},
                "commands": {
                    verb: {
                        "command": command.__name__,
                        "what for": cleandoc(command.__doc__ or ""),
                        "body": list(command.model_fields),
                        "roles": sorted(command.allows),
                        "refusals": [refused.__name__ for refused in command.refuses],
                        "creates": command.creates,
                        "needs version": command.needs_version,
                        "by hand": command.by_hand,
                    }
                    for verb, command in COMMANDS.get(name, {}).items()
                },
            }
            for name, stream in STREAMS.items()
        },
        "common facts": {topic: [one.name for one in fields(fact)] for topic, fact in COMMON_FACTS.items()},
        "reactions": {one.name: f"when {one.fact.__name__} on {one.stream.name}" for one in reactions()},
        "timers": {one.name: f"when due in {one.context}" for one in TIMERS},
        "views": {
            context.name: {
                "version": context.version,
                "views": {
                    view.name: {
                        "key": list(view.key),
                        "fields": [one.name for one in fields(view.row)],
                        "filters": list(view.filters),
                        "facts": sorted(
                            topic
                            for stream, folds in view.folds.items()
                            for topic, fact in stream.facts.items()
                            if fact in folds
                        ),
                    }
                    for view in context.views
                },
            }
            for context in CONTEXTS.values()
        },
        "topics": _topics(Topics()),
    }


def _topics(topics: Topics) -> Mapping[str, str]:
    """Return what each topic carries."""
    facts = {
        topics.facts(context): f"facts of {', '.join(stream.name for stream in streams)}"
        for context, streams in STREAMS_BY_CONTEXT.items()
    }
    rows = {
        topics.view(view.name, context.version): f"rows of {view.name}"
        for context in CONTEXTS.values()
        for view in context.views
    }
    return {**facts, **rows, topics.relay: "how far all of it is published"}
