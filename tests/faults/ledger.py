"""What clients were told: every command that has a definite answer, and every answer that should not have been given."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import httpx

from domain.roles import Role
from infra.local.home import issue_token
from infra.log.identity import keyed_command_id
from infra.settings import Settings

PATIENCE_S = 8.0  # longer than that of the write API, so that nothing is asked elsewhere while it is still decided here
LONGEST_S = 90.0
PAUSE_S = 0.1
TOKEN_HOURS = 24.0
COME_BACK = {httpx.codes.SERVICE_UNAVAILABLE, httpx.codes.TOO_MANY_REQUESTS}
Document = dict[str, Any]


class Told(NamedTuple):
    """The definite answer to a command: its status, and its receipt if it has one. `whole`: of an atomic batch."""

    command_id: UUID
    tenant: UUID
    stream: str
    id: str
    status: int
    receipt: Document | None
    whole: bool = False


class Granted(NamedTuple):
    """A lock that was given to somebody at a place, and when he asked and was answered (seconds of this process)."""

    record: tuple[UUID, str]
    holder: tuple[str, str]
    token: int
    asked: float
    answered: float


class Saved(NamedTuple):
    """A save under a lock that was carried out: its place in the log, when it was first asked for, whether with If-Match."""

    record: tuple[UUID, str]
    token: int
    asked: float
    position: int
    matched: bool


@dataclass
class Ledger:
    """What all clients were told, together."""

    told: list[Told] = field(default_factory=list)
    statuses: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    granted: list[Granted] = field(default_factory=list)
    saved: list[Saved] = field(default_factory=list)
    fixes: Counter[tuple[UUID, str]] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, *told: Told) -> None:
        """Note definite answers."""
        with self.lock:
            self.told += told

    def count(self, what: str) -> None:
        """Count an answer."""
        with self.lock:
            self.statuses[what] += 1

    def object(self, to: str) -> None:
        """Note an answer that should not have been given."""
        with self.lock:
            self.wrong.append(to)


class Client:
    """Somebody who asks until there is a definite answer, wherever there is one: the same command with the same key."""

    def __init__(
        self, urls: Sequence[str], settings: Settings, ledger: Ledger, tenant: UUID, subject: str, *roles: Role
    ):
        token = issue_token(settings, tenant, roles, subject, TOKEN_HOURS)
        self.http = httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE_S)
        self.tenant, self.subject, self.ledger = tenant, subject, ledger
        self._urls, self._dice, self._pause = list(urls), random.Random(subject), threading.Event()

    def at(self, url: str) -> Client:
        """Return the same client, who asks at one place only."""
        other = copy(self)
        other._urls = [url]
        return other

    def insist(self, method: str, path: str, gives_up: bool = False, **more: Any) -> httpx.Response | None:
        """Ask until there is an answer other than 503; who gives up, asks once. AssertionError: nobody answers any more."""
        ends = time.monotonic() + LONGEST_S
        while time.monotonic() < ends:
            try:
                answer = self.http.request(method, self._dice.choice(self._urls) + path, **more)
            except httpx.TransportError as error:
                self.ledger.count(type(error).__name__)
            else:
                self.ledger.count(f"{method} {answer.status_code}")
                self._must_be_answer(method, path, answer)
                if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                    return answer
            if gives_up:
                return None
            self._pause.wait(PAUSE_S)
        raise AssertionError(f"{method} {path} has no answer after {LONGEST_S:.0f} s")

    def ask(self, path: str, body: Document | None = None, *allowed: int, at: str | None = None) -> Document | None:
        """Send a command; return its receipt, None if it was refused. Other statuses than 200 must be allowed."""
        answer = self.tell(path, body, *allowed, **({"Occurred-At": at} if at else {}))
        return answer.json() if answer.status_code == httpx.codes.OK else None

    def tell(
        self, path: str, body: Document | None = None, *allowed: int, url: str | None = None, **headers: str
    ) -> httpx.Response:
        """Send a command, by hand to `url` if it has no route of its own; return its definite answer."""
        key = str(uuid4())
        answer = self.insist("POST", url or path, json=body or {}, headers={"Idempotency-Key": f'"{key}"', **headers})
        assert answer is not None
        _, stream, id, _ = path.split("/")
        receipt = answer.json() if answer.is_success else None
        command_id = keyed_command_id(self.tenant, self.subject, path, key)
        self.ledger.note(Told(command_id, self.tenant, stream, id, answer.status_code, receipt))
        if not answer.is_success and answer.status_code not in allowed:
            self.ledger.object(f"POST {path}: {answer.status_code} {answer.text}")
        return answer

    def ask_all(self, items: Sequence[Document], *, atomic: bool) -> None:
        """Send commands as a batch, again until each of them has a definite answer."""
        left = list(items)
        while left:
            answer = self.insist("POST", "/commands", json={"items": left, "atomic": atomic})
            assert answer is not None
            if answer.status_code != httpx.codes.OK:
                self.ledger.object(f"POST /commands: {answer.status_code} {answer.text}")
                return
            answers = {one["op"]: one for one in answer.json()["items"]}
            definite = [one for one in left if answers[one["op"]]["status"] != httpx.codes.SERVICE_UNAVAILABLE]
            if atomic and len(definite) < len(left):
                continue
            keys = "\n".join(one["op"] for one in left)
            for item in definite:
                path = f"/{item['stream']}/{item['id']}/{item['verb']}"
                place = ("/commands", keys) if atomic else (path, item["op"])
                id, answered = keyed_command_id(self.tenant, self.subject, *place), answers[item["op"]]
                told = Told(
                    id, self.tenant, item["stream"], item["id"], answered["status"], answered.get("receipt"), atomic
                )
                self.ledger.note(told)
            left = [one for one in left if one not in definite]

    def _must_be_answer(self, method: str, path: str, answer: httpx.Response) -> None:
        if answer.status_code < httpx.codes.BAD_REQUEST:
            return
        kind = answer.headers.get("content-type")
        if kind != "application/problem+json" or (
            answer.is_server_error and answer.status_code != httpx.codes.SERVICE_UNAVAILABLE
        ):
            self.ledger.object(f"{method} {path}: {answer.status_code} {kind} {answer.text}")
        elif answer.status_code in COME_BACK and "retry-after" not in answer.headers:
            self.ledger.object(f"{method} {path}: {answer.status_code} without Retry-After")
