"""A client of the live stream, as a browser's EventSource is one: events, their ids, and going on after one of them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from read_api.sealing import unpadded
from tests.views.house import PATIENCE_S, Person

FOREVER = 2**63 - 1


@dataclass(frozen=True)
class Event:
    """One event; `id` is what to go on from, once it was received."""

    kind: str
    data: dict[str, Any]
    id: str | None


@dataclass
class Watch:
    """A stream that is being read. `last_id` is what the newest event, or sign of life, said."""

    response: httpx.Response
    last_id: str | None = None
    ready: dict[str, int] = field(default_factory=dict)
    blocks: Iterator[dict[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        self.blocks = _blocks(self.response.iter_lines())

    def events(self) -> Iterator[Event]:
        """Yield events until the stream ends; signs of life are not among them. Raises TimeoutError."""
        deadline = time.monotonic() + PATIENCE_S
        for block in self.blocks:
            self.last_id = block.get("id", self.last_id)
            if block.get("event") == "ready":
                self.ready = json.loads(block["data"])
            elif "data" in block:
                yield Event(block.get("event", "message"), json.loads(block["data"]), block.get("id"))
                deadline = time.monotonic() + PATIENCE_S
            if time.monotonic() > deadline:
                raise TimeoutError("nothing more is said on this stream")

    def until(self, wanted: Callable[[Event], bool]) -> list[Event]:
        """Return events up to the wanted one. Raises EOFError if the stream ends before."""
        events = []
        for event in self.events():
            events.append(event)
            if wanted(event):
                return events
        raise EOFError(f"the stream ended after {events}")


def _blocks(lines: Iterator[str]) -> Iterator[dict[str, str]]:
    """Yield the fields of each event (WHATWG HTML, 9.2.6)."""
    block: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            block[name] = value.removeprefix(" ")
        elif block:
            yield block
            block = {}


@contextmanager
def watching(person: Person, last_event_id: str | None = None, **parameters: Any) -> Iterator[Watch]:
    """Watch views; gives the stream once it is ready. Names of filters with a dot are written with two underscores."""
    asked = {name.replace("__", "."): value for name, value in parameters.items()}
    headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
    with person.read.http.stream("GET", "/stream", params=asked, headers=headers) as response:
        assert response.status_code == httpx.codes.OK, response.read()
        watch = Watch(response)
        block = next(watch.blocks)
        assert block["event"] == "ready"
        watch.last_id, watch.ready = block["id"], json.loads(block["data"])
        yield watch


def positions(event_id: str) -> Mapping[str, int]:
    """Return the position of each view in an event id."""
    parts = [part.split(".") for part in unpadded(event_id).decode().split(",")]
    return {name: int(position) for name, _, position in parts}


@dataclass
class Copy:
    """What a client holds of lists that it read once and watches since; what is not finished by an id does not count."""

    views: Mapping[str, str]
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    last_id: str | None = None
    seen: list[tuple[str, str, int]] = field(default_factory=list)
    begun: int = 0
    kinds: set[str] = field(default_factory=set)

    def read(self, person: Person) -> dict[str, Any]:
        """Read the lists as they are; the stream goes on after them. Returns the stream's parameters."""
        parameters: dict[str, Any] = {"view": list(self.views)}
        for view, path in self.views.items():
            listed, event_id = person.listed(path)
            self.rows[view] = {item.get("id") or item["driver_id"]: shown(item) for item in listed}
            if self.last_id is None:
                self.last_id = event_id
            else:  # an id is for one list; what comes before the other list's position was in that list already
                parameters["after"] = min(parameters.get("after", FOREVER), *positions(event_id).values())
            name, _, filters = path.partition("?")
            assert name
            for one in filter(None, filters.split("&")):
                filter_name, _, value = one.partition("=")
                parameters[f"{view}.{filter_name}"] = value
        return parameters

    def take(self, events: list[Event]) -> None:
        """Apply events that came together."""
        for event in events:
            view, key = event.data["view"], event.data["key"]
            self.kinds.add(event.kind)
            if event.kind == "row":
                place = (view, key, event.data["position"])
                assert place not in self.seen, f"came twice: {place}"
                self.seen.append(place)
                self.rows[view][key] = shown(event.data["row"])
            else:
                self.rows[view].pop(key, None)

    def follow(self, person: Person, parameters: Mapping[str, Any], most: int) -> bool:
        """Watch for so many events, then lose the connection. Say whether everything until `END` has been told."""
        with watching(person, self.last_id, **parameters) as live:
            self.begun += 1
            pending: list[Event] = []
            for number, event in enumerate(live.events(), 1):
                pending.append(event)
                if event.id is not None:
                    self.take(pending)
                    self.last_id, pending = event.id, []
                if self.at_the_end() or number >= most:
                    break
        return self.at_the_end()

    def at_the_end(self) -> bool:
        """Say whether the last row of each view is there."""
        return all(any(is_last(view, row) for row in self.rows[view].values()) for view in self.views)


def is_last(view: str, row: Mapping[str, Any]) -> bool:
    """Say whether a row is what its view is told last in a story that ends with a trip named END."""
    return bool(row["fixes"] == 1 and row["id"] == "END" if view == "trips" else row.get("trip_id") == "END")


def shown(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item without what changes with the clock."""
    return {name: value for name, value in item.items() if name != "seconds_since"}
