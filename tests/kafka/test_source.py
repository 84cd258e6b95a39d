"""What the relay reads of PostgreSQL is found by index, however much there is, and it reads nothing else."""

from __future__ import annotations

import psycopg
import pytest

from infra.arrays import Int8s, Texts, Uuids
from infra.database import connect
from infra.kafka.source import CHANGES, FIRST, ROWS_AT, Source
from tests.conftest import Database

LAST = 20_000
FILLED = """insert into {0}.changes (tenant_id, view, position, key, data, until)
    select md5((i % 500)::text)::uuid, 'trucks', i, i % 2000, '{{}}', case when i + 2000 <= {1} then i + 2000 end
      from generate_series(1, {1}) i;
    insert into {0}.moved select tenant_id, max(position) from {0}.changes group by 1;
    analyze {0}.changes, {0}.moved"""


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("statement", [CHANGES, ROWS_AT])
def test_rows_are_found_by_index(database: Database, statement: str, mode: str) -> None:
    with psycopg.connect(database.projector, autocommit=True) as projector:
        [(build,)] = projector.execute("select build from fieldlog.views where context = 'trips'").fetchall()
        schema = f"trips_{build}"
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(FILLED.format(schema, LAST).encode())
    with connect(database.relay, "test") as connection, Source(connection) as source:
        views = Texts(source.views("trips", build))
        after = LAST - 5
        asked = [Uuids([]), Int8s([]), views, after, LAST, after] if statement == CHANGES else [LAST, LAST, *FIRST, 10]
        connection.execute(f"set local plan_cache_mode = {mode}".encode())
        explain = f"explain (costs off) {statement.replace('{schema}', schema)}".encode()
        plan = "\n".join(line for (line,) in connection.execute(explain, asked, binary=True))
    assert "Seq Scan on changes" not in plan
    assert "Index Scan using changes_pkey on changes" in plan


@pytest.mark.parametrize("hidden", ["error from fieldlog.parked", "wrapped from fieldlog.keys", "* from {}.drivers"])
def test_the_relay_reads_only_what_it_publishes(database: Database, hidden: str) -> None:
    with psycopg.connect(database.relay, autocommit=True) as relay:
        [(build,)] = relay.execute("select build from fieldlog.views where context = 'trips'").fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            relay.execute(f"select {hidden.format(f'trips_{build}')}".encode())
