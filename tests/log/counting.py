"""A domain that betrays every wrong step: each fact carries the count that its decision believed in."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pydantic import BaseModel

from commands.kernel import Asked, Command, Consults, Decision, on
from domain.kernel import Refused, Stream, fact, state


@fact
class Counted:
    """The counter went up to `n`."""

    n: int


@state
class Counter:
    """How far the counter is."""

    n: int = 0


class Odd(Refused):
    """Only an even counter may be counted by this command."""


def evolve(counter: Counter, happened: object) -> Counter:
    """Return the counter after what happened."""
    match happened:
        case Counted(n=n):
            return replace(counter, n=n)
    return counter


COUNTERS = Stream("counters", Counter(), evolve, {"counters.counted.v1": Counted})


class CountedTo(BaseModel):
    """The answer to counting."""

    n: int


class Count(Command):
    """Count one further."""

    creates: ClassVar = True
    answers: ClassVar = CountedTo

    def decide(self, counter: Counter, asked: Asked) -> Decision:
        yield Counted(n=counter.n + 1)

    def answer(self, counter: Counter, facts: object) -> CountedTo:
        return CountedTo(n=counter.n)


class CountBoth(Command):
    """Count this one and another one further, at once."""

    other: str
    creates: ClassVar = True

    def consults(self, counter: Counter, asked: Asked) -> Consults:
        yield COUNTERS, self.other

    def decide(self, counter: Counter, asked: Asked) -> Decision:
        yield Counted(n=counter.n + 1)
        if self.other != asked.id:
            yield on(COUNTERS, self.other, Counted(n=asked.seen[COUNTERS, self.other].n + 1))


class CountEven(Command):
    """Count an even counter two further; an odd one refuses."""

    creates: ClassVar = True
    refuses: ClassVar = (Odd,)

    def decide(self, counter: Counter, asked: Asked) -> Decision:
        if counter.n % 2:
            raise Odd(n=counter.n)
        yield Counted(n=counter.n + 1)
        yield Counted(n=counter.n + 2)
