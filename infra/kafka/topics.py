"""The topics: their names, which facts and rows they carry, and how they are made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from domain.catalog import STREAMS_BY_CONTEXT
from infra.settings import Settings

if TYPE_CHECKING:  # the read API names topics and talks to no broker
    from kafka.admin import KafkaAdminClient

CONTEXT_OF: Mapping[str, str] = {
    stream.name: context for context, streams in STREAMS_BY_CONTEXT.items() for stream in streams
}
LARGEST_RECORD = 16 * 2**20
# What a person's row was before he was forgotten may be compacted after a day at the latest; else brokers may keep it for ever.
COMPACTED = {
    "cleanup.policy": "compact",
    "max.compaction.lag.ms": "86400000",
    "max.message.bytes": str(LARGEST_RECORD),
}
# The bookmark is written with every transaction and read at every start: it must stay short.
BOOKMARK = {**COMPACTED, "segment.ms": "600000", "min.cleanable.dirty.ratio": "0.1"}
KEPT = {
    "cleanup.policy": "delete",
    "retention.ms": "-1",
    "retention.bytes": "-1",
    **{"max.message.bytes": str(LARGEST_RECORD)},
}


@dataclass(frozen=True)
class Topics:
    """The names of all topics under a prefix."""

    prefix: str = "fieldlog"

    @property
    def relay(self) -> str:
        """The topic with how far the relay has published."""
        return f"{self.prefix}.relay"

    def facts(self, context: str) -> str:
        """Return the topic of the facts of a context's streams."""
        return f"{self.prefix}.facts.{context}"

    def view(self, view: str, version: int) -> str:
        """Return the topic of a view's rows; each version of its context has topics of its own."""
        return f"{self.prefix}.views.{view}.v{version}"

    def all_facts(self) -> list[str]:
        """Return the topics of all facts."""
        return [self.facts(context) for context in STREAMS_BY_CONTEXT]


class TopicMaker:
    """Makes topics that are missing, as the settings say; what exists is left as it is."""

    def __init__(self, admin: KafkaAdminClient, topics: Topics, settings: Settings) -> None:
        self._admin, self._topics, self._settings = admin, topics, settings
        self._known: set[str] = set(admin.list_topics())

    def ensure(self, names: Iterable[str]) -> list[str]:
        """Make those of these topics that are not there; return them."""
        missing = [name for name in dict.fromkeys(names) if name not in self._known]
        if missing:
            self._admin.create_topics({name: self._options(name) for name in missing}, wait_for_metadata=True)
            self._known |= {*missing}
        return missing

    def _options(self, name: str) -> dict[str, object]:
        bookmark = name == self._topics.relay
        kinds = {self._topics.relay: BOOKMARK, **dict.fromkeys(self._topics.all_facts(), KEPT)}
        return {
            "num_partitions": 1 if bookmark else self._settings.kafka_partitions,
            "replication_factor": self._settings.kafka_replication,
            "configs": kinds.get(name, COMPACTED),
        }
