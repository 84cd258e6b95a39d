"""The parts of pages that follow from the code, between markers: tables of commands, of settings, and of who may ask for what."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import typer
from pydantic_core import PydanticUndefined

from domain.catalog import STREAMS_BY_CONTEXT
from domain.roles import Role
from infra.__main__ import app
from infra.settings import Settings, variable
from tests.house.source import ROOT
from write_api.orders import SENT

FILE = ROOT / "README.md"
PAGES = (FILE, ROOT / "docs" / "scrutineering.md")
SCRUTINEERING = ("people", "inspections", "bookings", "attachments")
PART = re.compile(r"(<!-- (\w+): made by `make golden` -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """Return the text with every part between markers as it should be. Raises KeyError for a part that nobody makes."""
    return PART.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}{found[3]}", text)


def commands() -> str:
    """Return the table of commands, each with its own options."""
    known = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    rows = ([_shown(name, one), _sentence(one.help)] for name, one in known.items() if not one.hidden)
    return _table(["command", "what it does"], rows)


def settings() -> str:
    """Return the table of settings."""
    rows = (
        [f"`{variable(name)}`", _default(one.default), _sentence(str(one.description))]
        for name, one in Settings.model_fields.items()
    )
    return _table(["setting", "default", "what it is"], rows)


def roles() -> str:
    """Return the table of what may be asked of scrutineering, and by whom."""
    rows = (
        [
            f"`{route.stream.name}`",
            f"`{route.name.partition('.')[2]}`",
            ", ".join(sorted(route.command.allows - {Role.SYSTEM})),
        ]
        for route in SENT.values()
        if route.stream.name in {stream.name for context in SCRUTINEERING for stream in STREAMS_BY_CONTEXT[context]}
    )
    return _table(["record", "verb", "for"], rows)


def _shown(name: str, command: typer.core.TyperCommand) -> str:
    parts = [f"`fieldlog {name}"]
    for one in command.params:
        if one.param_type_name == "argument":
            word = one.name.upper().rstrip("S") if one.nargs == -1 else str(one.name).upper()
            parts.append((word if one.required else f"[{word}]") + ("..." if one.nargs == -1 else ""))
        elif one.name != "help":
            option = one.opts[-1] if getattr(one, "is_flag", False) else f"{one.opts[-1]} {str(one.name).upper()}"
            parts.append(option if one.required else f"[{option}]")
    return " ".join(parts) + "`"


def _sentence(text: str | None) -> str:
    words = " ".join(str(text).split())
    return words if words.endswith((".", "!")) else f"{words}."


def _default(value: object) -> str:
    return "" if value in (None, "", PydanticUndefined) else f"`{value}`"


def _table(heads: list[str], rows: Iterator[list[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    escaped = ([cell.replace("|", r"\|") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(cells)} |\n" for cells in escaped)


PARTS: dict[str, Callable[[], str]] = {"commands": commands, "settings": settings, "roles": roles}
