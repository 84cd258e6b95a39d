"""Stories without infrastructure: `given(...).when(...).then(...)` for decisions, `recorded(...)` and `folded(...)` for views.

A story names only what it is about. Ids that it does not name are the ones in STORY, which commands in these stories use too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import reduce
from typing import Any
from uuid import UUID

from commands.catalog import COMMANDS
from commands.kernel import Asked, Command, On, consult, decide
from domain.kernel import Recorded, Refused, Stream
from domain.roles import Actor, Role
from projections.kernel import Context, Folding, Key, View

TENANT = UUID("0192f000-0000-7000-8000-000000000001")
NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
STORY = {
    "tenants": str(TENANT),
    "bookings": "booking",
    "attachments": "file",
    "trucks": "truck",
    "drivers": "driver",
    "sites": "site",
    "trips": "trip",
    "payroll-periods": "period",
    "pay-days": "2026-11-20",
    "driver-days": "driver.2026-11-20",
    "people": "person",
    "teams": "team",
    "inspection-types": "mechanical",
    "prerequisites": "all",
    "checklist-templates": "mechanical",
    "checklist-versions": "mechanical.1",
    "inspections": "inspection",
    "passports": "team",
    "follow-ups": "inspection.1",
    "client-reports": "report",
    "counters": "a",
}
ADA = Actor("ada", frozenset({Role.DISPATCHER}))


@dataclass(frozen=True)
class Given:
    """What happened before, by stream and id; who asks, and when."""

    happened: Mapping[tuple[str, str], Sequence[object]] = field(default_factory=dict)
    streams: Mapping[str, Stream[Any]] = field(default_factory=dict)
    actor: Actor = ADA
    at: datetime = NOW
    now: datetime = NOW

    def given(self, stream: Stream[Any], *facts: object, id: str | None = None) -> Given:
        """Add what happened on a stream."""
        key = (stream.name, id or STORY[stream.name])
        happened = {**self.happened, key: (*self.happened.get(key, ()), *facts)}
        return replace(self, happened=happened, streams={**self.streams, stream.name: stream})

    def by(self, subject: str, *roles: Role) -> Given:
        """Let somebody else ask."""
        return replace(self, actor=Actor(subject, frozenset(roles)))

    def moment(self, at: datetime, now: datetime | None = None) -> Given:
        """Let it be asked at another time; `now` is the door's own, NOW if it is not given."""
        return replace(self, at=at, now=now or self.now)

    def when(self, command: Command, id: str | None = None) -> Outcome:
        """Ask for a command of the one stream in the catalog that has it."""
        own = self._stream_of(command)
        id = id or STORY[own.name]
        asked = Asked(TENANT, id, self.actor, self.at, self.now)
        state = self._state(own, id)
        asked = consult(command, state, asked, self._state)
        try:
            facts = decide(command, own, state, asked)
        except Refused as refused:
            return Outcome(command, own, id, (), refused)
        after = reduce(own.evolve, (one.fact for one in facts if (one.stream, one.id) == (own, id)), state)
        return Outcome(command, own, id, facts, None, command.answer(after, [one.fact for one in facts]))

    def _state(self, stream: Stream[Any], id: str) -> Any:
        return reduce(stream.evolve, self.happened.get((stream.name, id), ()), stream.initial)

    def _stream_of(self, command: Command) -> Stream[Any]:
        from domain.catalog import STREAMS

        named = [name for name, verbs in COMMANDS.items() if type(command) in verbs.values()]
        known = [name for name in named if name in self.streams] or named
        return STREAMS[known[0]]


@dataclass(frozen=True)
class Outcome:
    """What a decision led to."""

    command: Command
    stream: Stream[Any]
    id: str
    facts: Sequence[On]
    refusal: Refused | None
    answer: Any = None

    def then(self, *expected: object) -> Outcome:
        """Check that exactly these facts follow, in order; those of other streams are written with `on`."""
        assert self.refusal is None, f"refused: {type(self.refusal).__name__} {self.refusal.details}"
        found = [one.fact if (one.stream.name, one.id) == (self.stream.name, self.id) else one for one in self.facts]
        assert found == list(expected)
        return self

    def refused(self, refusal: type[Refused], **details: object) -> None:
        """Check that the answer is this refusal, that the command says so, and these details if any are given."""
        assert self.refusal is not None, f"not refused, but: {self.facts}"
        assert type(self.refusal) is refusal
        assert refusal in self.command.refuses, f"{type(self.command).__name__} does not say that it refuses so"
        if details:
            assert self.refusal.details == details


def given(stream: Stream[Any], *facts: object, id: str | None = None) -> Given:
    """Begin a story with what happened on a stream."""
    return Given().given(stream, *facts, id=id)


def on(stream: Stream[Any], fact: object, id: str | None = None) -> On:
    """A fact of another stream than the command's own."""
    return On(stream, id or STORY[stream.name], fact)


def recorded(stream: Stream[Any], *facts: object, id: str | None = None, at: datetime = NOW) -> list[Recorded[Any]]:
    """Facts as the log has them; their places follow when they are folded."""
    return [Recorded(fact, TENANT, stream.name, id or STORY[stream.name], 0, 0, at, at) for fact in facts]


def folded(context: Context, *stories: Sequence[Recorded[Any]]) -> dict[str, dict[Key, Any]]:
    """The rows of a context after facts in this order, by view and key: the very folds that the runner applies, in memory."""
    folding, rows, versions = (
        Folding(context),
        {view.name: {} for view in context.views},
        dict[tuple[UUID, str, str], int](),
    )  # type: ignore[var-annotated]

    def read(view: View, tenant: UUID, key: Key) -> Any:  # noqa: ARG001
        return rows[view.name].get(key)

    for position, one in enumerate((fact for story in stories for fact in story), 1):
        record = (one.tenant, one.stream, one.id)
        versions[record] = versions.get(record, 0) + 1
        happened = replace(one, version=versions[record], position=position)
        for view, key, row in folding.rows_after(happened, read):
            if row is None:
                rows[view.name].pop(key, None)
            else:
                rows[view.name][key] = row
    return rows
