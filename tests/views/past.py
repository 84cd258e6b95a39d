"""What happened long ago: commands as a door took them then, for stories about what is kept and what is forgotten."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from commands.catalog import COMMANDS
from domain.catalog import STREAMS
from domain.roles import Actor, Role
from infra.log.codec import Envelope
from infra.log.identity import random_command_id
from infra.log.order import Order
from infra.log.service import LogService, open_log
from infra.settings import Settings
from tests.conftest import TENANT
from tests.views.haulage import DEPOT, LANDFILL, QUARRY, Day, drive, rate, site, stand

LONG_AGO = (datetime.now(UTC) - timedelta(days=40)).replace(hour=20, minute=0, second=0, microsecond=0)


class Past:
    """An organisation's office and clock at some time in the past; it asks as a person asks, of a desk of its own."""

    def __init__(self, runner: asyncio.Runner, log: LogService, tenant: UUID, now: datetime) -> None:
        self._runner, self._log = runner, log
        self.tenant, self.now = tenant, now

    def ask(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        occurred_at: str | None = None,
        command_id: UUID | None = None,
    ) -> dict[str, Any]:
        """Let a command be carried out by an office that may ask for everything; return its position."""
        _, stream, id, verb = path.split("/")
        order = Order(
            tenant_id=self.tenant,
            stream=STREAMS[stream],
            id=id,
            command=COMMANDS[stream][verb].model_validate_json(json.dumps(body or {})),
            by=Actor("ana", frozenset({Role.ADMIN, Role.DISPATCHER, Role.SYSTEM})),
            at=datetime.fromisoformat(occurred_at) if occurred_at else self.now,
            now=self.now,
            command_id=command_id or random_command_id(),
            envelope=Envelope(command=f"{stream}.{verb}", actor="ana"),
        )
        return {"position": self._runner.run(self._log.desk.carry_out(order)).position}


@contextmanager
def past(
    settings: Settings, tenant: UUID = TENANT, now: datetime = LONG_AGO, office: type[Past] = Past
) -> Iterator[Past]:
    """Go to the office of an organisation in the past."""
    with asyncio.Runner() as runner:
        opened = open_log(settings)
        log = runner.run(opened.__aenter__())
        try:
            yield office(runner, log, tenant, now)
        finally:
            runner.run(opened.__aexit__(None, None, None))


class OldDay(Day):
    """A day long ago, of three tracks: two trips and one off trips; every fix of it arrived on one UTC day."""

    def __init__(self, office: Past) -> None:
        super().__init__(office, office.now - timedelta(hours=10))  # type: ignore[arg-type]

    def whole(self) -> None:
        """Two trips with stops at sites, at no site and late fixes, and fixes outside of trips."""
        company = {"name": "Eco-Haul", "time_zone": "Europe/Ljubljana", "currency": "EUR"}
        self.ask(f"/tenants/{self.office.tenant}/open", company, 0)
        for id, place in {"depot": DEPOT, "landfill": LANDFILL}.items():
            self.ask(f"/sites/{id}/register", site(id, place, rate=rate(100)), 0)
        for n in (1, 2):
            self.ask(f"/trucks/T{n}/register", {"number": f"T{n}", "plate": f"T{n}"}, 1)
            self.ask(f"/drivers/D{n}/register", {"name": f"D{n}", "user": f"user-D{n}"}, 2)
            self.ask(f"/drivers/D{n}/go-on-duty", minute=3)
        self.trip("good")
        way = drive(self.at(10), DEPOT, LANDFILL, 24)
        self.fixes("good", [*way[:6], *way[10:]])
        self.fixes("good", way[6:10])
        self.fixes("good", stand(self.at(34), LANDFILL, 600))
        self.ask("/trips/good/complete", minute=80)
        self.trip("open", "D2", "T2", 20)
        self.fixes("open", [*drive(self.at(20), QUARRY, DEPOT), *stand(self.at(32), QUARRY, 420)], 70)
        off = [*drive(self.at(100), LANDFILL, QUARRY), *stand(self.at(112), QUARRY, 240)]
        self.ask("/drivers/D1/record-locations", {"fixes": off}, 130)
