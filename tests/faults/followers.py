"""Live clients: each has read lists once and watches them since, through whichever read API answers, from the last event id."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from infra.settings import Settings
from read_api.live import LIVE
from read_api.sealing import padless, unpadded
from tests.faults.ledger import Client
from tests.views.house import rows_of, served_schema
from tests.views.watch import Copy, Event, Watch, positions, shown

END, LAST = "END-2", ("trucks", "bookings")
PAUSE_S = 0.1
SILENCE_S = 12.0
MOST_EVENTS = 60


class CutOffError(Exception):
    """The stream ended, or could not be begun."""


@dataclass(kw_only=True)
class Follower(Copy):
    """Holds lists as `Copy` does; `begins` is where the latest copy of each was read, `resets` why it was read again. All of
    them have to come to `goal`: who begins to watch again is told of each by itself.
    """

    client: Client
    urls: Sequence[str]
    dice: random.Random
    sees_all: bool = True
    goal: int = 0
    begins: dict[str, int] = field(default_factory=dict)
    resets: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Watch until the end has been told."""
        pause = threading.Event()
        while not self.at_the_end():
            try:
                if self.last_id is None:
                    self._read_lists()
                self._watch()
            except (CutOffError, httpx.HTTPError, TimeoutError):
                pause.wait(PAUSE_S)

    def at_the_end(self) -> bool:
        """Say whether the last truck is there, and the last booking, and everything before them."""
        if self.last_id is None:
            return False
        is_last = all(END in self.rows.get(view, {}) for view in LAST if view in self.views)
        return is_last and min(positions(self.last_id).values()) >= self.goal

    def _read_lists(self) -> None:
        """Read every list whole; the stream goes on after the first part of the first one that was read."""
        ids = []
        for view, path in self.views.items():
            items, event_id = self._whole(path)
            ids.append(event_id)
            self.rows[view] = {item.get("id") or item["driver_id"]: shown(item) for item in items}
            self.begins[view] = positions(event_id)[view]
        # One id for all: what a list read later has already is sent once more, and changes nothing.
        self.last_id = _joined(ids)

    def _whole(self, path: str) -> tuple[list[dict[str, Any]], str]:
        path = f"{path}{'&' if '?' in path else '?'}limit=200"
        answer = self.client.insist("GET", path)
        assert answer is not None
        page, items = answer.json(), list(answer.json()["items"])
        while page["next"] is not None:
            following = self.client.insist("GET", f"{path}&cursor={page['next']}")
            assert following is not None
            page = following.json()
            items += page["items"]
        return items, answer.headers["event-id"]

    def _watch(self) -> None:
        """Take events for a while, then hang up."""
        headers, most = {"Last-Event-ID": str(self.last_id)}, self.dice.randrange(1, MOST_EVENTS)
        url = f"{self.dice.choice(self.urls)}/stream"
        asked = {"params": self._parameters(), "headers": headers, "timeout": SILENCE_S}
        with self.client.http.stream("GET", url, **asked) as response:  # type: ignore[arg-type]
            self.client.ledger.count(f"STREAM {response.status_code}")
            if response.status_code != httpx.codes.OK:
                if response.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    response.read()
                    self.client.ledger.object(f"GET /stream: {response.status_code} {response.text}")
                raise CutOffError
            self.begun += 1
            self._take(Watch(response), most)

    def _take(self, watch: Watch, most: int) -> None:
        """Take events until there were so many, or the end has been told; a sign of life says too how far everything is."""
        pending: list[Event] = []
        try:
            for number, event in enumerate(watch.events(), 1):
                if event.kind == "reset":
                    self.resets.append(event.data["reason"])
                    self.last_id = watch.last_id = None
                    return
                pending.append(event)
                if event.id is not None:
                    self.take(pending)
                    self.last_id, pending = event.id, []
                    if number >= most or self.at_the_end():
                        return
            raise CutOffError
        finally:
            if not pending:
                self.last_id = watch.last_id or self.last_id

    def _parameters(self) -> dict[str, Any]:
        parameters: dict[str, Any] = {"view": list(self.views)}
        for view, path in self.views.items():
            for one in filter(None, path.partition("?")[2].split("&")):
                name, _, value = one.partition("=")
                parameters[f"{view}.{name}"] = value
        return parameters

    def check(self) -> None:
        """Check that what it holds is what the lists say, by either API, and that no change was left out."""
        for url in self.urls:
            self.client = self.client.at(url)
            for view, path in self.views.items():
                items, _ = self._whole(path)
                listed = {item.get("id") or item["driver_id"]: shown(item) for item in items}
                other = {key: (self.rows[view].get(key), listed.get(key)) for key in self.rows[view].keys() | listed}
                other = {key: pair for key, pair in other.items() if pair[0] != pair[1]}
                assert other == {}, (self.client.subject, view, url, self.resets, len(other), list(other.items())[:3])
        for view in self.views:
            order = [position for name, _, position in self.seen if name == view]
            assert order == sorted(order), f"{view} came out of order"

    def check_against_changes(self, settings: Settings) -> None:
        """Check that of views without a filter, every change since the list was read came, once."""
        for view, path in self.views.items():
            listing = LIVE[view]
            if "?" in path or self.resets or not (self.sees_all or listing.own is None):
                continue
            changed = rows_of(
                settings.need("projector_url"),
                f"""select key, position from {served_schema(settings, listing.context)}.changes
                     where tenant_id = %s and view = %s and position > %s and data is not null""",
                [self.client.tenant, listing.view, self.begins[view]],
            )
            last = positions(str(self.last_id))[view]
            seen = {(key, position) for name, key, position in self.seen if name == view}
            assert seen == {(key, position) for key, position in changed if position <= last}, view


def _joined(event_ids: Sequence[str]) -> str:
    """Return one event id for lists that were read one after the other: each view goes on from where it was read."""
    return padless(b",".join(sorted(unpadded(one) for one in event_ids)))


@contextmanager
def following(followers: Sequence[Follower], failures: list[BaseException]) -> Iterator[None]:
    """Let followers watch meanwhile; at the end of the block each must come to its end."""

    def run(follower: Follower) -> None:
        try:
            follower.run()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(one,), name="follower", daemon=True) for one in followers]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a follower does not come to its end"
