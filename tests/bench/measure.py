"""What every benchmark shares: a server of its own, pgbench as the limit, rounds in turn, medians and ratios."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import track
from rich.table import Table

from infra.database import LOGINS, migrate
from infra.local.postgres import Postgres

EVENT_BYTES = 300
BENCH_TABLE = """set client_min_messages = warning; create table if not exists bench_row
    (id bigserial primary key, originator_id uuid, originator_version bigint, topic text, state bytea)"""
INSERT = f"""insert into bench_row (originator_id, originator_version, topic, state)
    values (gen_random_uuid(), 1, 'trips.started.v1', decode(repeat('ab', {EVENT_BYTES}), 'hex'));"""


@dataclass
class Figure:
    """One measured thing over all rounds; `against` names the figure it is compared with, round by round."""

    name: str
    unit: str
    run: Callable[[], float]
    against: str | None = None
    target: str = ""
    rounds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        """The middle of all rounds."""
        return statistics.median(self.rounds)


def measure(figures: Sequence[Figure], rounds: int, *, as_json: bool, title: str) -> None:
    """Run all figures in turn, several rounds, and print medians, spread and ratios."""
    for _ in track(range(rounds), description=title, disable=as_json):
        for figure in figures:
            figure.rounds.append(figure.run())
    by_name = {figure.name: figure for figure in figures}
    rows = []
    for figure in figures:
        other = by_name[figure.against].rounds if figure.against else []
        ratios = [mine / theirs for mine, theirs in zip(figure.rounds, other, strict=False)]
        rows.append(
            {
                "figure": figure.name,
                "unit": figure.unit,
                "median": figure.median,
                "least": min(figure.rounds),
                "most": max(figure.rounds),
                "against": figure.against,
                "ratio": statistics.median(ratios) if ratios else None,
                "target": figure.target,
            }
        )
    show(rows, as_json=as_json, title=f"{title}: medians of {rounds} rounds")


def show(rows: Sequence[dict[str, object]], *, as_json: bool, title: str) -> None:
    """Print rows as a table for people, or as JSON."""
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(title=title)
    for column in rows[0]:
        table.add_column(column)
    for row in rows:
        table.add_row(*(_plain(value) for value in row.values()))
    Console(width=160).print(table)


def _plain(value: object) -> str:
    if value is None:
        return ""
    return (
        f"{value:,.2f}"
        if isinstance(value, float) and value < 100
        else f"{value:,.0f}"
        if isinstance(value, float)
        else str(value)
    )


@contextmanager
def server() -> Iterator[Postgres]:
    """A server with migrated tables in the database `fieldlog`, gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="fieldlog-bench-"))
    directory.chmod(0o755)
    postgres = Postgres(directory / "pg")
    postgres.start()
    try:
        postgres.make_database()
        migrate(postgres.url(), {login: postgres.url(login) for login in LOGINS})
        yield postgres
    finally:
        postgres.stop()
        shutil.rmtree(directory, ignore_errors=True)


def pgbench(postgres: Postgres, clients: int, seconds: float) -> float:
    """Return the transactions per second of single-row inserts of a 300-byte event."""
    url = postgres.url()
    subprocess.run([postgres.bin / "psql", url, "-q", "-c", BENCH_TABLE], check=True)
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(INSERT)
        script.flush()
        Path(script.name).chmod(0o644)
        options = [
            "-n",
            "-M",
            "prepared",
            "-f",
            script.name,
            "-c",
            str(clients),
            "-j",
            "2",
            "-T",
            f"{max(1, seconds):.0f}",
        ]
        output = subprocess.run(
            [postgres.bin / "pgbench", *options, url], check=True, capture_output=True, text=True
        ).stdout
    found = re.search(r"tps = ([\d.]+)", output)
    assert found is not None, output
    return float(found[1])
