"""A consumer of Kafka in a process of its own, for `bench live --kafka`: prints how long facts and rows took to arrive.

It reads what is committed, with a plain kafka-python consumer. A line on its standard input with the position after which
nothing is sent any more lets it end.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from datetime import datetime

from kafka import KafkaConsumer, TopicPartition

from infra.kafka.topics import Topics
from projections.catalog import CONTEXTS

POLL_MS = 200


def main(bootstrap: str, facts: str, rows: str) -> None:
    """Say `ready`, then note what comes, until all of it has come."""
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap, isolation_level="read_committed", enable_auto_commit=False, fetch_max_wait_ms=100
    )
    partitions = [TopicPartition(topic, n) for topic in (facts, rows) for n in consumer.partitions_for_topic(topic)]
    consumer.assign(partitions)
    consumer.seek_to_end(*partitions)
    for partition in partitions:
        consumer.position(partition)
    last: list[int] = []
    threading.Thread(target=lambda: last.append(int(sys.stdin.readline())), daemon=True).start()
    print("ready", flush=True)
    recorded: dict[tuple[str, int], float] = {}
    arrived: dict[tuple[str, int], float] = {}
    rows_arrived: dict[tuple[str, int], float] = {}
    position = {facts: 0, rows: 0}
    while not last or min(position.values()) < last[0]:
        for messages in consumer.poll(POLL_MS).values():
            now = time.time()
            for message in messages:
                headers = dict(message.headers)
                position[message.topic] = max(position[message.topic], int(headers["ce_position"]))
                tenant, subject = headers["ce_tenantid"].decode(), headers["ce_subject"].decode()
                if message.topic == facts:
                    fact = f"{tenant}/{subject}", int(headers["ce_sequence"])
                    recorded[fact] = datetime.fromisoformat(headers["ce_recordedat"].decode()).timestamp()
                    arrived[fact] = now
                else:
                    rows_arrived[f"{tenant}/trucks/{subject}", json.loads(message.value)["version"]] = now
    print(
        json.dumps(
            {
                "facts": [[recorded[fact], at - recorded[fact]] for fact, at in arrived.items()],
                "rows": [[recorded[row], at - recorded[row]] for row, at in rows_arrived.items() if row in recorded],
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], Topics().facts("trips"), Topics().view("trucks", CONTEXTS["trips"].version))
