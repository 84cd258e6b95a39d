"""Devices that were offline: in whatever order what was said arrives, all of it is accounted for. Each story prints its seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random
from typing import Any, get_args

from commands.inspections.checks import CheckItem, ReleaseHeldChecks, ResolveConflict
from commands.kernel import Asked, Command, Seen, decide
from domain.inspections.checklists import CHECKLIST_VERSIONS, Item, VersionPublished, evolve_version
from domain.inspections.checks import (
    HELD_AT_MOST,
    OPEN,
    UNCHECKED,
    CheckHeld,
    CheckValue,
    ConflictFound,
    DefectCleared,
    DefectFound,
    HeldCheckReleased,
    ItemChecked,
    Resolution,
)
from domain.inspections.inspections import (
    INSPECTIONS,
    UNHEARD,
    Branch,
    Inspection,
    InspectionPrepared,
    InspectionStarted,
    evolve,
)
from domain.roles import Actor, Role
from tests.accounting import Meant, first_seed, lost, otherwise
from tests.given import NOW, TENANT

STORIES = 200
CODES = ("belt", "bolt", "bar")
SHEET = evolve_version(
    CHECKLIST_VERSIONS.initial,
    VersionPublished(
        checklist_id="mechanical",
        version=1,
        items=tuple(Item(code=code, section="Belts", description=code) for code in CODES),
    ),
)
BEGUN = (
    InspectionPrepared(team_id="team", inspection_type_id="mechanical", vehicle_class="EV"),
    InspectionStarted(checklist_version=1, by="vera", at=NOW),
)


@dataclass
class Room:
    """One inspection: what was asked of it, and what happened."""

    state: Inspection = INSPECTIONS.initial
    log: list[object] = field(default_factory=list)
    answered: list[tuple[Meant, object]] = field(default_factory=list)
    minutes: int = 0

    def __post_init__(self) -> None:
        for fact in BEGUN:
            self._happened(fact)

    def ask(self, command: Command, *roles: Role) -> list[object]:
        """Let somebody ask; return what followed."""
        now, seen = NOW + timedelta(minutes=self.minutes), Seen()
        seen.add(CHECKLIST_VERSIONS, "mechanical.1", SHEET)
        actor = Actor("somebody", frozenset(roles or (Role.SCRUTINEER,)))
        facts = [
            one.fact for one in decide(command, INSPECTIONS, self.state, Asked(TENANT, "i", actor, now, now, seen))
        ]
        for fact in facts:
            self._happened(fact)
        return facts

    def say(self, meant: Meant) -> None:
        """Let somebody say something online."""
        facts = self.ask(meant.command)
        self.answered.append((meant, facts[0] if facts else None))

    def _happened(self, fact: object) -> None:
        self.log.append(fact)
        self.state = evolve(self.state, fact)

    def value(self, item: str) -> CheckValue:
        """How an item stands."""
        return self.state.checks.get(item, UNCHECKED).value

    def revision(self, item: str) -> int:
        """Its revision."""
        return self.state.checks.get(item, UNCHECKED).revision


@dataclass
class Tablet:
    """A device that says one thing after another, offline, and believes what it said itself."""

    branch: str
    dice: Random
    said: list[Meant] = field(default_factory=list)
    trunk: dict[str, tuple[int, CheckValue]] = field(default_factory=dict)
    own: dict[str, CheckValue] = field(default_factory=dict)

    def fetch(self, room: Room) -> None:
        """See how everything stands."""
        self.trunk = {code: (room.revision(code), room.value(code)) for code in CODES}
        self.own = {}

    def work(self, room: Room) -> None:
        """Say something more; what comes after everything arrived may be said of what is there now."""
        arrived = room.state.branches.get(self.branch, UNHEARD) == Branch(last=len(self.said))
        if not self.said or (arrived and self.dice.random() < 0.5):
            self.fetch(room)
        item = self.dice.choice(CODES)
        based_on, value = self.trunk[item]
        seen = self.own.get(item, value)
        step = len(self.said) + 1
        value = otherwise(seen, self.dice, f"{self.branch}-{step}.")
        command = CheckItem(
            item=item,
            status=value.status,
            comment=value.comment,
            based_on=based_on,
            branch=self.branch,
            step=step,
        )
        self.own[item] = value
        self.said.append(Meant(command, seen))


def story(seed: int, *, patient: bool) -> tuple[Room, list[Tablet]]:
    """Let four tablets and people online say things; what the tablets say arrives late, repeated and in any order.

    Without patience, what is held is released before all of it has arrived.
    """
    dice, room = Random(seed), Room()
    tablets = [Tablet(f"t{number}", dice) for number in range(4)]
    waiting: list[Meant] = []
    for _ in range(120):
        room.minutes += dice.randrange(5)
        match dice.choices(["work", "arrive", "repeat", "online", "resolve", "release"], [40, 40, 8, 10, 4, 4])[0]:
            case "work":
                tablet = dice.choice(tablets)
                tablet.work(room)
                waiting.append(tablet.said[-1])
            case "arrive" if waiting:
                room.ask(waiting.pop(dice.randrange(len(waiting))).command)
            case "repeat":
                sent = [meant for tablet in tablets for meant in tablet.said if meant not in waiting]
                if sent:
                    room.ask(dice.choice(sent).command)
            case "online":
                room.say(online(room, dice))
            case "resolve" if room.state.conflicts:
                resolve(room, dice)
            case "release" if not patient:
                by = dice.choice([Role.SYSTEM, Role.INSPECTION_RESPONSIBLE])
                room.ask(ReleaseHeldChecks(), by)
    dice.shuffle(waiting)
    for meant in waiting:
        room.ask(meant.command)
    return room, tablets


def online(room: Room, dice: Random) -> Meant:
    """What somebody says who saw how an item stands, or how it stood a while ago."""
    item = dice.choice(CODES)
    based_on = max(0, room.revision(item) - dice.choice([0, 0, 1, 2]))
    seen = room.state.checks.get(item, UNCHECKED).value_at(based_on)
    value = otherwise(seen, dice, f"online-{len(room.log)}.")
    return Meant(CheckItem(item=item, status=value.status, comment=value.comment, based_on=based_on), seen)


def resolve(room: Room, dice: Random) -> None:
    """Let a conflict be resolved by somebody who sees how the item stands."""
    conflict = dice.choice(list(room.state.conflicts.values()))
    resolution: Any = dice.choice(get_args(Resolution))
    seen = room.revision(conflict.item)
    own = {"comment": "settled"} if resolution == "merge" else {}
    room.ask(
        ResolveConflict(number=conflict.number, resolution=resolution, based_on=seen, **own),
        Role.INSPECTION_RESPONSIBLE,
    )


def outcomes(room: Room, tablets: Sequence[Tablet]) -> Iterator[tuple[Meant, object]]:
    """Yield what each step of each tablet led to; every one of them to exactly one thing."""
    found: dict[tuple[str | None, int | None], object] = {}
    for fact in room.log:
        if isinstance(fact, ItemChecked | ConflictFound) and fact.branch is not None:
            assert (fact.branch, fact.step) not in found, "a step took effect twice"
            found[fact.branch, fact.step] = fact
    for meant in (meant for tablet in tablets for meant in tablet.said):
        yield meant, found.pop((meant.command.branch, meant.command.step))
    assert not found


def held_and_released(room: Room) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """The steps that were held, and those that were released."""
    held = [(fact.branch, fact.step) for fact in room.log if isinstance(fact, CheckHeld)]
    return held, [(fact.branch, fact.step) for fact in room.log if isinstance(fact, HeldCheckReleased)]


def check_story(seed: int, room: Room, tablets: Sequence[Tablet], *, patient: bool) -> None:
    """Check that every said value is accounted for, each step once, and that each failed item has one open defect.

    Without patience, something was released before all before it had arrived.
    """
    answered = [*room.answered, *outcomes(room, tablets)]
    assert list(lost(room.log, answered, early=not patient)) == [], f"seed {seed}"
    held, released = held_and_released(room)
    assert sorted(held) == sorted(released), f"seed {seed}"
    open_defects = dict[str, int]()
    for fact in room.log:
        if isinstance(fact, DefectFound):
            assert fact.item not in open_defects, f"seed {seed}"
            open_defects[fact.item] = fact.number
        elif isinstance(fact, DefectCleared):
            assert open_defects.pop(fact.item) == fact.number, f"seed {seed}"
    assert open_defects.keys() == {code for code in CODES if room.value(code).status == "failed"}, f"seed {seed}"


def test_in_every_order_of_arrival_every_said_value_is_accounted_for() -> None:
    first = first_seed()
    for seed in range(first, first + STORIES):
        room, tablets = story(seed, patient=True)
        assert not room.state.held, f"seed {seed}"
        assert not any(fact.forced for fact in room.log if isinstance(fact, HeldCheckReleased)), f"seed {seed}"
        check_story(seed, room, tablets, patient=True)


def test_what_is_released_before_all_has_arrived_is_accounted_for_too() -> None:
    first, forced, late = first_seed(), 0, 0
    for seed in range(first, first + STORIES):
        room, tablets = story(seed, patient=False)
        room.minutes += int(HELD_AT_MOST / timedelta(minutes=1))
        room.ask(ReleaseHeldChecks(), Role.SYSTEM)
        assert not room.state.held, f"seed {seed}"
        check_story(seed, room, tablets, patient=False)
        forced += sum(fact.forced for fact in room.log if isinstance(fact, HeldCheckReleased))
        late += sum(_is_late(room, fact) for fact in room.log if isinstance(fact, ItemChecked | ConflictFound))
    assert forced > STORIES
    assert late > STORIES // 2


def test_a_branch_knows_what_arrived_after_it_was_not_waited_for() -> None:
    seed = first_seed()
    dice, room, arrived = Random(seed), Room(), set[int]()
    for _ in range(60):
        step = dice.randrange(1, 90)
        if step not in arrived:
            room.ask(far_step(step))
            room.ask(ReleaseHeldChecks(), Role.INSPECTION_RESPONSIBLE)
            arrived.add(step)
        branch = room.state.branches["t"]
        assert {one for one in range(1, 90) if branch.has(one)} == arrived, f"seed {seed}"
        earlier, later = sorted(dice.choices(range(90), k=2))
        missing = set(range(earlier + 1, min(later, branch.last))) - arrived
        assert branch.misses_between(earlier, later) == bool(missing), f"seed {seed}"


def far_step(step: int) -> CheckItem:
    """A step of a tablet."""
    return CheckItem(item="belt", status="passed", comment=f"{step}.", based_on=0, branch="t", step=step)


def test_whoever_names_far_steps_of_many_branches_costs_no_more_than_what_he_says() -> None:
    room, far = Room(), 10_000
    for number in range(20):
        room.ask(far_step(far).model_copy(update={"branch": f"t{number}"}))
    room.ask(ReleaseHeldChecks(), Role.INSPECTION_RESPONSIBLE)
    assert all(branch == Branch(last=far, skipped=(range(1, far),)) for branch in room.state.branches.values())


def _is_late(room: Room, fact: ItemChecked | ConflictFound) -> bool:
    before = room.log[: room.log.index(fact)]
    steps = [
        one.step or 0 for one in before if isinstance(one, ItemChecked | ConflictFound) and one.branch == fact.branch
    ]
    return fact.branch is not None and (fact.step or 0) < max(steps, default=0)


def test_one_tablet_alone_ends_where_it_was_whatever_the_order() -> None:
    first = first_seed()
    for seed in range(first, first + STORIES):
        dice, room = Random(seed), Room()
        tablet = Tablet("tablet", dice)
        for _ in range(12):
            tablet.work(room)
        commands = [meant.command for meant in tablet.said] * 2
        dice.shuffle(commands)
        for command in commands:
            room.ask(command)
        assert {code: room.value(code) for code in CODES} == {code: tablet.own.get(code, OPEN) for code in CODES}
        assert not room.state.conflicts, f"seed {seed}"


def test_a_change_that_was_lost_would_be_noticed() -> None:
    """The last write wins in this log: a passed item, seen by nobody, is failed by somebody who saw it open."""
    passed = CheckItem(item="belt", status="passed", based_on=0)
    first = ItemChecked(item="belt", revision=1, value=CheckValue(status="passed"), by="vera", at=NOW, based_on=0)
    second = replace(first, revision=2, value=CheckValue(status="failed"), by="otto")
    assert list(lost([first, second], [(Meant(passed, OPEN), first)]))
    assert list(lost([], [(Meant(passed, OPEN), None)]))
    assert not list(lost([first, replace(second, based_on=1)], [(Meant(passed, OPEN), first)]))
