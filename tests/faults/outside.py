"""What is outside once all is well again: a consumer of Kafka has what is here, and Redis nothing that stays."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import Any

import redis

from infra.redis.boards import Entry
from infra.redis.presence import LIFE_S
from infra.settings import Settings
from tests.kafka.published import assert_topics_equal_tables, facts, wait_until_published
from tests.running import until
from tests.views.house import head, rows_of

LOG = """select notification_id, originator_id::text, originator_version, topic, convert_from(state, 'UTF8')
           from fieldlog.log order by notification_id"""
LONGEST_ANSWER_S = 60


def kafka_has_what_is_here(settings: Settings) -> None:
    """Check that what a consumer of what is committed has is the log, and the tables, and that the relay says so."""
    record = wait_until_published(settings)
    assert {record.log, *(one.position for one in record.views.values())} == {head(settings)}, record
    _facts_are_the_log(settings)
    assert_topics_equal_tables(settings)


def _facts_are_the_log(settings: Settings) -> None:
    """Check that every position is there once, as the log has it, and that each record's facts are in order without a gap."""
    published = facts(settings)
    counted = Counter(int(one.attributes["position"]) for one in published)
    assert [position for position, times in counted.items() if times > 1] == [], "a position came twice"
    stored = {row[0]: row[1:] for row in rows_of(settings.need("projector_url"), LOG)}
    assert counted.keys() == stored.keys(), f"missing: {sorted(stored.keys() - counted.keys())[:20]}"
    sequences: dict[str, list[int]] = defaultdict(list)
    for one in published:
        said = one.attributes
        originator, version, topic, state = stored[int(said["position"])]
        assert (one.key, said["sequence"], said["type"], one.value) == (
            originator,
            str(version),
            topic,
            json.loads(state),
        ), said
        assert said["id"] == f"{originator}.{version}"
        sequences[one.key].append(version)
    for key, numbers in sequences.items():
        assert numbers == list(range(1, len(numbers) + 1)), f"{key} is out of order"


def redis_holds_nothing_for_ever(settings: Settings) -> None:
    """Check that answers and limits have a time to live, that what stands on boards ends, and that locks are soon gone."""
    with redis.Redis.from_url(str(settings.redis())) as client:
        lives = {"locks": settings.lock_seconds, "presence": LIFE_S}
        for key in client.scan_iter():
            name, kind = key.decode(), key.decode().split(":")[1]
            if kind in lives:
                assert all(left <= lives[kind] for left in _left(client, name)), name
            elif kind == "tokens":
                assert client.type(key) == b"string", name  # one number for an organisation
            else:
                assert client.ttl(key) in range(max(LONGEST_ANSWER_S, settings.limit_window_seconds) + 1), name
        until(
            lambda: not any(max(_left(client, name), default=0) > 0 for name in client.keys("fieldlog:locks:*")) or None
        )


def _left(client: Any, board: str | bytes) -> list[float]:
    """Return how many seconds each entry of a board has left."""
    seconds, micros = client.time()
    entries = [Entry.of(key.decode(), text) for key, text in client.hgetall(board).items()]
    return [entry.ends / 1000 - seconds - micros / 1e6 for entry in entries]
