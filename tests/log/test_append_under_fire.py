"""The promise of the log, under fire: several write processes, conflicts, repeated commands, processes killed, connections
cut before and after the commit, slow commits. FIELDLOG_TEST_SEED repeats a run.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import psycopg
from psycopg.conninfo import conninfo_to_dict

from tests.conftest import Database
from tests.leaf import Stored, leaf
from tests.log.proxy import cutting

WRITERS = 3
COMMANDS = 400
SLOW_COMMITS = """
create function slow() returns trigger language plpgsql as $$
begin
    if random() < 0.02 then perform pg_sleep(0.03); end if;
    return null;
end $$;
create constraint trigger slow after insert on fieldlog.log deferrable initially deferred
    for each row execute function slow();
"""
ROWS = """select tenant_id, tenant_seq, originator_id, originator_version, recorded_at, occurred_at, command_id,
                 command_index, topic, stream, id, state, envelope, notification_id, leaf
            from fieldlog.log order by notification_id"""


@dataclass
class Tail:
    """A reader that follows the log by position and notes what it saw, in order."""

    url: str
    seen: list[tuple[int, bytes]] = field(default_factory=list)
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("listen fieldlog_log")
            last = False
            while True:
                after = self.seen[-1][0] if self.seen else 0
                found = connection.execute(
                    "select notification_id, leaf from fieldlog.log where notification_id > %s order by 1 limit 50",
                    [after],
                ).fetchall()
                self.seen += found
                if last and not found:
                    return
                last = self.stopped.is_set()
                if not found:
                    list(connection.notifies(timeout=0.2, stop_after=1))


@contextmanager
def tailing(url: str) -> Iterator[Tail]:
    """Follow the log meanwhile; at the end it has read to the end."""
    tail = Tail(url)
    thread = threading.Thread(target=tail.run)
    thread.start()
    yield tail
    tail.stopped.set()
    thread.join()


@dataclass
class Writer:
    """A write process that is started again until it has carried out all of its commands."""

    url: str
    seed: int
    acknowledged: list[dict[str, object]] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None
    kills: int = 0

    def run(self) -> None:
        while True:
            arguments = [sys.executable, "-m", "tests.log.writer", self.url, str(self.seed), str(COMMANDS)]
            with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as self.process:
                for line in self.process.stdout or ():
                    if line == "done\n":
                        return
                    if line.endswith("}\n"):
                        self.acknowledged.append(json.loads(line))

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kills += 1
            self.process.kill()


def run_under_fire(database: Database, seed: int) -> tuple[list[Writer], Tail]:
    """Let the writers work through a cutting proxy and kill them now and then, until all of them are done."""
    dice = random.Random(seed)
    directory = str(conninfo_to_dict(database.writer)["host"])
    with cutting(directory, one_in=60, seed=seed) as proxy, tailing(database.owner) as tail:
        writers = [Writer(database.writer.replace(directory, proxy.directory), seed * 100 + n) for n in range(WRITERS)]
        threads = [threading.Thread(target=writer.run) for writer in writers]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            for thread in threads:
                thread.join(timeout=dice.uniform(0.1, 0.5))
            victim = dice.choice(writers)
            if victim.kills < 3:
                victim.kill()
    assert proxy.cut_before
    assert proxy.cut_after
    assert any(writer.kills for writer in writers)
    return writers, tail


def test_what_was_acknowledged_is_there_once_and_in_order(database: Database) -> None:
    seed = int(os.environ.get("FIELDLOG_TEST_SEED", time.time_ns() % 100_000))
    print(f"FIELDLOG_TEST_SEED={seed}")
    with psycopg.connect(database.owner) as connection:
        connection.execute(SLOW_COMMITS)
    writers, tail = run_under_fire(database, seed)
    with psycopg.connect(database.owner) as connection:
        rows = connection.execute(ROWS).fetchall()

    assert [row[13] for row in rows] == list(range(1, len(rows) + 1)), "a position is missing"
    assert [row[1] for row in rows] == list(range(1, len(rows) + 1)), "the tenant's sequence has a gap"
    assert [row[4] for row in rows] == sorted(row[4] for row in rows), "the clock went backwards"
    assert tail.seen == [(row[13], row[14]) for row in rows], "a tailing reader saw something else than what committed"
    assert all(leaf(Stored(*row[:13])) == row[14] for row in rows)

    last: dict[UUID, dict[str, object]] = defaultdict(lambda: {"n": 0, "mark": ""})
    commands: dict[str, list[tuple[object, ...]]] = defaultdict(list)
    for row in rows:
        counted = json.loads(row[11])
        before, last[row[2]] = last[row[2]], counted
        assert (counted["n"], counted["after"]) == (row[3], before["mark"]), "decided on a state that was not so"
        commands[str(row[6])].append(row)
    acknowledged = [one for writer in writers for one in writer.acknowledged]
    assert len({one["command"] for one in acknowledged}) == WRITERS * COMMANDS, "a command has no answer"
    for one in acknowledged:
        stored = commands[str(one["command"])]
        if one["facts"]:
            assert len(stored) == one["facts"], "an acknowledged fact is missing or there twice"
            assert stored[-1][13] == one["position"]
