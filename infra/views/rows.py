"""The rows that a runner has in memory, and how what changed of them is written once per batch."""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import sql

from infra.arrays import Int8s, Jsonbs, Texts, Uuids
from infra.database import Connection
from infra.views.tables import Table, encode, key_text
from projections.kernel import Context, Key, View

RowId = tuple[str, UUID, Key]


class Cached(NamedTuple):
    """A row and the position at which it changed last; both None if there is no such row."""

    row: Any
    position: int | None


NOTHING = Cached(None, None)


class Changed(NamedTuple):
    """What a batch changed of a row."""

    view: View
    tenant: UUID
    key: Key
    before: Cached
    row: Any
    forget: bool


class Rows:
    """A bounded memory of rows over their tables. While it has held every row since an empty build, what it does not hold
    does not exist, and is never asked for.
    """

    def __init__(self, context: Context, schema: str, most_rows: int, *, complete: bool) -> None:
        self._tables = {view.name: Table(view) for view in context.views}
        self._schema, self._most_rows, self.complete = schema, most_rows, complete
        self._memory: OrderedDict[RowId, Cached] = OrderedDict()
        self._before: dict[RowId, Cached] = {}
        self._forget: set[RowId] = set()

    def reader(self, connection: Connection) -> Callable[[View, UUID, Key], Any]:
        """Return a function that reads a row, from memory or from its table."""

        def read(view: View, tenant: UUID, key: Key) -> Any:
            found = self._memory.get((view.name, tenant, key))
            if found is not None:
                return found.row
            if self.complete:
                return None
            self.load(connection, view.name, [(tenant, key)])
            return self._memory[view.name, tenant, key].row

        return read

    def peek(self, view: View, tenant: UUID, key: Key) -> Any:
        """Return a row if it is in memory."""
        return self._memory.get((view.name, tenant, key), NOTHING).row

    def missing(self, wanted: Iterable[tuple[View, UUID, Key]]) -> dict[str, list[tuple[UUID, Key]]]:
        """Return which of these rows are not in memory though they may exist, by view."""
        missing: dict[str, dict[tuple[UUID, Key], None]] = defaultdict(dict)
        if not self.complete:
            for view, tenant, key in wanted:
                if (view.name, tenant, key) not in self._memory:
                    missing[view.name][tenant, key] = None
        return {view: list(keys) for view, keys in missing.items()}

    def load(self, connection: Connection, name: str, keys: Sequence[tuple[UUID, Key]]) -> None:
        """Read rows of a view into memory; those that do not exist are remembered as such."""
        table = self._tables[name]
        for tenant, key in keys:
            self._memory[name, tenant, key] = NOTHING
        found = connection.execute(table.select(self._schema), table.keyed(keys))
        for number, position, stored in found:
            tenant, key = keys[number - 1]
            self._memory[name, tenant, key] = Cached(table.read(stored), position)

    def put(self, view: View, tenant: UUID, key: Key, row: Any, *, forget: bool) -> None:
        """Remember what a fact made of a row, to be written with its batch."""
        id = (view.name, tenant, key)
        known = self._memory.get(id, NOTHING)
        if row == known.row and not forget:
            return
        self._before.setdefault(id, known)
        if forget:
            self._forget.add(id)
        self._memory[id] = Cached(row, known.position)
        self._memory.move_to_end(id)

    def changed(self) -> list[Changed]:
        """Return what is to be written of the rows changed since the last batch."""
        changed = []
        for (name, tenant, key), before in self._before.items():
            row = self._memory[name, tenant, key].row
            forget = (name, tenant, key) in self._forget
            if row != before.row or forget:
                changed.append(Changed(self._tables[name].view, tenant, key, before, row, forget))
        return changed

    def written(self, changed: Sequence[Changed], position: int) -> None:
        """Take note that what changed was written at a position; forget what was used longest ago."""
        for one in changed:
            kept = Cached(one.row, position) if one.row is not None else NOTHING
            self._memory[one.view.name, one.tenant, one.key] = kept
        self._before.clear()
        self._forget.clear()
        while len(self._memory) > self._most_rows:
            self._memory.popitem(last=False)
            self.complete = False

    def write(self, connection: Connection, changed: Sequence[Changed], position: int) -> None:
        """Write what changed to its tables, to `changes` and to `moved`; nothing is committed here."""
        by_view: dict[str, list[Changed]] = defaultdict(list)
        for one in changed:
            by_view[one.view.name].append(one)
        for name, ones in by_view.items():
            table = self._tables[name]
            kept = [(one.tenant, one.row) for one in ones if one.row is not None]
            gone = [(one.tenant, one.key) for one in ones if one.row is None and one.before.position is not None]
            if kept:
                connection.execute(table.upsert(self._schema), table.upserted(kept, position))
            if gone:
                connection.execute(table.delete(self._schema), table.keyed(gone))
        self._write_changes(connection, changed, position)

    def _write_changes(self, connection: Connection, changed: Sequence[Changed], position: int) -> None:
        def execute(statement: str, ones: Sequence[Changed], *more: object) -> None:
            if ones:
                names = [Uuids([one.tenant for one in ones]), Texts([one.view.name for one in ones])]
                keys = Texts([key_text(one.key) for one in ones])
                query = sql.SQL(statement).format(sql.Identifier(self._schema))
                connection.execute(query, [position, *names, keys, *more])

        successors = [one for one in changed if one.before.position is not None]
        execute(SUCCEEDED, successors, Int8s([one.before.position for one in successors]))
        execute(BACK, [one for one in changed if one.before.position is None])
        execute(FORGOTTEN, [one for one in changed if one.forget])
        data = [encode(one.row) if one.row is not None else None for one in changed]
        was = [self._tables[one.view.name].was(one.before.row) for one in changed]
        execute(CHANGED, changed, Jsonbs(data), Jsonbs(was))
        tenants = list({one.tenant for one in changed})
        if tenants:
            connection.execute(sql.SQL(HAVE_MOVED).format(sql.Identifier(self._schema)), [position, Uuids(tenants)])


SUCCEEDED = """update {}.changes c set until = %b from unnest(%b, %b, %b, %b) p(tenant_id, view, key, position)
    where c.tenant_id = p.tenant_id and c.view = p.view and c.position = p.position and c.key = p.key"""
BACK = """update {}.changes c set until = %b from unnest(%b, %b, %b) n(tenant_id, view, key)
    where c.tenant_id = n.tenant_id and c.view = n.view and c.key = n.key and c.data is null and c.until is null"""
FORGOTTEN = """update {}.changes c set data = null, was = null from (select %b::bigint as position) b,
    unnest(%b, %b, %b) f(tenant_id, view, key)
    where c.tenant_id = f.tenant_id and c.view = f.view and c.key = f.key and c.position < b.position"""
CHANGED = """insert into {}.changes (position, tenant_id, view, key, data, was)
    select %b, * from unnest(%b, %b, %b, %b, %b)"""
HAVE_MOVED = """insert into {}.moved as m (position, tenant_id) select %b, * from unnest(%b)
    on conflict (tenant_id) do update set position = excluded.position"""
