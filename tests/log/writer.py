"""A write process for the property test: carries out commands that follow from a seed, and prints what was acknowledged.

Started again with the same seed, it asks the same commands again under the same ids, as clients do who got no answer.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys

from commands.kernel import Command
from infra.log.desk import Desk
from infra.log.order import BusyError, Order
from tests.log.counting import Count, CountBoth, CountEven, Odd
from tests.log.desks import open_desk, order

CALLERS = 16


def command(dice: random.Random, mark: str) -> tuple[str, Command]:
    """Draw a counter and what to do with it."""
    id, other = dice.choices("abcdef", k=2)
    return id, dice.choice((Count(mark=mark), CountBoth(other=other, mark=mark), CountEven(mark=mark)))


async def insist(desk: Desk, asked: Order) -> dict[str, object]:
    """Ask until there is an answer."""
    while True:
        try:
            receipt = await desk.carry_out(asked)
            return {"position": receipt.position, "version": receipt.version, "facts": len(receipt.facts)}
        except Odd:
            return {"facts": 0}
        except BusyError:
            continue


async def main(url: str, seed: int, commands: int) -> None:
    """Carry out this many commands with several callers; one in five is asked twice."""
    dice = random.Random(seed)
    numbered = [(key, *command(dice, key)) for key in (f"{seed}.{n}" for n in range(commands))]
    queue = iter([one for one in numbered for _ in range(1 + (dice.random() < 0.2))])

    async def caller(desk: Desk) -> None:
        for key, id, asked in queue:
            made = order(id, asked, key)
            print(json.dumps({"command": str(made.command_id), **await insist(desk, made)}), flush=True)

    async with open_desk(url) as desk:
        await asyncio.gather(*(caller(desk) for _ in range(CALLERS)))
    print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
