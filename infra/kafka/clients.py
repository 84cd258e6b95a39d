"""Clients of Kafka, as the settings say; every wait of theirs ends."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaConfigurationError

from infra.kafka.topics import LARGEST_RECORD
from infra.settings import Settings, SettingsError

PATIENCE_MS = 10_000
# A second of silence from a broker that is there is long; the relay then begins anew rather than wait.
REQUEST_MS = 5_000
# All rows of a large organisation may come at one position, and then travel in one transaction.
DELIVERY_MS = 120_000


def _common(settings: Settings, request_ms: int = PATIENCE_MS) -> dict[str, Any]:
    options = json.loads(settings.kafka_options.get_secret_value())
    return {
        "bootstrap_servers": settings.need("kafka_bootstrap_servers").split(","),
        "bootstrap_timeout_ms": PATIENCE_MS,
        "request_timeout_ms": request_ms,
        "reconnect_backoff_max_ms": 1_000,
        **options,
    }


def producer(settings: Settings, transactional_id: str) -> KafkaProducer:
    """Return a producer for one writer at a time: whoever began before it, with this id, is fenced."""
    return _made(
        KafkaProducer,
        **_common(settings, REQUEST_MS),
        transactional_id=transactional_id,
        acks="all",
        batch_size=256 * 1024,
        max_request_size=LARGEST_RECORD,
        max_block_ms=PATIENCE_MS,
        delivery_timeout_ms=DELIVERY_MS,
        transaction_timeout_ms=DELIVERY_MS + 6 * PATIENCE_MS,
        retry_backoff_ms=5,
        allow_auto_create_topics=False,
        metrics_enabled=False,
    )


def consumer(settings: Settings) -> KafkaConsumer:
    """Return a consumer of what is committed, which keeps no offsets; `assigned` gives it partitions."""
    return _made(
        KafkaConsumer,
        **_common(settings),
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        allow_auto_create_topics=False,
        metrics_enabled=False,
    )


def admin(settings: Settings) -> KafkaAdminClient:
    """Return a client that makes and lists topics."""
    return _made(KafkaAdminClient, **_common(settings))


def _made(kind: Any, **options: Any) -> Any:
    try:
        return kind(**options)
    except (AssertionError, KafkaConfigurationError, TypeError, ValueError) as error:
        raise SettingsError(f"FIELDLOG_KAFKA_OPTIONS or KAFKA_BOOTSTRAP_SERVERS: {error}") from error


def assigned(client: KafkaConsumer, topics: Iterable[str]) -> list[TopicPartition]:
    """Let a consumer read every partition of those of these topics that exist; return the partitions."""
    there = client.topics()
    partitions = [
        TopicPartition(topic, number)
        for topic in topics
        if topic in there
        for number in client.partitions_for_topic(topic)
    ]
    client.assign(partitions)
    return partitions
