"""`fieldlog rebuild`: a new build beside the served one, followed to its switch, and the former one dropped."""

from __future__ import annotations

import time

import psycopg
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from infra.operate import progress
from infra.settings import Settings
from infra.views.builds import drop_old_builds, make_build
from projections.catalog import CONTEXTS
from projections.kernel import Context

LOOK_S = 0.1


def build_anew(settings: Settings, name: str, console: Console) -> None:
    """Build a context anew, given it or one of its views; the projectors do the work, this waits for them."""
    context = context_of(name)
    with psycopg.connect(settings.need("database_url"), autocommit=True, application_name="fieldlog rebuild") as owner:
        schema = make_build(owner, context)
        _follow(settings, int(schema.rpartition("_")[2]), schema, console)
        console.print(f"{schema} is served; the former one is dropped in {settings.grace_seconds:.0f} s.")
        while not (dropped := drop_old_builds(owner, settings.grace_seconds)):
            time.sleep(min(1.0, settings.grace_seconds))
        console.print(f"Dropped: {', '.join(dropped)}.")


def context_of(name: str) -> Context:
    """Return the context of this name, or the one that has this view."""
    for context in CONTEXTS.values():
        if name == context.name or any(view.name == name for view in context.views):
            return context
    known = sorted({view.name for context in CONTEXTS.values() for view in context.views})
    raise typer.BadParameter(f"there is no view {name}; there are {', '.join(known)}")


def _follow(settings: Settings, build: int, schema: str, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(f"folding into {schema}")
        for now in progress(settings, build):
            waits = "" if now.worked_on or now.served else " (waits for a projector: fieldlog projector, or make run)"
            bar.update(
                task, description=f"folding into {schema}{waits}", completed=now.position, total=max(now.head, 1)
            )
            if now.served:
                return
            time.sleep(LOOK_S)
