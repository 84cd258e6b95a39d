"""Isolation: the reader's own login sees rows of one organisation at a time, whatever SQL it sends, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from domain.roles import Role
from projections.catalog import CONTEXTS
from tests.conftest import NEIGHBOUR, TENANT
from tests.views.haulage import Day
from tests.views.house import Connection, House, rows_of, served_schema, superuser, wait_until_folded
from tests.views.scrutineering import scrutineering

STRANGER = UUID("0192f000-0000-7000-8000-00000000000f")
WITHOUT_TENANTS = {"fieldlog.migrations", "fieldlog.bookmarks", "fieldlog.builds", "fieldlog.views"}
UNSEEN = {"fieldlog.keys", "fieldlog.parked_causes"}
TABLES = """select n.nspname || '.' || c.relname,
        exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'tenant_id' and not a.attisdropped),
        c.relrowsecurity and c.relforcerowsecurity,
        array(select p.polcmd::text || ' ' || pg_get_expr(p.polqual, p.polrelid) from pg_policy p
               where p.polrelid = c.oid and 'fieldlog_reader'::regrole = any(p.polroles)),
        has_table_privilege('fieldlog_reader', c.oid, 'select'),
        has_table_privilege('fieldlog_reader', c.oid, 'insert, update, delete, truncate')
            or has_any_column_privilege('fieldlog_reader', c.oid, 'insert, update')
    from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f') and n.nspname not like 'pg\\_%%' and n.nspname <> 'information_schema'
    order by 1"""
ROUTINES = """select p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace
    where n.nspname not like 'pg\\_%%' and n.nspname <> 'information_schema'
      and has_function_privilege('fieldlog_reader', p.oid, 'execute') order by 1"""


@pytest.fixture(scope="module")
def two(shared_house: House) -> House:
    """A house with two organisations, in all of whose views are rows of both."""
    for tenant in (TENANT, NEIGHBOUR):
        with scrutineering(shared_house, shared_house.person(Role.ADMIN, tenant=tenant)) as paddock:
            paddock.whole()
        Day(shared_house.office(tenant)).whole()
    wait_until_folded(shared_house.settings)
    return shared_house


@contextmanager
def reader(house: House, tenant: UUID | str | None = None) -> Iterator[Connection]:
    """Log in as the reader, with an organisation set as the read API sets it, or with none."""
    with psycopg.connect(house.settings.need("reader_url"), autocommit=True) as connection:
        if tenant is not None:
            connection.execute("select set_config('app.tenant', %s, false)", [str(tenant)])
        yield connection


def readable(house: House) -> list[str]:
    """Name every table with rows of organisations that the reader may ask."""
    found = rows_of(superuser(house.settings), TABLES)
    return [name for name, of_tenants, _, _, may_select, _ in found if of_tenants and may_select]


def tenants_in(connection: Connection, table: str) -> set[UUID]:
    """Return whose rows are seen in a table."""
    name = sql.Identifier(*table.split("."))
    return {tenant for (tenant,) in connection.execute(sql.SQL("select distinct tenant_id from {}").format(name))}


def test_every_table_with_rows_of_organisations_is_behind_row_level_security(two: House) -> None:
    found = {row[0]: row[1:] for row in rows_of(superuser(two.settings), TABLES)}
    views = {f"{served_schema(two.settings, name)}.{view.name}" for name, c in CONTEXTS.items() for view in c.views}
    assert views <= found.keys()
    assert {"fieldlog.log", "fieldlog.keys", "fieldlog.parked"} <= found.keys()
    for name, (of_tenants, forced, policies, may_select, may_write) in found.items():
        assert not may_write, f"the reader may write {name}"
        assert of_tenants is (name not in WITHOUT_TENANTS), name
        if name in UNSEEN:
            assert not may_select, name
        elif of_tenants:
            assert forced, f"{name} does not force row-level security"
            [policy] = policies
            assert policy.startswith("r ")
            assert "tenant_id = " in policy
            assert "current_setting('app.tenant'" in policy


def test_the_logins_are_no_superusers_and_own_nothing(two: House) -> None:
    roles = rows_of(
        superuser(two.settings),
        """select rolsuper or rolbypassrls or rolcreaterole or rolcreatedb or rolreplication,
                  exists (select from pg_class c where c.relowner = r.oid),
                  exists (select from pg_auth_members m where m.member = r.oid)
             from pg_roles r where rolname in ('fieldlog_reader', 'fieldlog_writer', 'fieldlog_projector')""",
    )
    assert roles == [(False, False, False)] * 3
    assert [name for (name,) in rows_of(superuser(two.settings), ROUTINES)] == ["head", "recorded_after"]


def test_no_answer_of_the_reader_takes_longer_than_ten_seconds(two: House) -> None:
    assert rows_of(two.settings.need("reader_url"), "show statement_timeout") == [("10s",)]


def test_the_reader_sees_rows_of_the_organisation_that_is_set_and_of_none_if_none_is(two: House) -> None:
    tables = readable(two)
    assert len(tables) >= sum(len(context.views) for context in CONTEXTS.values()) + 2
    empty = {"fieldlog.parked"}
    for table in tables:
        for tenant in (TENANT, NEIGHBOUR):
            with reader(two, tenant) as connection:
                assert tenants_in(connection, table) == ({tenant} - {tenant if table in empty else None}), table
        for nobody in (None, "", STRANGER):
            with reader(two, nobody) as connection:
                assert tenants_in(connection, table) == set(), (table, nobody)


@pytest.mark.parametrize(
    "statement",
    [
        "select t.tenant_id from {schema}.trips t where t.tenant_id = '{other}'",
        "select t.tenant_id from {schema}.trips t join {schema}.drivers d on d.id = t.driver_id",
        "select d.tenant_id from {schema}.trips t join {schema}.drivers d on d.id = t.driver_id",
        "select d.tenant_id from {schema}.trips t cross join {schema}.drivers d",
        "select l.tenant_id from {schema}.trucks t full join fieldlog.log l on l.id = t.id and l.stream = 'trucks'",
        "select tenant_id from {schema}.changes union all select tenant_id from fieldlog.log",
        "with recursive r(tenant_id) as (select tenant_id from {schema}.pay union select tenant_id from {schema}.stops)"
        " select * from r",
        "select t.tenant_id from {schema}.trucks t, lateral (select 1 / (t.tenant_id = '{other}')::int) s"
        " where t.tenant_id = '{other}'",
    ],
)
def test_no_join_reaches_into_another_organisation(two: House, statement: str) -> None:
    text = statement.format(schema=served_schema(two.settings), other=NEIGHBOUR)
    with reader(two, TENANT) as connection:
        seen = {tenant for (tenant,) in connection.execute(text.encode())}
    assert seen <= {TENANT, None}
    with reader(two) as connection:
        assert connection.execute(text.encode()).fetchall() == []


def test_row_level_security_cannot_be_switched_off(two: House) -> None:
    trips = f"select from {served_schema(two.settings)}.trips"
    with reader(two, TENANT) as connection:
        connection.execute("set row_security = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            connection.execute(trips.encode())
    for stronger in ("fieldlog_projector", "fieldlog_writer", "postgres"):
        with reader(two) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"set role {stronger}".encode())


def test_an_organisation_that_is_set_for_a_request_does_not_outlive_it(two: House) -> None:
    office, neighbour = two.office(), two.office(NEIGHBOUR)
    mine, theirs = office.whole("/trips"), neighbour.whole("/trips")
    assert mine
    assert theirs
    for _ in range(20):  # more than there are connections
        assert office.get("/trips/good").status_code == neighbour.get("/trips/good").status_code == 200
    with psycopg.connect(two.settings.need("reader_url")) as connection:
        connection.execute("begin read only")
        connection.execute("select set_config('app.tenant', %s, true)", [str(TENANT)])
        connection.execute("commit")
        assert tenants_in(connection, f"{served_schema(two.settings)}.trips") == set()


@pytest.mark.parametrize(
    "statement",
    [
        "insert into {schema}.moved values ('{tenant}', 1)",
        "update {schema}.trucks set plate = 'x'",
        "delete from {schema}.changes",
        "truncate {schema}.trips",
        "insert into fieldlog.log select * from fieldlog.log",
        "update fieldlog.views set build = build",
        "delete from fieldlog.parked",
        "update fieldlog.bookmarks set position = 0",
        "select * from fieldlog.keys",
        "select * from fieldlog.parked_causes",
        "select fieldlog.move_bookmark(1, 0, 1)",
        "select fieldlog.switch_view(1)",
        "select fieldlog.destroy_daily_keys('{tenant}', '2100-01-01')",
        "create table {schema}.mine (id integer)",
        "create table public.mine (id integer)",
        "create schema mine",
        "drop table {schema}.trips",
    ],
)
def test_the_reader_changes_nothing_and_sees_no_key(two: House, statement: str) -> None:
    text = statement.format(schema=served_schema(two.settings), tenant=TENANT)
    errors: Any = (psycopg.errors.InsufficientPrivilege,)
    with reader(two, TENANT) as connection, pytest.raises(errors):
        connection.execute(text.encode())
