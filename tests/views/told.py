"""Stories that are told as facts: stored as a write process stores them, whatever the doors would have said."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, ClassVar
from uuid import UUID

from commands.kernel import Asked, Command, Decision
from domain.catalog import STREAMS
from domain.kernel import Recorded
from domain.roles import Actor, Role
from infra.log.codec import Client, Envelope
from infra.log.identity import random_command_id
from infra.log.order import Order
from infra.log.service import open_log
from infra.settings import Settings
from tests.conftest import TENANT


class Tell(Command):
    """Let this have happened."""

    fact: Any
    creates: ClassVar = True

    def decide(self, state: Any, asked: Asked) -> Decision:
        yield self.fact


def tell(
    settings: Settings,
    *stories: Iterable[Recorded[Any]],
    tenant: UUID = TENANT,
    by: str = "ana",
    application: str = "hub",
) -> int:
    """Store facts in this order, as if somebody had asked for each; return the position of the last one."""
    told = [one for story in stories for one in story]
    return asyncio.run(_told(settings, told, tenant, by, application))


async def _told(settings: Settings, told: list[Recorded[Any]], tenant: UUID, by: str, application: str) -> int:
    position = 0
    async with open_log(settings) as log:
        for one in told:
            order = Order(
                tenant_id=tenant,
                stream=STREAMS[one.stream],
                id=one.id,
                command=Tell(fact=one.fact),
                by=Actor(by, frozenset({Role.ADMIN})),
                at=one.at,
                now=one.at,
                command_id=random_command_id(),
                envelope=Envelope(command=f"{one.stream}.tell", actor=by, roles=("admin",), application=application),
                client=Client(ip="192.0.2.7"),
            )
            position = (await log.desk.carry_out(order)).position
    return position
