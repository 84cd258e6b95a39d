"""What is asked of the desk, and what may come of it: an order, its receipt, and each way in which there is none."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from commands.kernel import Command
from domain.kernel import Stream
from domain.roles import Actor
from infra.log.codec import Client, Envelope

ANY_VERSION = -1


class NoSuchRecordError(Exception):
    """There is no such record yet, and this command does not make one."""


class StaleVersionError(Exception):
    """The record is no longer at the version that the caller expects; `changed_fields` of its state are others since."""

    def __init__(self, current: int, state: Any) -> None:
        super().__init__(f"the record is at version {current}")
        self.current, self.state = current, state
        self.changed_fields: list[str] = []


class KeyReusedError(Exception):
    """This idempotency key was used before with another payload."""


class NotCarriedOutError(Exception):
    """Another command of an atomic batch was answered no, so this one did not take effect either."""


class BarredError(Exception):
    """This order may not be carried out now; `reason` is what its sender is told, if it was not carried out before."""

    def __init__(self, reason: Exception) -> None:
        super().__init__(str(reason))
        self.reason = reason


class BusyError(Exception):
    """No answer could be had in time; whether the command took effect is unknown, unless it is asked again with its key."""


@dataclass(slots=True)
class Order:
    """A command on its way: for which record, by whom, when, under which id. `if_match` ANY_VERSION: it must exist.

    `barred`: why it may not be carried out; `guard` looks at that anew before it is decided again."""

    tenant_id: UUID
    stream: Stream[Any]
    id: str
    command: Command
    by: Actor
    at: datetime
    now: datetime
    command_id: UUID
    envelope: Envelope
    client: Client = field(default_factory=Client)
    if_match: int | None = None
    guard: Callable[[], Awaitable[BarredError | None]] | None = None
    barred: BarredError | None = None


@dataclass(slots=True)
class Receipt:
    """What a command led to: the record's version after it, the position of its last fact, and the facts' stored names.

    Without facts, the position is the log's head when it was answered.
    """

    id: str
    version: int
    position: int
    facts: tuple[str, ...]
    answer: BaseModel | None = None
