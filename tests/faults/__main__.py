"""`python -m tests.faults --seed 7 --minutes 30`: the random faults for as long as one likes, and again with the same seed."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from tests.faults.scenario import Scenario

app = typer.Typer(pretty_exceptions_enable=False)


@app.command()
def main(
    seed: Annotated[int | None, typer.Option(help="What happens follows from it")] = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="How long things go wrong")] = 5.0,
) -> None:
    """Let things go wrong at random, then check everything that is promised."""
    chosen = time.time_ns() % 1_000_000 if seed is None else seed
    Scenario(chosen, 60 * minutes).run(Path(tempfile.mkdtemp(prefix="fieldlog-faults-")))


if __name__ == "__main__":
    app()
