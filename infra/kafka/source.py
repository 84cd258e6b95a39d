"""What the relay reads of PostgreSQL: facts, and what changed in the views that are served, as of one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import psycopg
from psycopg import sql

from infra.arrays import Int8s, Texts, Uuids
from infra.database import Connection
from infra.kafka.events import ChangedRow
from infra.views.reading import StoredFact
from infra.views.tables import schema_of

FACTS = b"""select notification_id, tenant_id, stream, id, originator_id, originator_version, topic, state,
                   occurred_at, recorded_at, envelope
              from fieldlog.log where notification_id > %b order by notification_id limit %b"""
# A tenant whose facts are parked stands where it was parked; its rows go on from there once it is readmitted.
SERVED = """select b.context, b.build, b.version, b.position,
                   array(select p.tenant_id from fieldlog.parked p where p.build = b.build order by 1),
                   array(select p.position - 1 from fieldlog.parked p where p.build = b.build order by p.tenant_id)
              from fieldlog.views v join fieldlog.builds b using (build) order by b.context"""
VIEWS = """select tablename from pg_tables where schemaname = %s and tablename not in ('changes', 'moved') order by 1"""
# By tenant and view, as `changes` is indexed; `moved` says which tenants it is worth asking for, and `offset 0` has each asked
# for by himself, where a join would read all that is kept. A change without data that has a successor was forgotten, or came
# back: the successor is published instead.
CHANGES = """select c.tenant_id, c.view, c.position, c.key, c.data::text
    from {schema}.moved m
    left join unnest(%b, %b) h(tenant_id, position) on h.tenant_id = m.tenant_id
    cross join unnest(%b) v(view)
    cross join lateral (
        select * from {schema}.changes c
         where c.tenant_id = m.tenant_id and c.view = v.view and c.position > coalesce(h.position, %b) and c.position <= %b
           and (c.data is not null or c.until is null) offset 0) c
    where m.position > coalesce(h.position, %b)
    order by c.position"""
# What was so at a position, in the order of the primary key.
ROWS_AT = """select c.tenant_id, c.view, c.position, c.key, c.data::text from {schema}.changes c
    where c.position <= %b and (c.until is null or c.until > %b) and c.data is not null
      and (c.tenant_id, c.view, c.position, c.key) > (%b, %b, %b, %b)
    order by c.tenant_id, c.view, c.position, c.key limit %b"""
FIRST = (UUID(int=0), "", -1, "")


class Served(NamedTuple):
    """The build of a context that readers see: how far it is, and where tenants stand whose facts are parked."""

    build: int
    version: int
    position: int
    held: Mapping[UUID, int]


class Source:
    """Reads over one connection; within a `with` block, everything is as of the same moment."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._views: dict[int, list[str]] = {}

    def __enter__(self) -> Source:
        self._connection.execute("begin isolation level repeatable read, read only")
        return self

    def __exit__(self, *_: object) -> None:
        if not self._connection.closed:
            self._connection.execute("rollback")

    def facts(self, after: int, limit: int) -> list[StoredFact]:
        """Return the facts after a position, in order."""
        rows = self._connection.execute(FACTS, [after, limit], binary=True).fetchall()
        return [StoredFact(*row) for row in rows]

    def recorded_after(self, position: int) -> datetime | None:
        """Return when the first fact after a position was recorded; None if there is none."""
        row = self._connection.execute("select fieldlog.recorded_after(%s)", [position]).fetchone()
        return row[0] if row is not None else None

    def head(self) -> int:
        """Return the position of the last fact."""
        row = self._connection.execute("select fieldlog.head()").fetchone()
        return int(row[0]) if row is not None else 0

    def has_facts(self, streams: Sequence[str], upto: int) -> bool:
        """Say whether there is a fact of these streams until a position."""
        statement = "select from fieldlog.log where notification_id <= %s and stream = any(%s) limit 1"
        return self._connection.execute(statement, [upto, list(streams)]).fetchone() is not None

    def served(self) -> dict[str, Served]:
        """Return the build of each context that readers see."""
        return {
            context: Served(build, version, position, dict(zip(tenants, positions, strict=True)))
            for context, build, version, position, tenants, positions in self._connection.execute(SERVED)
        }

    def views(self, context: str, build: int) -> Sequence[str]:
        """Return the names of the views of a build."""
        if build not in self._views:
            self._views[build] = [name for (name,) in self._connection.execute(VIEWS, [schema_of(context, build)])]
        return self._views[build]

    def changes(self, context: str, build: int, after: int, upto: int, held: Mapping[UUID, int]) -> list[ChangedRow]:
        """Return what changed after a position until another, in order; for some tenants, after a position of their own."""
        statement = CHANGES.replace("{schema}", _quoted(context, build)).encode()
        parameters = [Uuids(held), Int8s(held.values()), Texts(self.views(context, build)), after, upto, after]
        return [ChangedRow(*row) for row in self._connection.execute(statement, parameters, binary=True)]

    def rows_at(
        self, context: str, build: int, position: int, last: tuple[UUID, str, int, str], limit: int
    ) -> list[ChangedRow]:
        """Return rows as they were at a position, in the order of tenant, view, position and key, after the last one seen."""
        statement = ROWS_AT.replace("{schema}", _quoted(context, build)).encode()
        parameters = [position, position, *last, limit]
        return [ChangedRow(*row) for row in self._connection.execute(statement, parameters, binary=True)]


def _quoted(context: str, build: int) -> str:
    return sql.Identifier(schema_of(context, build)).as_string()


def is_gone(error: Exception) -> bool:
    """Say whether an error means that a build was dropped while it was read."""
    return isinstance(error, psycopg.errors.UndefinedTable | psycopg.errors.InvalidSchemaName)
