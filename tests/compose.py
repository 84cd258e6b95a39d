"""compose.yml as a program reads it: anchors merged, variables filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import yaml

from infra.operate import new_secrets
from tests.house.source import ROOT

FILE = ROOT / "compose.yml"
OPS = ROOT / "infra" / "ops"
VARIABLE = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")
OWN = re.compile(r"fieldlog:")


def document() -> dict[str, Any]:
    """Return the file as it is, with anchors merged."""
    read: dict[str, Any] = yaml.safe_load(FILE.read_text())
    return read


def services() -> dict[str, dict[str, Any]]:
    """Return the services by name."""
    found: dict[str, dict[str, Any]] = document()["services"]
    return found


def ours() -> dict[str, dict[str, Any]]:
    """Return the services that run our image."""
    return {name: one for name, one in services().items() if OWN.match(one["image"])}


def env_file(**more: str) -> dict[str, str]:
    """Return what an operator has in `.env`."""
    return new_secrets() | more


def filled(text: str, given: Mapping[str, str]) -> str:
    """Return a value with its variables filled in. Raises KeyError for one that must be set and is not."""

    def value(found: re.Match[str]) -> str:
        name, how, default = found.groups()
        return given.get(name, default) if how == "-" else given[name]

    return VARIABLE.sub(value, text)


def environment_of(service: Mapping[str, Any], given: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a service; what has no value is handed on if it is set."""
    named: Mapping[str, str | None] = service.get("environment") or {}
    return {
        name: given[name] if value is None else filled(value, given)
        for name, value in named.items()
        if value is not None or name in given
    }
