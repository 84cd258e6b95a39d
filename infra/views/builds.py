"""Builds: versions of a context's views side by side; made, served in turn, and dropped. All of this is the owner's work."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg import sql

from infra.views.tables import definition, schema_of
from projections.kernel import Context

STATUS = """select b.context, b.build, b.version, v.build = b.build, b.position, fieldlog.head() - b.position,
        case when fieldlog.head() > b.position
             then extract(epoch from clock_timestamp() - fieldlog.recorded_after(b.position))::float8 else 0 end,
        (select count(*) from fieldlog.parked p where p.build = b.build)
    from fieldlog.builds b join fieldlog.views v using (context) order by b.context, b.build"""


def ensure_builds(connection: psycopg.Connection[Any], contexts: Iterable[Context]) -> list[str]:
    """Make a build for every context whose newest one is of another version than this code; return their schemas."""
    newest = dict(
        connection.execute(
            "select distinct on (context) context, version from fieldlog.builds order by context, build desc"
        )
    )
    return [make_build(connection, context) for context in contexts if newest.get(context.name) != context.version]


def make_build(connection: psycopg.Connection[Any], context: Context) -> str:
    """Make an empty build of a context, to be filled by its projector; the first one is served from the beginning."""
    with connection.transaction():
        row = connection.execute(
            "insert into fieldlog.builds (context, version) values (%s, %s) returning build",
            [context.name, context.version],
        ).fetchone()
        assert row is not None
        [build] = row
        connection.execute(definition(context, build))
        connection.execute(
            "insert into fieldlog.views (context, build) values (%s, %s) on conflict do nothing", [context.name, build]
        )
        connection.execute("select pg_notify('fieldlog_builds', %s)", [context.name])
    return schema_of(context.name, build)


def drop_old_builds(connection: psycopg.Connection[Any], grace_seconds: float) -> list[str]:
    """Drop builds that were served before, once the one that is served now has been for a grace time."""
    rows = connection.execute(
        """select old.context, old.build
             from fieldlog.builds old
             join fieldlog.views v on v.context = old.context
             join fieldlog.builds live on live.build = v.build
            where old.build < v.build and live.switched_at < clock_timestamp() - make_interval(secs => %s)""",
        [grace_seconds],
    ).fetchall()
    for context, build in rows:
        with connection.transaction():
            # In the order in which a runner locks them: rows, then the bookmark.
            connection.execute(sql.SQL("drop schema {} cascade").format(sql.Identifier(schema_of(context, build))))
            connection.execute("delete from fieldlog.builds where build = %s", [build])
            connection.execute("select pg_notify('fieldlog_builds', %s)", [context])
    return [schema_of(context, build) for context, build in rows]
