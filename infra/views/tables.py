"""Tables of views: their columns from the rows' types, the statements that make, write and read them.

Each build of a context has a schema of its own, in which each view is a table, `changes` keeps every former state of every
row, and `moved` says where each tenant's rows changed last.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass, fields
from datetime import date, datetime
from decimal import Decimal
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
from psycopg import sql

from infra.arrays import Array, Bools, Dates, Floats, Int8s, Jsonbs, Texts, Times, Uuids
from projections.kernel import Context, Key, View

encode = msgspec.json.Encoder(decimal_format="string", uuid_format="canonical").encode
READER, PROJECTOR = "fieldlog_reader", "fieldlog_projector"


@dataclass(frozen=True)
class Column:
    """A column: its SQL type, how values travel, and what else holds for it."""

    name: str
    kind: str
    array: type[Array]
    send: Callable[[Any], Any] | None = None
    check: tuple[str, ...] = ()
    nullable: bool = True


_KINDS: dict[type, tuple[str, type[Array], Callable[[Any], Any] | None]] = {
    str: ("text", Texts, None),
    int: ("bigint", Int8s, None),
    float: ("double precision", Floats, None),
    bool: ("boolean", Bools, None),
    Decimal: ("numeric", Texts, str),
    datetime: ("timestamptz", Times, None),
    date: ("date", Dates, None),
    UUID: ("uuid", Uuids, None),
}


def _column(name: str, hint: Any) -> Column:
    options = [kind for kind in get_args(hint) if kind is not NoneType] if _is_union(hint) else [hint]
    nullable = _is_union(hint) and NoneType in get_args(hint)
    kind = options[0]
    if get_origin(kind) is Literal:
        return Column(name, "text", Texts, None, get_args(kind), nullable)
    known = _KINDS.get(kind)
    if known is None or len(options) > 1:
        return Column(name, "jsonb", Jsonbs, encode, (), nullable)
    return Column(name, known[0], known[1], known[2], (), nullable)


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, UnionType)


class Table:
    """A view's table in any schema."""

    def __init__(self, view: View) -> None:
        self.view = view
        hints = get_type_hints(view.row)
        self.columns = [_column(one.name, hints[one.name]) for one in fields(view.row)]
        self.key = [column for column in self.columns if column.name in view.key]
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(view.row)

    def definition(self, schema: str) -> sql.Composed:
        """Return the statements that make the table, its orders and its row-level security."""
        table = sql.Identifier(schema, self.view.name)
        columns = [
            sql.SQL("tenant_id uuid not null"),
            *map(_definition, self.columns),
            sql.SQL("position bigint not null"),
        ]
        key = sql.SQL(", ").join(sql.Identifier(name) for name in ("tenant_id", *self.view.key))
        statements = [sql.SQL("create table {} ({}, primary key ({}))").format(table, sql.SQL(", ").join(columns), key)]
        for order in self.view.indexes:
            statements.append(sql.SQL("create index on {} (tenant_id, {})").format(table, sql.SQL(order)))
        return sql.SQL(";\n").join([*statements, secured(schema, self.view.name)])

    @cache  # noqa: B019
    def upsert(self, schema: str) -> sql.Composed:
        """Return the statement that writes rows: tenants, each column, and the position, as arrays (the last as one value)."""
        names = [sql.Identifier(column.name) for column in self.columns]
        sent = [sql.SQL("u.{}{}").format(sql.Identifier(column.name), _cast(column)) for column in self.columns]
        replaced = [name for column, name in zip(self.columns, names, strict=True) if column not in self.key]
        replaced.append(sql.Identifier("position"))
        return sql.SQL(
            "insert into {table} (tenant_id, {names}, position) select u.tenant_id, {sent}, %b "
            "from unnest({arrays}) u(tenant_id, {names}) on conflict (tenant_id, {key}) do update set {replaced}"
        ).format(
            table=sql.Identifier(schema, self.view.name),
            names=sql.SQL(", ").join(names),
            sent=sql.SQL(", ").join(sent),
            arrays=sql.SQL(", ").join([sql.SQL("%b")] * (len(names) + 1)),
            key=sql.SQL(", ").join(sql.Identifier(name) for name in self.view.key),
            replaced=sql.SQL(", ").join(sql.SQL("{0} = excluded.{0}").format(name) for name in replaced),
        )

    def upserted(self, rows: Sequence[tuple[UUID, Any]], position: int) -> list[object]:
        """Return the parameters of the upsert of these rows."""
        return [position, Uuids([tenant for tenant, _ in rows]), *(_sent(column, rows) for column in self.columns)]

    @cache  # noqa: B019
    def delete(self, schema: str) -> sql.Composed:
        """Return the statement that deletes rows by tenants and keys, as arrays."""
        return sql.SQL("delete from {table} t using unnest({arrays}) k(tenant_id, {names}) where {same}").format(
            table=sql.Identifier(schema, self.view.name),
            arrays=sql.SQL(", ").join([sql.SQL("%b")] * (len(self.view.key) + 1)),
            names=sql.SQL(", ").join(sql.Identifier(column.name) for column in self.key),
            same=self._same("t", "k"),
        )

    @cache  # noqa: B019
    def select(self, schema: str) -> sql.Composed:
        """Return the statement that reads rows by tenants and keys, as arrays: number of the key, position, row as JSON."""
        return sql.SQL(
            "select k.n, t.position, (to_jsonb(t) - 'tenant_id' - 'position')::text "
            "from unnest({arrays}) with ordinality k(tenant_id, {names}, n) join {table} t on {same}"
        ).format(
            table=sql.Identifier(schema, self.view.name),
            arrays=sql.SQL(", ").join([sql.SQL("%b")] * (len(self.view.key) + 1)),
            names=sql.SQL(", ").join(sql.Identifier(column.name) for column in self.key),
            same=self._same("t", "k"),
        )

    def keyed(self, keys: Sequence[tuple[UUID, Key]]) -> list[object]:
        """Return the parameters that name these rows."""
        arrays: list[object] = [Uuids([tenant for tenant, _ in keys])]
        for column in self.key:
            place = list(self.view.key).index(column.name)
            arrays.append(column.array([key[place] for _, key in keys]))
        return arrays

    def read(self, stored: str) -> Any:
        """Return a row from its JSON."""
        return self._decoder.decode(stored)

    def was(self, row: Any) -> bytes | None:
        """Return the values of a row by which live subscribers filter, as JSON."""
        return encode({name: getattr(row, name) for name in self.view.filters}) if row is not None else None

    def _same(self, left: str, right: str) -> sql.Composed:
        names = [sql.Identifier("tenant_id"), *(sql.Identifier(column.name) for column in self.key)]
        pairs = [sql.SQL("{}.{} = {}.{}").format(sql.SQL(left), name, sql.SQL(right), name) for name in names]
        return sql.SQL(" and ").join(pairs)


