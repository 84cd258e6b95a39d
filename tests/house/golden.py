"""Golden files: what the system is, as text under version control, so that a change to it shows as a diff of them.

`make golden` writes them anew, with the parts of README.md that follow from the code. Two things it does not do: it never
touches a sample of a fact that exists, and it does not accept other folds under the version of a context that was there before.
`make release` copies the contract among them (schemas, AsyncAPI, OpenAPI) to `released`: what consumers rely on from then on.
"""

from __future__ import annotations

import ast
import asyncio
import importlib
import json
import sys
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from types import FunctionType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import httpx

from infra.contract.asyncapi import asyncapi
from infra.contract.schemas import schemas
from infra.describe import describe
from infra.settings import Settings
from infra.web.edge import App
from infra.web.logs import configure
from projections.catalog import CONTEXTS
from projections.kernel import Context
from read_api.app import ReadApi
from read_api.events import live
from tests.house import readme, samples
from tests.house.source import ROOT, Source, sources
from write_api.app import WriteApi

FOLDER = ROOT / "tests" / "golden"
RELEASED = FOLDER / "released"
RAISE = """The folds or rows of the context {name!r} are others than before, under the same version {version}: raise `version` in
projections/catalog.py, so that its views are built anew, and run `make golden`. If every row stays as it is (a new name, another
order of functions), take {name!r} out of tests/golden/views.json instead and run `make golden`: the review sees that."""


def documents() -> dict[str, Any]:
    """Return the documents that follow from the code alone, by file name."""
    return {"describe.json": describe(), **contract()}


def contract() -> dict[str, Any]:
    """Return the documents that consumers rely on, by file name."""
    settings = Settings.from_environment(
        {
            "FIELDLOG_JWKS": "jwks.json",
            "FIELDLOG_CURSOR_KEY": b64encode(bytes(32)).decode(),
            "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:9092",
        }
    )
    return {
        "openapi-write.json": openapi(WriteApi(settings).app()),
        "openapi-read.json": openapi(ReadApi(settings).app()),
        "asyncapi.json": asyncapi(settings, live()),
        **{f"schemas/{path}": document for path, document in schemas(settings.schemas_url).items()},
    }


def documents_in(folder: Path) -> dict[str, Any]:
    """Return the documents of a folder, by file name; samples of facts and former contracts are none of them."""
    files = {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*.json"))}
    return {
        name: json.loads(path.read_text())
        for name, path in files.items()
        if not name.startswith(("facts/", "released/")) and name != "views.json"
    }


def write(folder: Path, found: Mapping[str, Any]) -> None:
    """Let a folder hold these documents, and no others but those that are written elsewhere."""
    for name in documents_in(folder).keys() - found.keys() if folder.exists() else ():
        (folder / name).unlink()
    for name, document in found.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text_of(document))


def openapi(app: App) -> Any:
    """Return the OpenAPI document of an application that is not started."""

    async def ask() -> Any:
        transport = httpx.ASGITransport(app=app)  # type: ignore[arg-type]
        async with httpx.AsyncClient(transport=transport, base_url="http://fieldlog") as client:
            return (await client.get("/openapi.json")).raise_for_status().json()

    return asyncio.run(ask())


