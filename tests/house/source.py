"""The production code as text and syntax trees, for tests that check the code itself."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
LAYERS = ("domain", "commands", "projections", "read_api", "write_api", "infra")
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, eq=False)
class Source:
    """One production file; `name` is its dotted module name."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def where(self) -> str:
        """Its path inside the repository."""
        return str(self.path.relative_to(ROOT))

    @property
    def layer(self) -> str:
        """The folder at the top."""
        return self.name.partition(".")[0]

    @property
    def part(self) -> str:
        """The context, or the shared file, that it is in its layer: `trips` of `domain.trips.track`."""
        return self.name.partition(".")[2].partition(".")[0]

    def functions(self) -> Iterator[Function]:
        """Yield every function and method, nested ones too."""
        return (node for node in ast.walk(self.tree) if isinstance(node, Function))

    def imports(self) -> set[str]:
        """Return everything it imports, by absolute dotted name: of `from a import b` both `a` and `a.b`."""
        found: set[str] = set()
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.where}: imports are absolute"
                found |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
        return found


@cache
def sources() -> tuple[Source, ...]:
    """Return all production files."""
    return tuple(_source(path) for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py")))


def _source(path: Path) -> Source:
    parts = path.relative_to(ROOT).with_suffix("").parts
    text = path.read_text()
    return Source(".".join(parts).removesuffix(".__init__"), path, text, ast.parse(text))
