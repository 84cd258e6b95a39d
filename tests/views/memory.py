"""What the tables must hold: the same folds in memory, over the log as it is read back."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import fields
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from domain.catalog import STREAMS
from domain.kernel import Recorded
from infra.log.codec import Codec
from infra.log.vault import StoredKey, Vault
from infra.settings import Settings
from infra.views.tables import key_text
from projections.catalog import CONTEXTS
from projections.kernel import Context, Key
from tests.given import folded
from tests.views.house import rows_of, served_schema

LOG = """select notification_id, tenant_id, stream, id, originator_id, originator_version, topic, state, occurred_at,
                recorded_at from fieldlog.log order by notification_id"""
KEYS = "select key_id, tenant_id, person_id, day, wrapped from fieldlog.keys"

Rows = dict[tuple[str, UUID, Key], Any]
"""Rows by view, organisation and key."""


def read_log(settings: Settings) -> list[Recorded[Any]]:
    """Read the whole log back."""
    vault = Vault(settings.need("master_key"))
    vault.remember(StoredKey(*row) for row in rows_of(settings.need("projector_url"), KEYS))
    codec = Codec(STREAMS.values(), vault)
    return [
        Recorded(
            codec.decode(topic, bytes(state), originator, version), tenant, stream, id, version, position, at, noted
        )
        for position, tenant, stream, id, originator, version, topic, state, at, noted in rows_of(
            settings.need("projector_url"), LOG
        )
    ]


def rows_in_memory(context: Context, facts: list[Recorded[Any]]) -> Rows:
    """Fold facts in memory, organisation by organisation."""
    by_tenant: dict[UUID, list[Recorded[Any]]] = defaultdict(list)
    for fact in facts:
        by_tenant[fact.tenant].append(fact)
    return {
        (view, tenant, key): row
        for tenant, own in by_tenant.items()
        for view, rows in folded(context, own).items()
        for key, row in rows.items()
    }


def rows_in_tables(settings: Settings, context: Context, schema: str | None = None) -> Rows:
    """Read all rows of a build, as the rows' own classes; of the one that is served, if none is named."""
    found: Rows = {}
    schema = schema or served_schema(settings, context.name)
    with psycopg.connect(settings.need("projector_url"), row_factory=dict_row) as connection:
        for view in context.views:
            names = [one.name for one in fields(view.row)]
            statement = sql.SQL("select tenant_id, {} from {}").format(
                sql.SQL(", ").join(map(sql.Identifier, names)), sql.Identifier(schema, view.name)
            )
            for stored in connection.execute(statement):
                tenant = stored.pop("tenant_id")
                key = tuple(stored[name] for name in view.key)
                found[view.name, tenant, key] = msgspec.convert(stored, view.row)
    return found


def assert_tables_are_the_folds(settings: Settings) -> None:
    """Check every row of the served builds, column by column, and that no row is missing or too many."""
    facts = read_log(settings)
    for context in CONTEXTS.values():
        expected, found = rows_in_memory(context, facts), rows_in_tables(settings, context)
        assert found.keys() == expected.keys()
        for id, row in expected.items():
            assert found[id] == row, id


def assert_history_is_whole(settings: Settings, context: Context = CONTEXTS["trips"]) -> int:
    """Check that `changes` holds the history of every row without gap or overlap, up to the row as it is.

    Returns how many changes there are.
    """
    schema = served_schema(settings, context.name)
    rows = rows_in_tables(settings, context, schema)
    changes = rows_of(
        settings.need("projector_url"),
        f"select tenant_id, view, key, position, until, data from {schema}.changes order by 1, 2, 3, 4",
    )
    chains: dict[tuple[UUID, str, str], list[tuple[int, int | None, Any]]] = defaultdict(list)
    for tenant, view, key, position, until, data in changes:
        chains[tenant, view, key].append((position, until, data))
    for (_, view, key), chain in chains.items():
        successors = [position for position, _, _ in chain[1:]]
        assert [until for _, until, _ in chain] == [*successors, None], (view, key)
    kinds = {view.name: view.row for view in context.views}
    latest = {id: chain[-1][2] for id, chain in chains.items() if chain[-1][2] is not None}
    assert latest.keys() == {(tenant, view, key_text(key)) for view, tenant, key in rows}
    for (view, tenant, key), row in rows.items():
        assert msgspec.convert(latest[tenant, view, key_text(key)], kinds[view]) == row
    return len(changes)
