"""The README, walked through as a newcomer would: its commands in a shell, in their order, and the answers that it shows."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.house import markdown, readme
from tests.running import LONGEST_S, Up, environment, up

SECTION = markdown.section(readme.FILE.read_text(), "Read, watch, write")
READING, WATCHING, REGISTERING, REFUSED, CONDITIONS, AUDITING = markdown.blocks(SECTION, "sh")
RECEIPT, PROBLEM = map(json.loads, markdown.blocks(SECTION, "json"))

pytestmark = pytest.mark.skipif(not shutil.which("curl") or not shutil.which("bash"), reason="needs bash and curl")


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """A system without the demo, so that the trucks of the README are the only ones."""
    with up(tmp_path_factory.mktemp("readme") / "data", "--no-demo") as running:
        yield running


def here(running: Up, block: str) -> str:
    """Return a block of commands as it is for this system: its addresses, and its `fieldlog`."""
    text = block.replace("http://127.0.0.1:8001", running.write).replace("http://127.0.0.1:8002", running.read)
    return text.replace(".venv/bin/fieldlog", f"{sys.executable} -m infra")


def shell(running: Up, *blocks: str) -> list[Any]:
    """Run blocks in one shell; return the JSON that its commands print, each on a line of its own."""
    script = 'set -eu\ncurl() { command curl -sS "$@"; echo; }\n' + "\n".join(here(running, one) for one in blocks)
    asked = subprocess.run(
        ["bash", "-c", script],
        env=environment(**running.settings),
        capture_output=True,
        text=True,
        timeout=LONGEST_S,
        check=False,
    )
    assert (asked.returncode, asked.stderr) == (0, "")
    return [json.loads(line) for line in asked.stdout.splitlines() if line]


@contextmanager
def watching(running: Up) -> Iterator[Iterator[str]]:
    """Run the watching block as in a terminal of its own; gives the lines that it prints."""
    script = here(running, READING.partition("curl")[0] + WATCHING.replace("curl -N", "exec curl -sS -N"))
    terminal = subprocess.Popen(
        ["bash", "-c", script], env=environment(**running.settings), stdout=subprocess.PIPE, text=True
    )
    alarm = threading.Timer(LONGEST_S, terminal.kill)
    alarm.start()
    try:
        assert terminal.stdout is not None
        yield iter(terminal.stdout.readline, "")
    finally:
        alarm.cancel()
        terminal.kill()
        terminal.wait()
        terminal.stdout.close()


def until_event(lines: Iterator[str], name: str) -> Any:
    """Return the data of the next event of this name."""
    for line in lines:
        if line.strip() == f"event: {name}":
            return next(json.loads(one.partition(":")[2]) for one in lines if one.startswith("data:"))
    raise AssertionError(f"the stream ended without {name}")


def test_the_commands_of_the_readme_do_what_it_says(running: Up) -> None:
    token = READING.partition("curl")[0]
    dashboard, trips = shell(running, READING)
    assert dashboard["active_trips"] == 0
    assert trips["items"] == []

    with watching(running) as lines:
        assert until_event(lines, "ready").keys() == {"trucks", "trips"}
        [receipt] = shell(running, token, REGISTERING)
        assert receipt | {"position": RECEIPT["position"]} == RECEIPT
        seen = until_event(lines, "row")
        assert (seen["view"], seen["row"]["id"], seen["row"]["plate"]) == ("trucks", "truck-7", "LJ 7")

    assert shell(running, token, REGISTERING) == [receipt]
    [problem] = shell(running, token, REFUSED)
    assert problem["type"].replace(running.write, "http://127.0.0.1:8001") == PROBLEM["type"]
    its_own = ("type", "instance", "trace_id")
    assert {**problem, **{name: PROBLEM[name] for name in its_own}} == PROBLEM

    as_shown = f"If-Position-At-Least: {RECEIPT['position']}"
    assert as_shown in CONDITIONS
    truck, done = shell(running, token, CONDITIONS.replace(as_shown, f"If-Position-At-Least: {receipt['position']}"))
    assert (truck["number"], truck["status"]) == ("7", "active")
    assert done["facts"] == ["trucks.deactivated.v1"]

    [facts] = shell(running, AUDITING)
    assert [one["type"] for one in facts["items"]] == ["tenants.opened.v1", "trucks.registered.v1"]
