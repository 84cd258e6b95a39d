"""Two hundred teams and one slot: no lane and no car is booked twice, whoever asks where and when.

Two write processes, each with what it believes; holds that expire meanwhile, by clocks that disagree; bookings that move,
over midnight too. FIELDLOG_TEST_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import psycopg
import pytest

from commands.bookings.bookings import CancelBooking, ConfirmBooking, ExpireHold, RequestBooking, RescheduleBooking
from commands.kernel import Asked, Command, Decision
from domain.bookings.bookings import (
    BOOKINGS,
    BookingNotHeld,
    BookingOver,
    HoldIsOver,
    HoldNotOver,
)
from domain.bookings.calendar import CarElsewhere, SlotNotFree
from domain.catalog import STREAMS
from domain.inspections.types import INSPECTION_TYPES, ClassRules, InspectionTypeDefined, Rules
from domain.kernel import Refused, Stream
from domain.people import TEAMS, TeamRegistered
from domain.roles import Actor, Role
from domain.tenants import TENANTS, TenantOpened
from infra.log.codec import Codec, Envelope
from infra.log.desk import Desk
from infra.log.identity import random_command_id
from infra.log.order import BusyError, Order
from infra.log.vault import Vault
from tests.booked import Replayed
from tests.conftest import Database
from tests.log.desks import MASTER_KEY, NOW, TENANT, open_desk

MINUTE = timedelta(minutes=1)
REQUESTS = 200
TEAMS_AT_WORK, STEPS = 40, 50
STEP = timedelta(seconds=2)
LATE = timedelta(seconds=40)
MIDNIGHT = datetime(2026, 11, 22, tzinfo=UTC)
CHIEF = Actor("chief", frozenset({Role.ADMIN}))
FIELDLOG = Actor("fieldlog", frozenset({Role.SYSTEM}))
HAPPENED = """select originator_id, originator_version, topic, state, id, occurred_at
                from fieldlog.log where stream in ('bookings', 'calendar-days') order by notification_id"""
TRIED = {SlotNotFree, CarElsewhere, HoldIsOver, HoldNotOver, BookingNotHeld, BookingOver}


class Tell(Command):
    """Put on record what happened before the story begins."""

    facts: tuple[Any, ...]
    creates: ClassVar = True

    def decide(self, state: object, asked: Asked) -> Decision:
        yield from self.facts


def order(stream: Stream[Any], id: str, command: Command, now: datetime = NOW) -> Order:
    """An order by who runs scrutineering, or by Fieldlog itself, by the clock of the door that it comes to."""
    return Order(
        tenant_id=TENANT,
        stream=stream,
        id=id,
        command=command,
        by=FIELDLOG if isinstance(command, ExpireHold) else CHIEF,
        at=now,
        now=now,
        command_id=random_command_id(),
        envelope=Envelope(command="bookings", actor="chief"),
    )


async def insist(desk: Desk, asked: Order) -> str:
    """Ask until there is an answer, as clients do; return the refusal's name, or "done"."""
    while True:
        try:
            await desk.carry_out(asked)
        except Refused as refused:
            return type(refused).__name__
        except BusyError:
            continue
        return "done"


async def competition(desk: Desk, teams: int, kinds: Sequence[str], lanes: int) -> None:
    """Put on record an organisation with teams and inspections that have this many lanes."""
    rules = Rules(
        name="Brakes",
        duration_minutes=30,
        classes=(ClassRules(vehicle_class="EV"),),
        lanes=lanes,
        buffer_minutes=10,
        hold_minutes=2,
    )
    opened = TenantOpened(name="Formula", time_zone="Europe/Ljubljana", currency="EUR")
    orders = [order(TENANTS, str(TENANT), Tell(facts=(opened,)))]
    orders += [order(INSPECTION_TYPES, kind, Tell(facts=(InspectionTypeDefined(rules=rules),))) for kind in kinds]
    for number in range(teams):
        registered = TeamRegistered(name=f"Team {number}", code=f"T{number}", vehicle_class="EV")
        orders.append(order(TEAMS, f"team-{number}", Tell(facts=(registered,))))
    await asyncio.gather(*(desk.carry_out(one) for one in orders))


async def two_desks(stack: AsyncExitStack, database: Database) -> list[Desk]:
    """Two desks over one log, as two write processes have them."""
    opened = (open_desk(database.writer, streams=list(STREAMS.values())) for _ in range(2))
    return [await stack.enter_async_context(one) for one in opened]


