"""The words commands speak: what is asked, by whom and when, and the types of what may be sent."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Protocol, TypeVar, cast
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

from domain.kernel import ReactionRefused, Recorded, Refused, Stream
from domain.roles import Actor, Role

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class On:
    """A fact for another stream than the command's own."""

    stream: Stream[Any]
    id: str
    fact: object


def on(stream: Stream[Any], id: str, fact: object) -> On:
    """Say that this fact belongs on another stream, which the command must have consulted."""
    return On(stream, id, fact)


class Seen:
    """The states of the consulted streams: `seen[TRUCKS]` where one was consulted, `seen[SITES, id]` where several were."""

    __slots__ = ("_states",)

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], Any] = {}

    def add(self, stream: Stream[Any], id: str, state: Any) -> None:
        """Take note of the state of a consulted stream."""
        self._states[stream.name, id] = state

    def __getitem__(self, which: Stream[S] | tuple[Stream[S], str]) -> S:
        """Return the state of a consulted stream; KeyError if none (or, without an id, not exactly one) was consulted."""
        if isinstance(which, tuple):
            return cast(S, self._states[which[0].name, which[1]])
        found = [state for (name, _), state in self._states.items() if name == which.name]
        if len(found) != 1:
            raise KeyError(f"{len(found)} streams of {which.name} were consulted")
        return cast(S, found[0])

    def has(self, stream: Stream[Any], id: str) -> bool:
        """Say whether this stream was consulted."""
        return (stream.name, id) in self._states


@dataclass(frozen=True, slots=True)
class Asked:
    """The circumstances of a command: `at` is when it happened, `now` the door's own time, `seen` what was consulted."""

    tenant: UUID
    id: str
    by: Actor
    at: datetime
    now: datetime
    seen: Seen = field(default_factory=Seen)


Consults = Iterable[tuple[Stream[Any], str]]
Decision = Iterator[object]


class Command(BaseModel):
    """Something that may be asked of one stream; the docstring of each subclass says what for."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    allows: ClassVar[frozenset[Role]] = frozenset()
    refuses: ClassVar[tuple[type[Refused], ...]] = ()
    creates: ClassVar[bool] = False
    needs_version: ClassVar[bool] = False
    respects_lock: ClassVar[bool] = (
        False  # it replaces a value that somebody who holds the record's edit lock may be editing
    )
    by_hand: ClassVar[bool] = False  # only a route of its own asks for it, with what nobody but that route knows
    answers: ClassVar[type[BaseModel] | None] = None

    def consults(self, state: Any, asked: Asked) -> Consults:
        """Name the other streams this decision reads; a later one may depend on what `asked.seen` holds of the earlier."""
        return ()

    def decide(self, state: Any, asked: Asked) -> Decision:
        """Yield the facts that follow, or raise why not."""
        raise NotImplementedError(f"{type(self).__name__} decides nothing")

    def answer(self, state: Any, facts: Sequence[object]) -> BaseModel | None:
        """Return what the receipt says beyond its standard members, from the state after the facts of this command."""
        return None


def consult(command: Command, state: Any, asked: Asked, find: Callable[[Stream[Any], str], Any]) -> Asked:
    """Let `asked` see every stream that the command consults; `find` gives their states."""
    for stream, id in command.consults(state, asked):
        asked.seen.add(stream, id, find(stream, id))
    return asked


def decide(command: Command, own: Stream[Any], state: Any, asked: Asked) -> list[On]:
    """Return the facts that follow, each with its stream, or raise the refusal.

    LookupError: the decision put a fact on a stream that it did not consult (a mistake in the command).
    """
    facts = [one if isinstance(one, On) else On(own, asked.id, one) for one in command.decide(state, asked)]
    for one in facts:
        if (one.stream.name, one.id) != (own.name, asked.id) and not asked.seen.has(one.stream, one.id):
            raise LookupError(f"{type(command).__name__} puts a fact on {one.stream.name}/{one.id} unseen")
    return facts


DECIMAL = re.compile(r"[0-9]{1,9}(\.[0-9]{1,4})?")


def _plain(text: str) -> str:
    if "\0" in text:
        raise PydanticCustomError("nul_character", "Text may not contain the character U+0000")
    if text != text.strip():
        raise PydanticCustomError("outer_space", "Text may not begin or end with white space")
    return text


def _moment(at: datetime) -> datetime:
    if not 1970 <= at.year <= 2200:
        raise PydanticCustomError("moment_out_of_range", "Times lie between the years 1970 and 2200")
    return at.astimezone(UTC)


def _decimal(value: object) -> object:
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str) or not DECIMAL.fullmatch(value):
        raise PydanticCustomError(
            "decimal_text", 'Sent as text with at most 9 digits and 4 decimal places, such as "12.5"'
        )
    return Decimal(value)


Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._~:-]{0,127}$", description="An id, chosen by the client")]
Name = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_plain)]
Text = Annotated[str, Field(min_length=1, max_length=2_000), AfterValidator(_plain)]
Moment = Annotated[AwareDatetime, AfterValidator(_moment)]
Day = Annotated[date, Field(ge=date(1970, 1, 1), le=date(2200, 12, 31))]
Number = Annotated[float, Field(ge=-1e9, le=1e9)]
Quantity = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    Field(gt=0, le=100_000),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^{DECIMAL.pattern}$",
            "description": "More than 0, at most 100,000, at most 4 places",
        }
    ),
]
Currency = Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217")]


class NoteReactionRefused(Command):
    """Put on record that what a fact should have led to was refused."""

    reaction: str
    refusal: str
    cause: int
    stream: str
    id: str
    creates: ClassVar = True

    def decide(self, state: Any, asked: Asked) -> Decision:
        yield ReactionRefused(
            reaction=self.reaction, refusal=self.refusal, cause=self.cause, stream=self.stream, id=self.id
        )


@dataclass(frozen=True, slots=True)
class Ask:
    """What a reaction asks for: a command of one record."""

    stream: Stream[Any]
    id: str
    command: Command


@dataclass(frozen=True, slots=True)
class DestroyKeys:
    """What a reaction makes of expired fixes: the keys of all that arrived until a UTC day are destroyed."""

    through: date


@dataclass(frozen=True, slots=True)
class ForgetFile:
    """What a reaction makes of a file that did not come in time: it is thrown away; of a complete one, only its parts are."""

    key: str
    complete: bool = False


class Rows(Protocol):
    """Reads rows of a view of the reaction's context as they are now, where `(field, relation, value)` hold."""

    def __call__(self, view: str, /, *conditions: tuple[str, str, Any]) -> Iterable[Mapping[str, Any]]: ...


@dataclass(frozen=True)
class Reaction:
    """When this happened, ask that; of each record, one command of a kind at most.

    Done again after a crash, so command ids follow from the cause and from what is asked of which record. `context` is the
    one whose rows it reads, once they have come as far as the fact; None if the fact itself says all that is needed.
    """

    name: str
    stream: Stream[Any]
    fact: type
    context: str | None
    then: Callable[[Recorded[Any], Rows], Iterable[Ask | DestroyKeys | ForgetFile]]


@dataclass(frozen=True)
class Timer:
    """When a row of the context's view of timers with this name is due, ask that."""

    name: str
    context: str
    view: str
    then: Callable[[UUID, Mapping[str, Any]], Iterable[Ask]]
