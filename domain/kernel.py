"""The words the domain speaks: fact, state, stream, refusal, personal data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeVar, dataclass_transform
from uuid import UUID

State = TypeVar("State")
Class = TypeVar("Class")
Fact_co = TypeVar("Fact_co", covariant=True)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def fact(cls: type[Class]) -> type[Class]:
    """Declare something that happened (or a part of it): frozen and keyword-only; facts are named in the past tense."""
    return dataclass(frozen=True, kw_only=True, slots=True)(cls)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def state(cls: type[Class]) -> type[Class]:
    """Declare what the decisions of a stream look at: frozen, keyword-only, a default for every field."""
    return dataclass(frozen=True, kw_only=True, slots=True)(cls)


class Refused(Exception):
    """The answer is no: a subclass's name is the stable code, its docstring the sentence people read.

    Keyword arguments are details for the caller, such as what is missing.
    """

    def __init__(self, **details: object) -> None:
        super().__init__(type(self).__name__)
        self.details = details


class NotYours(Refused):
    """This belongs to somebody else in your organisation."""


class Erased:
    """The type of ERASED, which stands where personal data stood once its key is destroyed."""

    _only: Erased | None = None

    def __new__(cls) -> Erased:
        if cls._only is None:
            cls._only = super().__new__(cls)
        return cls._only

    def __repr__(self) -> str:
        return "ERASED"


ERASED = Erased()


@dataclass(frozen=True)
class Personal:
    """Marks a field of a fact as personal data, which is stored encrypted under its person's key.

    `of` names the field of the fact that holds the person's id; None: the person is the stream's own id.
    `day` names the field that holds a UTC date: such data has a key per person and day, and a day can be forgotten alone.
    """

    of: str | None = None
    day: str | None = None


@dataclass(frozen=True, eq=False)
class Stream(Generic[State]):
    """A kind of record: its name in paths, the state before its first fact, how facts change it, and its table of facts.

    The table's keys are the names under which the facts are stored: `<stream>.<what-happened>.v<version>`.
    """

    name: str
    initial: State
    evolve: Callable[[State, Any], State]
    facts: Mapping[str, type]


@dataclass(frozen=True, slots=True)
class Recorded(Generic[Fact_co]):
    """A fact as the log has it: whose, on which record, at which place, when it happened (`at`) and when it was recorded."""

    fact: Fact_co
    tenant: UUID
    stream: str
    id: str
    version: int
    position: int
    at: datetime
    recorded_at: datetime


@fact
class ReactionRefused:
    """What this fact should have led to was refused; any stream may hold it, no state changes by it."""

    reaction: str
    refusal: str
    cause: int
    stream: str
    id: str


COMMON_FACTS: Mapping[str, type] = {"fieldlog.reaction-refused.v1": ReactionRefused}
