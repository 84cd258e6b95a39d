"""`python -m tests.bench WHAT`, started by `fieldlog bench`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tests.bench import append, cache, http, inspections, live, project, relay

app = typer.Typer(add_completion=False, no_args_is_help=True)
Rounds = Annotated[int, typer.Option(help="How often everything is measured, in turn")]
Seconds = Annotated[float, typer.Option(help="How long each measurement takes")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table")]

Kafka = Annotated[bool, typer.Option("--kafka", help="To a consumer of Kafka too; starts a broker and the relay")]


@app.callback()
def benchmarks() -> None:
    """Measure Fieldlog beside its limits, in the same run."""


@app.command("append")
def append_(rounds: Rounds = 5, seconds: Seconds = 2.0, json: Json = False) -> None:
    """Appends per second against pgbench's single-row inserts and the eventsourcing library's recorder."""
    append.main(rounds=rounds, seconds=seconds, as_json=json)


@app.command("http")
def http_(rounds: Rounds = 5, seconds: Seconds = 3.0, json: Json = False) -> None:
    """Commands per second over HTTP against FastAPI's echo, an idiomatic route with the same append, and pgbench."""
    http.main(rounds=rounds, seconds=seconds, as_json=json)


@app.command("project")
def project_(rounds: Rounds = 3, seconds: Seconds = 3.0, json: Json = False) -> None:
    """Rows per second of a rebuild against plain SQL that makes the same rows, and the library's recorder."""
    project.main(rounds=rounds, seconds=seconds, as_json=json)


@app.command("live")
def live_(rounds: Rounds = 3, seconds: Seconds = 5.0, json: Json = False, kafka: Kafka = False) -> None:
    """Latency from a commit to 50 live subscribers, against a bare notification of the same server."""
    live.main(rounds=rounds, seconds=seconds, as_json=json, kafka=kafka)


@app.command("inspections")
def inspections_(
    rounds: Rounds = 3,
    seconds: Seconds = 20.0,
    json: Json = False,
    checklist: Annotated[
        Path | None, typer.Option(help="A file of inspection sheets, instead of made-up items")
    ] = None,
) -> None:
    """Latency from a ticked item to the other scrutineers, in 150 inspections at once, against one alone."""
    inspections.main(rounds=rounds, seconds=seconds, as_json=json, checklist=checklist)


@app.command("relay")
def relay_(rounds: Rounds = 3, json: Json = False) -> None:
    """Facts per second that the relay publishes, against a plain kafka-python producer of the same bytes."""
    relay.main(rounds=rounds, as_json=json)


@app.command("cache")
def cache_(rounds: Rounds = 3, seconds: Seconds = 5.0, json: Json = False) -> None:
    """Reads per second and latency with shared answers against direct ones, while facts arrive; and the hit rate."""
    cache.main(rounds=rounds, seconds=seconds, as_json=json)


if __name__ == "__main__":
    app()
