"""Reading our documents: tables, fenced blocks and links of Markdown, as far as tests check them."""

from __future__ import annotations

import re
from collections.abc import Iterator

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"`([^`\n]+)`")


def section(text: str, title: str) -> str:
    """Return what stands under a heading, until the next one of the same or a higher level."""
    found = re.search(rf"^(#+) {re.escape(title)}\n", text, re.MULTILINE)
    assert found is not None, f"there is no section {title!r}"
    after = text[found.end() :]
    end = re.search(rf"^#{{1,{len(found[1])}}} ", after, re.MULTILINE)
    return after[: end.start()] if end else after


def tables(text: str) -> list[list[list[str]]]:
    """Return the cells of every table, without its heading."""
    found: list[list[list[str]]] = []
    rows: list[list[str]] = []
    for line in [*text.splitlines(), ""]:
        if line.startswith("|"):
            rows.append([cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]])
        elif rows:
            found.append(rows[2:])
            rows = []
    return found


def blocks(text: str, language: str) -> list[str]:
    """Return the fenced blocks of a language."""
    return [body for name, body in FENCE.findall(text) if name == language]


def links(text: str) -> list[str]:
    """Return where links lead."""
    return LINK.findall(FENCE.sub("", text))


def code(text: str) -> Iterator[str]:
    """Yield what stands in backticks outside of fenced blocks."""
    yield from CODE.findall(FENCE.sub("", text))


def fields(block: str) -> dict[str, str]:
    """Return the named values of a block, one a line; names end at two spaces."""
    pairs = (re.split(r" {2,}", line, maxsplit=1) for line in block.splitlines())
    return {name: value[0] if value else "" for name, *value in pairs}
