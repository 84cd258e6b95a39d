"""The documents, against the code: what they name exists, and the parts that follow from the code are as the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from commands.catalog import COMMANDS
from domain.roles import Role
from infra.__main__ import app
from infra.redis.presence import LIFE_S
from infra.settings import Settings
from read_api.live import LIVE
from read_api.stream import (
    KEEP_ALIVE_S,
    MOST_VIEWS,
    MOST_WAITING_BYTES,
    RETRY_JITTER_MS,
    RETRY_MS,
    SOON_JITTER_MS,
    SOON_MS,
    TICKET_S,
)
from tests.bench.__main__ import app as benchmarks
from tests.house import golden, markdown, readme
from tests.house.source import LAYERS, ROOT

DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
README = readme.FILE.read_text()
LIVE_PAGE = (ROOT / "docs" / "live.md").read_text()
OURS = re.compile(rf"(?:{'|'.join((*LAYERS, 'tests', 'docs', '.ci'))})/[\w./-]*")
TESTS = re.compile(r"^(async )?def test_|^class Test\w*\(.*TestCase", re.MULTILINE)


def names_of(application: typer.Typer) -> set[str]:
    return set(typer.main.get_command(application).commands)  # type: ignore[attr-defined]


def test_the_parts_of_pages_that_follow_from_the_code_are_as_it_says() -> None:
    pages = [page.read_text() for page in readme.PAGES]
    assert [readme.filled(page) for page in pages] == pages, "run `make golden` and commit the diff"
    assert {found[1] for page in pages for found in readme.PART.findall(page)} == readme.PARTS.keys()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: one.name)
def test_links_lead_somewhere(document: Path) -> None:
    text = document.read_text()
    ours = [link for link in markdown.links(text) if "://" not in link]
    assert [link for link in ours if not (document.parent / link.partition("#")[0]).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: one.name)
def test_paths_that_are_named_exist(document: Path) -> None:
    named = [word for word in markdown.code(document.read_text()) if OURS.fullmatch(word)]
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda one: one.name)
def test_commands_and_settings_that_are_named_exist(document: Path) -> None:
    text = document.read_text()
    targets = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"(?:`|^)make ([a-z]+)", text, re.MULTILINE)) <= set(targets)
    assert set(re.findall(r"(?:`|bin/)fieldlog ([a-z][a-z-]*)", text)) <= names_of(app)
    assert set(re.findall(r"fieldlog bench ([a-z]+)", text)) <= names_of(benchmarks)
    assert {name.lower() for name in re.findall(r"FIELDLOG_([A-Z_]+)", text)} <= Settings.model_fields.keys()


def test_every_benchmark_is_shown() -> None:
    assert set(re.findall(r"fieldlog bench ([a-z]+)", README)) == names_of(benchmarks)


def test_every_folder_has_its_question() -> None:
    [folders] = markdown.tables(markdown.section(README, "One folder, one question"))
    assert sorted(row[0].strip("`/") for row in folders) == sorted((*LAYERS, "tests"))


def test_every_promise_is_shown_by_tests() -> None:
    [promises] = markdown.tables(markdown.section(README, "What is promised"))
    assert len(promises) >= 10
    for promise, _, shown_by in promises:
        found = [ROOT / link for link in markdown.links(shown_by)]
        assert found, promise
        for path in found:
            files = path.rglob("test_*.py") if path.is_dir() else [path]
            assert any(TESTS.search(file.read_text()) for file in files), path


def test_the_roles_that_tokens_carry_are_all_of_them() -> None:
    section = markdown.section(README, "In production")
    [listed] = re.findall(r"`roles` \(([^)]*)\)", section)
    assert re.findall(r"`(\w+)`", listed) == [role.value for role in Role if role is not Role.SYSTEM]


def test_the_page_on_live_streams_has_every_view_with_its_filters_and_readers() -> None:
    views = markdown.tables(markdown.section(LIVE_PAGE, "Asking"))[0]
    shown = {listing.name: (sorted(listing.filters), ", ".join(sorted(listing.readers))) for listing in LIVE.values()}
    assert {row[0].strip("`"): (sorted(re.findall(r"`(\w+)`", row[2])), row[3]) for row in views} == shown


def test_the_page_on_live_streams_has_the_numbers_of_the_code() -> None:
    numbers = [
        f"watches 1 to {MOST_VIEWS} views",
        f"keep-alive every {KEEP_ALIVE_S:.0f} s",
        f"between {RETRY_MS} and {RETRY_MS + RETRY_JITTER_MS - 1} ms",
        f"between {SOON_MS} and {SOON_MS + SOON_JITTER_MS - 1} ms",
        f"more than {MOST_WAITING_BYTES} characters",
        f"within {TICKET_S} s",
    ]
    text = " ".join(LIVE_PAGE.split())
    assert [number for number in numbers if number not in text] == []


def test_the_page_on_locks_names_addresses_and_numbers_of_the_code() -> None:
    text = " ".join((ROOT / "docs" / "locks.md").read_text().split())
    document = golden.documents()
    paths = [*document["openapi-read.json"]["paths"], *document["openapi-write.json"]["paths"]]
    named = {path.partition("?")[0] for path in re.findall(r"(?:GET|POST) (/[^` ]+)", text)}
    assert [one for one in named if not any(_is_address(one, path) for path in paths)] == []
    assert f"heard of for {LIFE_S // 60} minutes" in text
    assert all(COMMANDS[stream][verb].respects_lock for stream, verb in re.findall(r"such as `(\w+)\.([\w-]+)`", text))


def _is_address(named: str, path: str) -> bool:
    return re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", path), named) is not None


def test_the_page_on_live_streams_has_every_reason_for_a_reset() -> None:
    table = markdown.tables(markdown.section(LIVE_PAGE, "The end"))[0]
    code = "".join((ROOT / path).read_text() for path in ("read_api/stream.py", "infra/views/tail.py"))
    assert [row[0] for row in table if f'"{row[0].strip("`")}"' not in code] == []
    assert len(table) == len(set(re.findall(r'reset\([^"\n]*"([^"]+)"', code)))
