"""The rules that no linter knows: how long, how named, how documented, who may import whom, what is bounded and declared."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

from domain.catalog import STREAMS
from domain.kernel import COMMON_FACTS
from projections.catalog import CONTEXTS
from read_api.live import LIVE
from tests.house.source import LAYERS, ROOT, Function, Source, sources

LONGEST_FUNCTION, LONGEST_FILE, LONGEST_SILENT_FOLD = 60, 400, 30

# What nobody imports: what is started by name, and what is offered to users of the eventsourcing library.
ENTRY_POINTS = {"infra.__main__", "infra.log.library", "read_api.app", "write_api.app"}

# Files that every context of a layer shares; all others belong to a context.
SHARED = {
    "domain": {"", "kernel", "catalog", "roles"},
    "commands": {"", "kernel", "catalog", "reactions"},
    "projections": {"", "kernel", "catalog", "deadlines"},
    "read_api": {
        "",
        "kernel",
        "catalog",
        "app",
        "boards",
        "contract",
        "events",
        "listing",
        "live",
        "locks",
        "log",
        "paddock",
        "presence",
        "sealing",
        "stream",
        "watching",
    },
}
TABLES = {"catalog", "reactions", "app", "deadlines", "live"}

# Whose facts and states a context may read. Without a circle; a pair that nobody needs any more is to be taken out.
MAY_READ: dict[str, set[str]] = {
    "claims": set(),
    "tenants": set(),
    "people": {"claims", "tenants"},
    "inspections": {"people"},
    "bookings": {"inspections", "people", "tenants"},
    "attachments": {"bookings", "people"},
    "trips": {"claims", "tenants"},
}

# A decision and a fold know no clock, chance, environment, thread, file or network.
IMPURE_MODULES = {
    "asyncio", "glob", "http", "io", "logging", "multiprocessing", "os", "pathlib", "random", "secrets", "shutil",
    "socket", "subprocess", "sys", "tempfile", "threading", "time", "urllib",
}  # fmt: skip
IMPURE_CALLS = {"now", "utcnow", "today", "uuid1", "uuid4", "getenv", "open", "print", "input", "random"}


def test_functions_and_files_are_short() -> None:
    long = [
        f"{source.where}:{one.lineno} {one.name} has {lines} lines"
        for source in sources()
        for one in source.functions()
        if (lines := (one.end_lineno or 0) - one.lineno + 1) > LONGEST_FUNCTION
    ]
    long += [
        f"{source.where} has {lines} lines"
        for source in sources()
        if (lines := len(source.text.splitlines())) > LONGEST_FILE
    ]
    assert long == []


def test_every_module_class_and_function_says_what_it_is() -> None:
    """Two may do without a docstring of their own: a method that overrides a documented one, such as a command's `decide`,
    `consults` and `answer`, whose meaning the base gives; and a small fold of a view, whose name and types say all.
    """
    silent = [source.where for source in sources() if not ast.get_docstring(source.tree)]
    for source in sources():
        for path, node in _public(source.tree):
            if ast.get_docstring(node) or _overrides_documented(source, path, node) or _small_fold(source, node):
                continue
            silent.append(f"{source.where}:{node.lineno} {'.'.join(path)}")
    assert silent == []


def _public(
    node: ast.Module | ast.ClassDef, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], ast.ClassDef | Function]]:
    """Yield the public classes, functions and methods, by their path in the module."""
    for one in node.body:
        if isinstance(one, ast.ClassDef | Function) and not one.name.startswith("_"):
            yield (*path, one.name), one
            if isinstance(one, ast.ClassDef):
                yield from _public(one, (*path, one.name))


def _overrides_documented(source: Source, path: tuple[str, ...], node: ast.ClassDef | Function) -> bool:
    if len(path) != 2 or isinstance(node, ast.ClassDef):
        return False
    cls = getattr(importlib.import_module(source.name), path[0])
    inherited = (getattr(base, path[1], None) for base in cls.__mro__[1:])
    return any(one.__doc__ for one in inherited if one is not None)


def _small_fold(source: Source, node: ast.ClassDef | Function) -> bool:
    if source.layer != "projections" or isinstance(node, ast.ClassDef):
        return False
    names = {argument.arg for argument in node.args.args}
    return {"happened", "look"} <= names and (node.end_lineno or 0) - node.lineno < LONGEST_SILENT_FOLD


def test_no_file_is_dead() -> None:
    used = set().union(*(source.imports() for source in sources()))
    names = {source.name for source in sources()}
    assert names >= ENTRY_POINTS
    packages = {source.name for source in sources() if source.path.name == "__init__.py"}
    assert sorted(names - packages - used - ENTRY_POINTS) == []
    assert sorted(ENTRY_POINTS & used) == [], "an entry point that is imported is none"
    assert [one for one in sorted(packages) if not any(name.startswith(f"{one}.") for name in names)] == []


def test_no_file_is_a_drawer_for_what_has_no_place() -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "shared"}
    everything = [*(source.path for source in sources()), *(ROOT / "tests").rglob("*.py")]
    assert [str(path) for path in everything if drawers & {part.removesuffix(".py") for part in path.parts}] == []


def test_nothing_is_left_for_later() -> None:
    words = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X")))
    folders = [*LAYERS, "tests", "docs", ".ci"]
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".sql", ".md")]
    files += [path for path in ROOT.iterdir() if path.is_file() and path.suffix in (".md", ".toml", "")]
    assert [str(path.relative_to(ROOT)) for path in files if words.search(path.read_text())] == []


def test_the_domain_imports_the_standard_library_only() -> None:
    allowed = sys.stdlib_module_names | {"domain"}
    foreign = [
        f"{source.where}: {name}"
        for source in sources()
        if source.layer == "domain"
        for name in source.imports()
        if name.partition(".")[0] not in allowed
    ]
    assert foreign == []


def test_decisions_and_folds_are_pure() -> None:
    found = []
    for source in sources():
        if source.layer not in ("domain", "commands", "projections"):
            continue
        found += [f"{source.where}: {one}" for one in source.imports() if one.partition(".")[0] in IMPURE_MODULES]
        for node in ast.walk(source.tree):
            if isinstance(node, ast.Call) and _called(node) in IMPURE_CALLS:
                found.append(f"{source.where}:{node.lineno} {_called(node)}()")
    assert found == []


def _called(call: ast.Call) -> str | None:
    match call.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return None


def _context(source: Source) -> str | None:
    """Return the context that a file belongs to; None if all contexts of its layer share it."""
    return None if source.part in SHARED.get(source.layer, {source.part}) else source.part


def _contexts_imported(source: Source) -> set[tuple[str, str]]:
    """Return the layers and contexts from which a file imports."""
    by_name = {one.name: one for one in sources()}
    found = (by_name[name] for name in source.imports() if name in by_name)
    return {(one.layer, context) for one in found if (context := _context(one)) is not None}


def test_every_context_is_in_the_table_of_who_reads_whom() -> None:
    assert {context for source in sources() if (context := _context(source)) is not None} == MAY_READ.keys()
    TopologicalSorter(MAY_READ).prepare()  # raises CycleError


def test_a_slice_reads_of_other_contexts_only_the_domain() -> None:
    """Facts and states are what contexts say to each other; commands, folds and answers are their own affair."""
    crossing = [
        f"{source.where} ({context}) imports {layer}/{other}"
        for source in sources()
        if (context := _context(source)) is not None
        for layer, other in sorted(_contexts_imported(source))
        if other != context and (layer != "domain" or other not in MAY_READ[context])
    ]
    assert crossing == []


def test_no_pair_is_allowed_that_nobody_needs() -> None:
    needed: dict[str, set[str]] = {context: set() for context in MAY_READ}
    for source in sources():
        context = _context(source)
        if context is not None:
            needed[context] |= {other for layer, other in _contexts_imported(source) if layer == "domain"} - {context}
    assert needed == MAY_READ


def test_what_all_contexts_share_knows_none_of_them() -> None:
    knowing = [
        f"{source.where} imports {layer}/{context}"
        for source in sources()
        if source.layer in SHARED and source.part not in TABLES and _context(source) is None
        for layer, context in sorted(_contexts_imported(source))
    ]
    assert knowing == []


def test_facts_say_what_happened_under_a_name_of_their_own() -> None:
    named = [(stream.name, topic, fact) for stream in STREAMS.values() for topic, fact in stream.facts.items()]
    named += [("fieldlog", topic, fact) for topic, fact in COMMON_FACTS.items()]
    pattern = r"{stream}\.[a-z]+(-[a-z]+)*\.v[1-9][0-9]*"
    assert [topic for stream, topic, _ in named if not re.fullmatch(pattern.format(stream=stream), topic)] == []
    assert [fact.__name__ for _, _, fact in named if fact.__name__.endswith("Updated")] == []
    assert len({topic for _, topic, _ in named}) == len(named), "a stored name is declared twice"


def test_every_stream_and_view_is_in_its_catalog() -> None:
    """A stream or view that is declared and not listed would be silently without a route, a sample or a table."""
    declared = [
        (source, name)
        for source in sources()
        if source.layer in ("domain", "projections") and source.part not in ("kernel", "catalog")
        for name, kind in _assigned(source)
        if kind in ("Stream", "View")
    ]
    listed = [*STREAMS.values(), *(view for context in CONTEXTS.values() for view in context.views)]
    missing = [
        f"{source.where} {name}"
        for source, name in declared
        if not any(getattr(importlib.import_module(source.name), name) is one for one in listed)
    ]
    assert missing == []
    assert len(declared) == len(listed)


def _assigned(source: Source) -> Iterator[tuple[str, str | None]]:
    """Yield the module's own constants that are made by a call, with what is called."""
    for node in source.tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call() as call):
                yield name, _called(call)


def test_what_live_streams_filter_by_is_kept_as_it_was_before() -> None:
    """`leave` is sent when a row matched before and no longer does, so `changes` must hold the former values."""
    unkept = []
    for listing in LIVE.values():
        [view] = [view for view in CONTEXTS[listing.context].views if view.name == listing.view]
        filters = [*listing.filters.values(), *([listing.own] if listing.own is not None else [])]
        unkept += [f"{listing.name}: {one.field}" for one in filters if one.field not in view.filters]
    assert unkept == []


def test_a_filter_of_a_list_can_be_asked_for() -> None:
    unknown = []
    for listing in LIVE.values():
        asked = {field.alias or name for name, field in listing.wanted.model_fields.items()}
        unknown += [f"{listing.name}: {name}" for name in listing.filters if name not in asked]
    assert unknown == []


def test_every_layer_is_looked_at() -> None:
    """If the folders were not found, all rules above would hold for nothing."""
    assert {source.layer for source in sources()} == set(LAYERS)
    assert all(isinstance(source.path, Path) and source.text for source in sources())
    assert len(sources()) > 80
