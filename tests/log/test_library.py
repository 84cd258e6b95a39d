"""The eventsourcing library's own test cases for recorders, run against our log."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from eventsourcing.tests.persistence import ApplicationRecorderTestCase, TrackingRecorderTestCase

from infra.database import connect
from infra.log.library import Bookmarks, Log, datastore
from tests.conftest import Database


class TestLog(ApplicationRecorderTestCase[Log]):
    """The published application case."""

    @pytest.fixture(autouse=True)
    def _database(self, database: Database) -> Iterator[None]:
        self.recorder = Log(datastore(database.writer), database.writer)
        yield
        self.recorder.close()

    def create_recorder(self) -> Log:
        return self.recorder

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestBookmarks(TrackingRecorderTestCase):
    """The published tracking case."""

    @pytest.fixture(autouse=True)
    def _database(self, database: Database) -> Iterator[None]:
        with connect(database.writer, "test") as self.connection:
            yield

    def create_recorder(self) -> Bookmarks:
        return Bookmarks(self.connection)
