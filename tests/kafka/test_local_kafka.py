"""The broker of a local set-up."""

from __future__ import annotations

import os
import socket
from contextlib import closing
from pathlib import Path

from kafka.admin import KafkaAdminClient

from infra.settings import Settings
from tests.conftest import own_kafka


def topics_at(bootstrap: str) -> list[str]:
    """Return the topics of a broker."""
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as asking:
        return list(asking.list_topics())


def test_a_broker_whose_port_was_taken_meanwhile_has_its_topics_at_another(tmp_path: Path) -> None:
    with own_kafka(tmp_path) as kafka:
        before = kafka.bootstrap
        with closing(KafkaAdminClient(bootstrap_servers=before)) as making:
            making.create_topics({"trips": {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)
        kafka.stop()
        with socket.create_server(("127.0.0.1", int(before.rpartition(":")[2]))):
            kafka.start(Settings.from_environment().maven_url)
            assert kafka.bootstrap != before
            assert "trips" in topics_at(kafka.bootstrap)


def test_a_process_that_has_got_the_number_of_a_broker_is_not_taken_for_it(tmp_path: Path) -> None:
    with own_kafka(tmp_path) as kafka:
        kafka.kill()
        (tmp_path / "kafka.pid").write_text(str(os.getpid()))
        assert not kafka.running()
        assert kafka.start(Settings.from_environment().maven_url)
