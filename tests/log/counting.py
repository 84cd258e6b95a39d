"""A domain that betrays every wrong step: each fact names the fact that its decision believed to be the last."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from pydantic import BaseModel

from commands.kernel import Asked, Command, Consults, Decision, on
from domain.kernel import Refused, Stream, fact, state


@fact
class Counted:
    """The counter went up to `n` by the command with this mark, after the one before."""

    n: int
    mark: str = ""
    after: str = ""


@state
class Counter:
    """How far the counter is, and by which command."""

    n: int = 0
    mark: str = ""

    def further(self, mark: str, steps: int = 1) -> Counted:
        """Return the fact that it goes up."""
        return Counted(n=self.n + steps, mark=mark, after=self.mark if steps == 1 else mark)


class Odd(Refused):
    """Only an even counter may be counted by this command."""


def evolve(counter: Counter, happened: object) -> Counter:
    """Return the counter after what happened."""
    match happened:
        case Counted(n=n, mark=mark):
            return replace(counter, n=n, mark=mark)
    return counter


COUNTERS = Stream("counters", Counter(), evolve, {"counters.counted.v1": Counted})


class CountedTo(BaseModel):
    """The answer to counting."""

    n: int


class Count(Command):
    """Count one further."""

    mark: str = ""
    creates: ClassVar = True
    answers: ClassVar = CountedTo

    def decide(self, counter: Counter, asked: Asked) -> Decision:
        yield counter.further(self.mark)

    def answer(self, counter: Counter, facts: object) -> CountedTo:
        return CountedTo(n=counter.n)


class CountBoth(Command):
    """Count this one and another one further, at once."""

    other: str
    mark: str = ""
    creates: ClassVar = True

    def consults(self, counter: Counter, asked: Asked) -> Consults:
        yield COUNTERS, self.other

    def decide(self, counter: Counter, asked: Asked) -> Decision:
        yield counter.further(self.mark)
        if self.other != asked.id:
            yield on(COUNTERS, self.other, asked.seen[COUNTERS, self.other].further(self.mark))


class CountEven(Command):
    """Count an even counter two further; an odd one refuses."""

    mark: str = ""
    creates: ClassVar = True
    refuses: ClassVar = (Odd,)

    def decide(self, counter: Counter, asked: Asked) -> Decision:
        if counter.n % 2:
            raise Odd(n=counter.n)
        yield counter.further(self.mark)
        yield counter.further(self.mark, steps=2)
