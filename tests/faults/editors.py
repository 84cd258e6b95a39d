"""People who edit the same records under edit locks, and lose them now and then; and what must be so of their locks and saves."""

from __future__ import annotations

import random
import time
from collections import defaultdict
from typing import Any
from uuid import UUID

import httpx

from tests.faults.ledger import Client, Granted, Ledger, Saved

RECORDS = ("edited-0", "edited-1")
LOCKED, STALE, LATER = httpx.codes.LOCKED, httpx.codes.PRECONDITION_FAILED, httpx.codes.CONFLICT
Record = tuple[UUID, str]


class Editor:
    """Takes the lock of a record, holds it for a while or takes it over, saves, and may leave without giving it back; what he
    saves later with a token of then is refused.
    """

    def __init__(self, writer: Client, reader: Client, dice: random.Random) -> None:
        self._writer, self._reader, self._dice = writer, reader, dice
        self._tokens: dict[str, int] = {}
        self._versions: dict[str, int] = {}
        self._rate = 0

    def step(self) -> None:
        """Do one thing with one record."""
        id, dice = self._dice.choice(RECORDS), self._dice
        self._post("/presence", {"stream": "sites", "id": id, "activity": "editing"}, httpx.codes.NO_CONTENT)
        chance = dice.random()
        if id not in self._tokens or chance < 0.2:
            self._acquire(id, take_over=dice.random() < 0.4)
        elif chance < 0.3:
            self._hold(id, "extend", httpx.codes.OK)
        elif chance < 0.4:
            self._hold(id, "release", httpx.codes.NO_CONTENT)
        else:
            self._save(id, self._tokens[id], matched=dice.random() < 0.7)

    def _acquire(self, id: str, *, take_over: bool) -> None:
        place, asked = self._dice.choice(["office", "phone"]), time.monotonic()
        answer = self._post(f"/locks/sites/{id}", {"place": place, "take_over": take_over}, httpx.codes.OK, LOCKED)
        if answer.status_code == httpx.codes.OK:
            token = self._tokens[id] = answer.json()["token"]
            holder = self._reader.subject, place
            record = self._reader.tenant, id
            self._reader.ledger.granted.append(Granted(record, holder, token, asked, time.monotonic()))

    def _hold(self, id: str, how: str, done: int) -> None:
        self._post(f"/locks/sites/{id}/{how}", {"token": self._tokens[id]}, done, LOCKED)

    def _save(self, id: str, token: int, *, matched: bool) -> None:
        self._rate += 1
        rate = {"rate": {"amount_minor": self._dice.randrange(10**9), "currency": "EUR", "unit": "m3"}}
        headers = {"Lock-Token": str(token)} | ({"If-Match": f'"{self._versions.get(id, 1)}"'} if matched else {})
        asked = time.monotonic()
        answer = self._writer.tell(f"/sites/{id}/change-rate", rate, LOCKED, STALE, LATER, **headers)
        document = answer.json()
        if answer.status_code == STALE:
            self._versions[id] = document["current_version"]
        elif answer.status_code == LOCKED:
            self._tokens.pop(id)
        elif answer.status_code == httpx.codes.OK and document["facts"]:
            self._versions[id] = document["version"]
            record = self._writer.tenant, id
            self._writer.ledger.saved.append(Saved(record, token, asked, document["position"], matched))

    def _post(self, path: str, body: dict[str, Any], *allowed: int) -> httpx.Response:
        answer = self._reader.insist("POST", path, json=body)
        assert answer is not None
        if answer.status_code not in allowed:
            self._reader.ledger.object(f"POST {path}: {answer.status_code} {answer.text}")
        return answer


def check_locks(ledger: Ledger) -> None:
    """Check what docs/locks.md promises of the whole run, whatever became of Redis meanwhile."""
    granted: dict[Record, list[Granted]] = defaultdict(list)
    saved: dict[Record, list[Saved]] = defaultdict(list)
    for lock in ledger.granted:
        granted[lock.record].append(lock)
    for save in ledger.saved:
        saved[save.record].append(save)
    assert len(granted) == len(saved) == 2 * len(RECORDS), "there was a record that nobody locked, or saved"
    for record, locks in granted.items():
        _tokens_grow(locks)
        _nobody_saves_with_a_lock_of_the_past(locks, saved[record])
        _what_was_read_under_a_lock_is_not_overwritten(saved[record])


def _tokens_grow(locks: list[Granted]) -> None:
    """Each holder has a token of his own, greater than all that were given before he asked."""
    holders: dict[int, tuple[str, str]] = {}
    for lock in locks:
        assert holders.setdefault(lock.token, lock.holder) == lock.holder, f"two have the token of {lock}"
        before = [one for one in locks if one.answered < lock.asked]
        last = max(before, key=lambda one: one.token, default=None)
        assert last is None or (last.token, last.holder) == (lock.token, lock.holder) or last.token < lock.token, (
            f"{lock} was given after {last}"
        )


def _nobody_saves_with_a_lock_of_the_past(locks: list[Granted], saves: list[Saved]) -> None:
    """A save that was asked for after somebody else had been given the lock is not carried out."""
    for save in saves:
        later = [one for one in locks if one.answered < save.asked and one.token > save.token]
        assert later == [], f"{save} was carried out after {later[:3]}"


def _what_was_read_under_a_lock_is_not_overwritten(saves: list[Saved]) -> None:
    """With If-Match besides, no save follows in the log upon one with a greater token, however late it was."""
    greatest = 0
    for save in sorted(saves, key=lambda one: one.position):
        assert not save.matched or save.token >= greatest, f"{save} came after one with the token {greatest}"
        greatest = max(greatest, save.token)
