"""A booking to which something can be attached, files, and people who send them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx

from domain.roles import Role
from infra.settings import Settings
from tests.conftest import TENANT
from tests.objects.s3 import files
from tests.views.house import House, Person

MIB = 1024**2
OPENED = {"name": "Formula", "time_zone": "Europe/Ljubljana", "currency": "EUR"}
BRAKE = {"rules": {"name": "Brake test", "duration_minutes": 30, "lanes": 9, "classes": [{"vehicle_class": "EV"}]}}
SIGNATURES = {
    "image/png": b"\x89PNG\r\n\x1a\n",
    "image/jpeg": b"\xff\xd8\xff\xe0",
    "application/pdf": b"%PDF-1.7\n",
    "text/html": b"<!doctype html><script>alert(1)</script>",
}
_numbers = count(1)


def bytes_of(size: int, kind: str = "image/png") -> bytes:
    """Return a file of this size that begins as those of its type do."""
    head = SIGNATURES[kind]
    return head + random.Random(size).randbytes(size - len(head))


@dataclass
class File:
    """A file on its way to an attachment; what is said of it may be a lie."""

    content: bytes
    name: str = "brakes.png"
    media_type: str = "image/png"
    size: int = 0
    sha256: str = ""
    item: str | None = None
    booking: str = "b-volt"
    id: str = field(default_factory=lambda: f"file-{next(_numbers)}")

    def __post_init__(self) -> None:
        self.size = self.size or len(self.content)
        self.sha256 = self.sha256 or sha256(self.content).hexdigest()

    def declared(self, sender: Person, **headers: str) -> httpx.Response:
        """Declare it."""
        item = {"item": self.item} if self.item is not None else {}
        about = {"name": self.name, "size": self.size, "media_type": self.media_type, "sha256": self.sha256}
        return sender.write.ask("/uploads", {"id": self.id, "booking_id": self.booking} | item | about, **headers)

    def part(self, sender: Person, number: int = 1, content: Any = None) -> httpx.Response:
        """Send a part of it, or something else."""
        content = self.content if content is None else content
        return sender.write.http.put(f"/uploads/{self.id}/parts/{number}", content=content, timeout=60)

    def complete(self, sender: Person, **headers: str) -> httpx.Response:
        """Say that all of it is sent; what is read by this person afterwards shows it."""
        answer = sender.write.ask(f"/uploads/{self.id}/complete", **headers)
        if answer.status_code == httpx.codes.OK:
            sender.position = max(sender.position, answer.json()["position"])
        return answer

    def sent(self, sender: Person) -> File:
        """Send all of it."""
        told = self.declared(sender)
        assert told.status_code == httpx.codes.CREATED, told.text
        size = told.json()["part_size"]
        for number in range(told.json()["parts"]):
            answer = self.part(sender, number + 1, self.content[number * size : (number + 1) * size])
            assert answer.status_code == httpx.codes.NO_CONTENT, answer.text
        answer = self.complete(sender)
        assert answer.status_code == httpx.codes.OK, answer.text
        return self


def scrutineering(house: House, tenant: UUID = TENANT) -> Person:
    """Open an organisation in which two teams have booked a brake test; return somebody who inspects there."""
    chief = house.person(Role.INSPECTION_RESPONSIBLE, Role.ADMIN, subject="chief", tenant=tenant)
    chief.ask(f"/tenants/{tenant}/open", OPENED)
    chief.ask("/inspection-types/brake/define", BRAKE)
    starts = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    for team in ("volt", "amps"):
        chief.ask(f"/teams/{team}/register", {"name": team, "code": team, "vehicle_class": "EV"})
        member = {"name": f"Of {team}", "user": f"user-{team}", "team_id": team, "roles": ["team_member"]}
        chief.ask(f"/people/{team}-1/register", member)
        chief.ask(f"/bookings/b-{team}/request", {"team_id": team, "inspection_type_id": "brake", "starts_at": starts})
    crew = house.person(Role.SCRUTINEER, subject="sam", tenant=tenant)
    crew.position = chief.position
    return crew


def member_of(house: House, crew: Person, team: str) -> Person:
    """Return somebody of a team."""
    member = house.person(Role.TEAM_MEMBER, subject=f"user-{team}", tenant=crew.tenant)
    member.position = crew.position
    return member


def kept(settings: Settings) -> list[str]:
    """Return every file that is kept in a directory, what broken writes left too."""
    return files(Path(settings.objects_place))


def pieces(content: bytes, size: int = 65_536) -> Iterator[bytes]:
    """Yield content piece by piece, so that its length is not told beforehand."""
    for start in range(0, len(content), size):
        yield content[start : start + size]