def replayed(database: Database) -> Replayed:
    """Everything that was booked, from the log."""
    codec, told = Codec(STREAMS.values(), Vault(MASTER_KEY)), Replayed()
    with psycopg.connect(database.owner) as connection:
        for originator, version, topic, state, id, at in connection.execute(HAPPENED, binary=True):
            told.happened(id, codec.decode(topic, state, originator, version), at)
    return told


def dice() -> random.Random:
    """Dice whose throws can be repeated."""
    seed = int(os.environ.get("FIELDLOG_TEST_SEED", time.time_ns() % 100_000))
    print(f"FIELDLOG_TEST_SEED={seed}")
    return random.Random(seed)


@pytest.mark.parametrize("lanes", [1, 3])
def test_one_slot_goes_to_as_many_of_two_hundred_teams_as_there_are_lanes(database: Database, lanes: int) -> None:
    drawn = dice()

    async def story() -> Counter[str]:
        async with AsyncExitStack() as stack:
            desks = await two_desks(stack, database)
            await competition(desks[0], REQUESTS, ["brakes"], lanes)
            request = [
                order(
                    BOOKINGS,
                    f"booking-{number}",
                    RequestBooking(
                        team_id=f"team-{number}",
                        inspection_type_id="brakes",
                        starts_at=MIDNIGHT + drawn.randint(-20, 19) * MINUTE,
                        lane=drawn.choice((None, None, *range(1, lanes + 1))),
                    ),
                )
                for number in range(REQUESTS)
            ]
            asked = [insist(drawn.choice(desks), one) for one in request]
            return Counter(await asyncio.gather(*asked))

    outcomes = asyncio.run(story())
    assert outcomes == {"done": lanes, "SlotNotFree": REQUESTS - lanes}
    told = replayed(database)
    told.check()
    assert sorted(one.lane for one in told.bookings.values()) == list(range(1, lanes + 1))


@dataclass
class Paddock:
    """Teams that request, confirm, move and cancel at will, at two doors of which one has a clock that is late."""

    desks: Sequence[Desk]
    dice: random.Random
    now: datetime = NOW
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)

    async def team(self, number: int) -> None:
        """Ask for one thing after another, for two at a time now and then, while the clocks go on."""
        bookings: list[str] = []
        for step in range(STEPS):
            if not bookings or self.dice.random() < 0.3:
                kind, id = self.dice.choice(("brakes", "tilt")), f"booking-{number}-{step}"
                request = RequestBooking(team_id=f"team-{number}", inspection_type_id=kind, **self._slot())
                if await self._ask(id, request) == "done":
                    bookings.append(id)
            else:
                id = self.dice.choice(bookings[-2:])
                await asyncio.gather(*(self._ask(id, self._draw()) for _ in range(self.dice.choice((1, 1, 2)))))

    def _slot(self) -> dict[str, Any]:
        minutes = self.dice.randrange(-300, 300, 20)
        return {"starts_at": MIDNIGHT + minutes * MINUTE, "lane": self.dice.choice((None, None, 1, 2))}

    def _draw(self) -> Command:
        choices = (ConfirmBooking(), RescheduleBooking(**self._slot()), CancelBooking(reason="Rain"), ExpireHold())
        return self.dice.choices(choices, (4, 4, 1, 2))[0]

    async def _ask(self, id: str, command: Command) -> str:
        self.now += STEP
        door = self.dice.randrange(2)
        outcome = await insist(self.desks[door], order(BOOKINGS, id, command, self.now - LATE * door))
        self.outcomes[type(command).__name__, outcome] += 1
        return outcome


def test_no_lane_and_no_car_is_booked_twice_while_holds_expire_and_bookings_move(database: Database) -> None:
    drawn = dice()

    async def story() -> Counter[tuple[str, str]]:
        async with AsyncExitStack() as stack:
            paddock = Paddock(await two_desks(stack, database), drawn)
            await competition(paddock.desks[0], TEAMS_AT_WORK, ["brakes", "tilt"], lanes=2)
            await asyncio.gather(*(paddock.team(number) for number in range(TEAMS_AT_WORK)))
            return paddock.outcomes

    outcomes = asyncio.run(story())
    told = replayed(database)
    told.check()
    done = {command for command, outcome in outcomes if outcome == "done"}
    assert done == {"RequestBooking", "ConfirmBooking", "RescheduleBooking", "CancelBooking", "ExpireHold"}
    assert {outcome for _, outcome in outcomes} - {"done"} <= {one.__name__ for one in TRIED}
    assert outcomes["RequestBooking", "SlotNotFree"]
    assert outcomes["ConfirmBooking", "HoldIsOver"]
