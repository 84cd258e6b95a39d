"""The log is append-only: the database refuses everybody, and a fact that would land on somebody else's stream."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID

import psycopg
import pytest
from psycopg import errors

from infra.log.batcher import Append, Batcher, Lineage, NewFact, Read
from infra.log.identity import StreamKey, random_command_id, stream_key
from tests.conftest import NEIGHBOUR, TENANT, Database

CHANGES = ["update fieldlog.log set state = ''", "delete from fieldlog.log", "truncate fieldlog.log"]
LOGINS = ["writer", "projector", "reader", "relay"]
KEY = stream_key(TENANT, "trucks", "T-1")


def append(database: Database, key: StreamKey, version: int = 0) -> int:
    """Append a fact to a stream as a write process would; return the kind of answer."""

    async def story() -> int:
        batcher = Batcher(database.writer)
        fact = NewFact(key, "trucks.activated.v1", b"{}", b"{}", datetime.now(UTC))
        asked = Append(
            random_command_id(), [Read(key, version, Lineage())], [fact], asyncio.get_running_loop().create_future()
        )
        batcher.put(asked)
        try:
            return (await asked.answer).kind
        finally:
            await batcher.stop()

    return asyncio.run(story())


@pytest.mark.parametrize("change", CHANGES)
def test_triggers_refuse_even_the_owner_and_the_superuser(database: Database, change: str) -> None:
    append(database, KEY)
    for url in (database.owner, database.owner.replace("fieldlog_owner@", "postgres@")):
        with psycopg.connect(url) as connection, pytest.raises(psycopg.Error) as refused:
            connection.execute(change.encode())
        assert refused.value.sqlstate == "FL002"


@pytest.mark.parametrize("change", [*CHANGES, "insert into fieldlog.log select * from fieldlog.log"])
@pytest.mark.parametrize("login", LOGINS)
def test_no_login_may_change_the_log_or_write_to_it_itself(database: Database, login: str, change: str) -> None:
    with psycopg.connect(getattr(database, login)) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(change.encode())


@pytest.mark.parametrize("login", ["projector", "reader"])
def test_only_the_writer_may_append(database: Database, login: str) -> None:
    nothing = ", ".join(["'{}'"] * 11)
    with psycopg.connect(getattr(database, login)) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(f"select fieldlog.append({nothing})".encode())


def test_the_reader_may_not_see_keys(database: Database) -> None:
    with psycopg.connect(database.reader) as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute("select from fieldlog.keys")


def test_the_reader_sees_the_facts_of_one_tenant_alone(database: Database) -> None:
    append(database, KEY)
    append(database, stream_key(NEIGHBOUR, "trucks", "T-1"))
    seen: dict[UUID | None, list[UUID]] = {}
    with psycopg.connect(database.reader) as connection:
        for tenant in (None, TENANT, NEIGHBOUR):
            if tenant is not None:
                connection.execute("select set_config('app.tenant', %s, true)", [str(tenant)])
            seen[tenant] = [found for (found,) in connection.execute("select tenant_id from fieldlog.log")]
            connection.rollback()
    assert seen == {None: [], TENANT: [TENANT], NEIGHBOUR: [NEIGHBOUR]}


@pytest.mark.parametrize(
    "stranger",
    [KEY._replace(tenant_id=NEIGHBOUR), KEY._replace(stream="drivers"), KEY._replace(id="T-2")],
    ids=["tenant", "stream", "id"],
)
def test_a_fact_of_somebody_else_does_not_land_on_a_stream(database: Database, stranger: StreamKey) -> None:
    append(database, KEY)
    with pytest.raises(psycopg.Error) as refused:
        append(database, stranger, version=1)
    assert refused.value.sqlstate == "FL001"
    with psycopg.connect(database.owner) as connection:
        assert connection.execute("select count(*) from fieldlog.log").fetchone() == (1,)