EVERYBODY = "*"
MOST_NAMED = 100  # a notification has at most 8000 bytes


def whose(tenants: Set[UUID]) -> str:
    """Return whose rows a batch changed, as it is notified: ids with commas between them, or `*`."""
    return ",".join(map(str, tenants)) if len(tenants) <= MOST_NAMED else EVERYBODY


def key_text(key: Key) -> str:
    """Return a row's key as one text."""
    return "/".join(str(part) for part in key)


def schema_of(context: str, build: int) -> str:
    """Return the name of the schema of a build."""
    return f"{context}_{build}"


def definition(context: Context, build: int) -> sql.Composed:
    """Return the statements that make all tables of a build."""
    schema = schema_of(context.name, build)
    name = sql.Identifier(schema)
    statements: list[sql.Composable] = [sql.SQL("create schema {}").format(name)]
    statements += [Table(view).definition(schema) for view in context.views]
    statements.append(
        sql.SQL(
            """create table {0}.changes (
                   tenant_id uuid not null, view text not null, position bigint not null, key text not null,
                   data jsonb, was jsonb, until bigint, primary key (tenant_id, view, position, key));
               create index on {0}.changes (tenant_id, view, key) where data is null and until is null;
               create table {0}.moved (tenant_id uuid primary key, position bigint not null)"""
        ).format(name)
    )
    statements += [secured(schema, "changes"), secured(schema, "moved")]
    statements.append(
        sql.SQL(
            """grant usage on schema {0} to {reader}, {projector};
               grant select on all tables in schema {0} to {reader};
               grant select, insert, update, delete on all tables in schema {0} to {projector};
               select fieldlog.show_to_relay({1})"""
        ).format(name, sql.Literal(schema), reader=sql.Identifier(READER), projector=sql.Identifier(PROJECTOR))
    )
    return sql.SQL(";\n").join(statements)


def secured(schema: str, table: str) -> sql.Composed:
    """Return the statements that keep tenants apart in a table: readers see their own, the house sees all."""
    return sql.SQL(
        """alter table {0} enable row level security; alter table {0} force row level security;
           create policy house on {0} to current_user, {projector} using (true) with check (true);
           create policy tenant on {0} for select to {reader}
               using (tenant_id = (select nullif(current_setting('app.tenant', true), '')::uuid))"""
    ).format(sql.Identifier(schema, table), projector=sql.Identifier(PROJECTOR), reader=sql.Identifier(READER))


def _definition(column: Column) -> sql.Composed:
    parts = [sql.Identifier(column.name), sql.SQL(column.kind)]
    if not column.nullable:
        parts.append(sql.SQL("not null"))
    if column.check:
        allowed = sql.SQL(", ").join(map(sql.Literal, column.check))
        parts.append(sql.SQL("check ({} in ({}))").format(sql.Identifier(column.name), allowed))
    return sql.SQL(" ").join(parts)


def _cast(column: Column) -> sql.SQL:
    return sql.SQL("::numeric") if column.kind == "numeric" else sql.SQL("")


def _sent(column: Column, rows: Iterable[tuple[UUID, Any]]) -> Array:
    values = [getattr(row, column.name) for _, row in rows]
    if column.send is not None:
        values = [None if value is None else column.send(value) for value in values]
    return column.array(values)
