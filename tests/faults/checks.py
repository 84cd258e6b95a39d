"""What must be so once everything is well again, however badly it went."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from infra.log.identity import stream_key
from infra.operate import parked, status
from infra.settings import Settings
from infra.views.tables import schema_of
from projections.catalog import CONTEXTS
from tests.faults.ledger import Ledger, Told
from tests.leaf import Stored, leaf
from tests.log.test_append_under_fire import ROWS
from tests.views.house import head, rows_of, served_build, served_schema
from tests.views.memory import assert_history_is_whole, assert_tables_are_the_folds

TENANT_ID, TENANT_SEQ, ORIGINATOR, VERSION, RECORDED = range(5)
COMMAND, TOPIC, POSITION, LEAF = 6, 8, 13, 14
Row = tuple[Any, ...]
DUE = """select (select count(*) from {}.timers where due_at <= now())
              + (select count(*) from {}.deadlines where due_at <= now())"""


def at_rest(settings: Settings) -> bool | None:
    """Say whether the views and the reactor have come to the end of the log, and nothing is due."""
    now = status(settings.model_copy(update={"kafka_bootstrap_servers": None}))  # that is looked at in outside.py
    positions = [view["position"] for view in now["views"]] + [now["reactor"]["position"]]
    schemas = served_schema(settings, "trips"), served_schema(settings, "inspections")
    [(due,)] = rows_of(settings.need("projector_url"), DUE.format(*schemas))
    return True if not due and positions == [head(settings)] * len(positions) else None


def check_log(settings: Settings) -> list[Row]:
    """Check that the log is whole: no gap, no step back, every leaf as its fields say. Returns its rows."""
    rows = rows_of(settings.need("database_url"), ROWS)
    assert [row[POSITION] for row in rows] == list(range(1, len(rows) + 1)), "a position is missing"
    assert [row[RECORDED] for row in rows] == sorted(row[RECORDED] for row in rows), "the clock went backwards"
    for name, of, numbered in (("tenant_seq", TENANT_ID, TENANT_SEQ), ("version", ORIGINATOR, VERSION)):
        counted: Counter[UUID] = Counter()
        for row in rows:
            counted[row[of]] += 1
            assert row[numbered] == counted[row[of]], f"{name} has a gap at position {row[POSITION]}"
    assert all(leaf(Stored(*row[:13])) == row[LEAF] for row in rows), "a leaf is not that of its fields"
    return rows


def check_told(rows: Iterable[Row], ledger: Ledger) -> None:
    """Check that what was acknowledged is in the log, once and where its receipt says; what was refused left no trace."""
    stored: dict[UUID, list[Row]] = defaultdict(list)
    for row in rows:
        stored[row[COMMAND]].append(row)
    for told in ledger.told:
        found = stored[told.command_id]
        if told.receipt is None:
            assert found == [], f"{told} left a trace"
        elif told.whole:
            _check_part(told, found)
        else:
            assert [row[TOPIC] for row in found] == told.receipt["facts"], f"{told} is not what is in the log"
            if found:
                own = [row[VERSION] for row in found if row[ORIGINATOR] == _originator(told)]
                place = found[-1][POSITION], own[-1] if own else told.receipt["version"]
                assert place == (told.receipt["position"], told.receipt["version"]), told


def _check_part(told: Told, found: list[Row]) -> None:
    """Check a command that was carried out with others: its facts are among theirs, at its place."""
    assert told.receipt is not None
    positions = [row[POSITION] for row in found]
    assert told.receipt["position"] in positions, told
    last = positions.index(told.receipt["position"]) + 1
    facts = found[last - len(told.receipt["facts"]) : last]
    assert [row[TOPIC] for row in facts] == told.receipt["facts"], told


def _originator(told: Told) -> UUID:
    return stream_key(told.tenant, told.stream, told.id).originator_id


def check_views(settings: Settings) -> None:
    """Check that every view is what folding the log from its first position makes of it, its history too."""
    assert_tables_are_the_folds(settings)
    for context in CONTEXTS.values():
        assert_history_is_whole(settings, context)
    numbers = rows_of(
        settings.need("projector_url"),
        f"""select tenant_id, number, count(*) from {schema_of("trips", served_build(settings))}.trucks
             group by 1, 2 having count(*) > 1""",
    )
    assert numbers == [], "a truck's number was given twice"


def check_fixes(settings: Settings, sent: Mapping[tuple[UUID, str], int]) -> None:
    """Check that every trip has the fixes that its phone sent and was answered for, no more and no fewer."""
    schema = schema_of("trips", served_build(settings))
    found = rows_of(settings.need("projector_url"), f"select tenant_id, id, fixes from {schema}.trips")
    counted = {(tenant, id): fixes for tenant, id, fixes in found}
    assert {trip: counted.get(trip) for trip in sent} == dict(sent), "a fix was lost, or counted twice"


def check_reactions(settings: Settings, rows: Iterable[Row], tenants: Iterable[UUID]) -> None:
    """Check that in every organisation of long ago, its day was declared over once, every track condensed once, and every key
    of its fixes destroyed; and that nothing is left out.
    """
    assert parked(settings) == []
    known = list(rows)
    assert [row for row in known if row[TOPIC] == "fieldlog.reaction-refused.v1"] == []
    for tenant in tenants:
        own = [row for row in known if row[TENANT_ID] == tenant]
        assert [row[TOPIC] for row in own].count("tenants.fixes-expired.v1") == 1, tenant
        condensed = Counter(row[ORIGINATOR] for row in own if row[TOPIC].endswith("track-condensed.v1"))
        assert sorted(condensed.values()) == [1, 1, 1], f"{tenant}: its three tracks were condensed {condensed}"
        left = "select count(*) from fieldlog.keys where tenant_id = %s and day is not null and wrapped is not null"
        assert rows_of(settings.need("projector_url"), left, [tenant]) == [(0,)], tenant


def complaints(logs: Path) -> list[str]:
    """Return the lines in which a process complains of something else than a lost connection."""
    found = []
    for file in sorted(logs.glob("*.log")):
        lines = file.read_text(errors="replace").splitlines()
        for number, line in enumerate(lines, 1):
            if (said := _complaint(line, last=number == len(lines))) is not None:
                found.append(f"{file.name}:{number} {said[:2_000]}")
    return found


def _complaint(line: str, *, last: bool) -> str | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None if last and line.startswith("{") else line  # the last words of one that was killed
    if said.get("event") == "request":
        failed = said["status"] >= httpx.codes.INTERNAL_SERVER_ERROR
        return line if failed and said["status"] != httpx.codes.SERVICE_UNAVAILABLE else None
    if str(said.get("logger")).startswith("kafka."):
        return None  # what comes of a lost connection to Kafka, the relay says itself
    return line if said.get("level") in ("error", "critical") or "exception" in said else None
