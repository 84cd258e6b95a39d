"""Many hands on one checklist, through two write processes: whatever the interleaving, nothing that was said is lost."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any, ClassVar, cast
from uuid import UUID, uuid4

import psycopg

from commands.inspections.checks import CheckItem, CheckTaken
from commands.inspections.inspections import PrepareInspection, StartInspection
from commands.kernel import Asked, Command, Decision
from domain.inspections.checklists import (
    CHECKLIST_VERSIONS,
    CHECKLISTS,
    ChecklistDrafted,
    ChecklistPublished,
    Item,
    VersionPublished,
)
from domain.inspections.checks import OPEN, CheckHeld, CheckValue, ConflictFound, HeldCheckReleased, ItemChecked
from domain.inspections.inspections import INSPECTIONS
from infra.log.codec import Codec
from infra.log.desk import Desk
from infra.log.order import BusyError, Receipt
from infra.log.vault import Vault
from tests.accounting import Meant, first_seed, lost, otherwise
from tests.conftest import Database
from tests.log.desks import MASTER_KEY, open_desk, order

STREAMS = (INSPECTIONS, CHECKLISTS, CHECKLIST_VERSIONS)
ITEMS = tuple(Item(code=f"item-{number}", section="Belts", description="Sound") for number in range(300))
SCRUTINEERS = ("vera", "otto", "ada")
AT_ONCE = 8
ROWS = """select notification_id, topic, state, originator_id, originator_version from fieldlog.log
           where stream = 'inspections' order by notification_id"""


class PublishSheet(Command):
    """Publish the 300 items."""

    creates: ClassVar = True

    def decide(self, state: Any, asked: Asked) -> Decision:
        if asked.id == "mechanical":
            yield ChecklistDrafted(items=ITEMS)
            yield ChecklistPublished(version=1, items=len(ITEMS))
        else:
            yield VersionPublished(checklist_id="mechanical", version=1, items=ITEMS)


@asynccontextmanager
async def two_desks(database: Database) -> AsyncIterator[Sequence[Desk]]:
    """Two write processes, and an inspection that is being worked on."""
    async with (
        open_desk(database.writer, streams=STREAMS) as ours,
        open_desk(database.writer, streams=STREAMS) as theirs,
    ):
        prepare = PrepareInspection(team_id="team", inspection_type_id="mechanical", vehicle_class="EV")
        await ours.carry_out(order("mechanical", PublishSheet(), stream=CHECKLISTS))
        await ours.carry_out(order("mechanical.1", PublishSheet(), stream=CHECKLIST_VERSIONS))
        await ours.carry_out(order("inspection", prepare, stream=INSPECTIONS))
        await ours.carry_out(order("inspection", StartInspection(), stream=INSPECTIONS))
        yield ours, theirs


async def say(desk: Desk, command: CheckItem, by: str) -> tuple[Receipt, CheckTaken]:
    """Let somebody check an item, and ask again if nobody had time for him."""
    key = str(uuid4())
    while True:
        try:
            receipt = await desk.carry_out(order("inspection", command, key, stream=INSPECTIONS, by=by))
        except BusyError:
            continue
        return receipt, cast(CheckTaken, receipt.answer)


def log_of(database: Database) -> dict[int, Any]:
    """The facts of the inspection, by position."""
    codec = Codec(STREAMS, Vault(MASTER_KEY))
    with psycopg.connect(database.owner) as connection:
        rows = connection.execute(ROWS).fetchall()
    return {
        position: codec.decode(topic, bytes(state), UUID(str(id)), version)
        for position, topic, state, id, version in rows
    }


def value_of(command: CheckItem) -> CheckValue:
    """What a command says."""
    return CheckValue(status=command.status, comment=command.comment)


def saying(item: str, value: CheckValue, based_on: int, **more: Any) -> CheckItem:
    """A command that says this."""
    return CheckItem(item=item, status=value.status, comment=value.comment, based_on=based_on, **more)


def test_three_scrutineers_on_different_items_do_not_disturb_each_other(database: Database) -> None:
    chance = Random(first_seed())
    commands = [saying(item.code, otherwise(OPEN, chance, "seen"), 0) for item in ITEMS]
    commands = [one.model_copy(update={"status": "passed"}) for one in commands]
    chance.shuffle(commands)

    async def scrutineer(desk: Desk, by: str, own: Sequence[CheckItem]) -> list[CheckTaken]:
        taken = []
        for start in range(0, len(own), AT_ONCE):
            answers = await asyncio.gather(*(say(desk, one, by) for one in own[start : start + AT_ONCE]))
            taken += [answer for _, answer in answers]
        return taken

    async def story() -> list[CheckTaken]:
        async with two_desks(database) as desks:
            work = [scrutineer(desks[n % 2], by, commands[n::3]) for n, by in enumerate(SCRUTINEERS)]
            return [one for taken in await asyncio.gather(*work) for one in taken]

    taken = asyncio.run(story())
    assert Counter((one.outcome, one.revision) for one in taken) == {("recorded", 1): len(ITEMS)}
    said = {fact.item: fact.value for fact in log_of(database).values() if isinstance(fact, ItemChecked)}
    assert said == {one.item: value_of(one) for one in commands}


def test_what_three_scrutineers_say_of_the_same_items_is_all_accounted_for(database: Database) -> None:
    chance = Random(first_seed())

    async def twice(desk: Desk, by: str, item: str) -> list[tuple[Meant, Receipt, CheckTaken]]:
        """Say something of an item as nobody had said anything, then something more of what the answer shows."""
        first = Meant(saying(item, otherwise(OPEN, chance, f"{by}-1-{item}."), 0), OPEN)
        receipt, answer = await say(desk, first.command, by)
        seen = CheckValue(status=answer.status, comment=answer.comment)
        second = Meant(saying(item, otherwise(seen, chance, f"{by}-2-{item}."), answer.revision), seen)
        return [(first, receipt, answer), (second, *await say(desk, second.command, by))]

    async def scrutineer(desk: Desk, by: str) -> list[tuple[Meant, Receipt, CheckTaken]]:
        codes, said = [item.code for item in ITEMS], []
        chance.shuffle(codes)
        codes.sort(key=lambda code: int(code.removeprefix("item-")) // 20)  # they are near each other, as in a garage
        for start in range(0, len(codes), AT_ONCE):
            for pair in await asyncio.gather(*(twice(desk, by, code) for code in codes[start : start + AT_ONCE])):
                said += pair
        return said

    async def story() -> list[tuple[Meant, Receipt, CheckTaken]]:
        async with two_desks(database) as desks:
            work = [scrutineer(desks[n % 2], by) for n, by in enumerate(SCRUTINEERS)]
            return [one for said in await asyncio.gather(*work) for one in said]

    said, log = asyncio.run(story()), log_of(database)
    outcomes = Counter(answer.outcome for _, _, answer in said)
    print(dict(outcomes))
    assert sum(outcomes.values()) == len(SCRUTINEERS) * len(ITEMS) * 2
    assert outcomes.keys() == {"recorded", "equal", "merged", "conflict", "unchanged"}
    checked = Counter(fact.merge or "recorded" for fact in log.values() if isinstance(fact, ItemChecked))
    assert {how: outcomes[how] for how in ("recorded", "equal", "merged")} == checked
    conflicts = [fact.number for fact in log.values() if isinstance(fact, ConflictFound)]
    assert conflicts == list(range(1, outcomes["conflict"] + 1))
    answered = [
        (meant, log[receipt.position - len(receipt.facts) + 1] if receipt.facts else None) for meant, receipt, _ in said
    ]
    assert list(lost(log.values(), answered)) == []


def test_a_tablet_that_sends_everything_at_once_is_heard_step_by_step(database: Database) -> None:
    chance, steps = Random(first_seed()), 250
    commands = [
        saying(chance.choice(ITEMS).code, CheckValue(status="passed", comment=str(step)), 0, branch="tablet", step=step)
        for step in range(1, steps + 1)
    ]
    sent = commands * 2
    chance.shuffle(sent)

    async def story() -> list[CheckTaken]:
        async with two_desks(database) as desks:
            taken = []
            for start in range(0, len(sent), 20):
                together = [say(chance.choice(desks), one, "otto") for one in sent[start : start + 20]]
                taken += [answer for _, answer in await asyncio.gather(*together)]
            return taken

    outcomes, log = Counter(one.outcome for one in asyncio.run(story())), log_of(database).values()
    assert [fact.step for fact in log if isinstance(fact, ItemChecked)] == list(range(1, steps + 1))
    held = sorted(fact.step for fact in log if isinstance(fact, CheckHeld))
    assert held == [fact.step for fact in log if isinstance(fact, HeldCheckReleased)]
    assert outcomes == {"held": len(held), "recorded": steps - len(held), "unchanged": steps}