def text_of(document: Any) -> str:
    """Return a document as its file holds it."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def views() -> dict[str, dict[str, Any]]:
    """Return the version of each context, and a digest of everything that its rows follow from."""
    return {name: {"version": one.version, "digest": digest(one)} for name, one in CONTEXTS.items()}


def kept_views() -> dict[str, dict[str, Any]]:
    """Return the same as the golden file has it."""
    file = FOLDER / "views.json"
    kept: dict[str, dict[str, Any]] = json.loads(file.read_text()) if file.exists() else {}
    return kept


def digest(context: Context) -> str:
    """Return a digest of the folds of a context, without docstrings and layout, of what they use, and of its rows."""
    modules = _modules(context)
    parts = [
        [one.name for one in modules],
        [plain(one.tree) for one in modules],
        [_used(one) for one in modules],
        {view.name: _columns(view.row) for view in context.views},
    ]
    return sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _modules(context: Context) -> list[Source]:
    """Return the modules of a context's projections, and those of other contexts that they import."""
    known = {
        one.name: one for one in sources() if one.layer == "projections" and one.part not in ("", "kernel", "catalog")
    }
    found: set[str] = set()
    waiting = [one for one in known.values() if one.part == context.name]
    while waiting:
        one = waiting.pop()
        if one.name not in found:
            found.add(one.name)
            waiting += [known[name] for name in one.imports() & known.keys()]
    return [known[name] for name in sorted(found)]


def plain(node: Any) -> Any:
    """Return a syntax tree as lists, without places and docstrings; the same in every version of Python."""
    if isinstance(node, list):
        return [plain(one) for one in node]
    if not isinstance(node, ast.AST):
        return repr(node)
    body = getattr(node, "body", None)
    parts = {
        name: value for name, value in ast.iter_fields(node) if value not in (None, []) and name not in ("ctx", "kind")
    }
    if (
        isinstance(body, list)
        and isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and ast.get_docstring(node)
    ):
        parts["body"] = body[1:]
    return [type(node).__name__, *([name, plain(value)] for name, value in parts.items())]


def _used(source: Source) -> Mapping[str, Any]:
    """Return the functions and constants of the domain that a module's folds use."""
    module = importlib.import_module(source.name)
    used: dict[str, Any] = {}
    for node in ast.walk(source.tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("domain."):
            for alias in node.names:
                value = getattr(module, alias.asname or alias.name, None)
                if isinstance(value, FunctionType):
                    [home] = [one for one in sources() if one.name == value.__module__]
                    used[alias.name] = [plain(one) for one in home.functions() if one.name == value.__name__]
                elif isinstance(value, int | str | tuple):
                    used[alias.name] = repr(value)
    return used


def _columns(cls: type) -> Any:
    """Return the fields of a row, with those of the parts it is made of."""
    hints = get_type_hints(cls)
    return {one.name: [_named(hints[one.name]), *map(_columns, _parts(hints[one.name]))] for one in fields(cls)}


def _named(hint: Any) -> Any:
    """Return a type as lists of names, written the same in every version of Python."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ["Literal", *arguments]
    if origin in (Union, UnionType):
        return ["Union", *map(_named, arguments)]
    name = getattr(origin or hint, "__name__", repr(hint))
    return [name, *map(_named, arguments)]


def _parts(hint: Any) -> Iterable[type]:
    if is_dataclass(hint) and isinstance(hint, type):
        yield hint
    for one in get_args(hint):
        yield from _parts(one)


def main() -> None:
    """Write all golden files and the parts of the README; end with a sentence where a version must be raised first."""
    configure("error")
    for page in readme.PAGES:
        page.write_text(readme.filled(page.read_text()))
    write(FOLDER, documents())
    for topic in samples.write_missing():
        print(f"new sample: {topic}")
    kept, found = kept_views(), views()
    stale = {name for name, one in found.items() if name in kept and _same_version_other_folds(kept[name], one)}
    (FOLDER / "views.json").write_text(
        text_of({name: kept[name] if name in stale else one for name, one in found.items()})
    )
    for name in sorted(stale):
        print(RAISE.format(name=name, version=found[name]["version"]), file=sys.stderr)
    sys.exit(1 if stale else 0)


def _same_version_other_folds(kept: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    return bool(kept["version"] == found["version"] and kept["digest"] != found["digest"])


def release() -> None:
    """Take the contract as its golden files have it for that of the last release."""
    write(RELEASED, {name: one for name, one in documents_in(FOLDER).items() if name != "describe.json"})


if __name__ == "__main__":
    release() if sys.argv[1:] == ["release"] else main()
