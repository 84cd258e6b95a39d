"""A day of scrutineering, asked through the public API: two stations, two teams, and what becomes of their bookings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from domain.roles import Role
from tests.views.house import House, Person
from tests.views.past import Past, past

BOTH = [{"vehicle_class": "EV"}, {"vehicle_class": "CV"}]
TYPES = {
    "pre": {"name": "Pre-inspection", "duration_minutes": 20, "lanes": 2, "buffer_minutes": 5, "classes": BOTH},
    "brake": {"name": "Brake test", "duration_minutes": 30, "notice_minutes": 1, "classes": BOTH},
}
TEAMS = {
    "red": {"name": "Red Racing", "code": "RED", "vehicle_class": "EV", "university": "Ljubljana", "number": 7},
    "blue": {"name": "Blue Racing", "code": "BLU", "vehicle_class": "CV", "number": 8},
}
PEOPLE = {
    "rita": {"name": "Rita", "email": "rita@red.si", "phone": "041 1", "team_id": "red", "roles": ["team_leader"]},
    "rok": {"name": "Rok", "team_id": "red", "roles": ["driver", "team_member"]},
    "ben": {"name": "Ben", "email": "ben@blue.si", "team_id": "blue", "roles": ["team_leader"]},
    "sam": {"name": "Sam", "email": "sam@hub.si", "roles": ["scrutineer"]},
    "tea": {"name": "Tea", "roles": ["scrutineer"]},
    "ida": {"name": "Ida", "roles": ["inspection_responsible"]},
}


def noon_zone() -> str:
    """A time zone in which it is about noon, so that a story of hours stays on one local date."""
    ahead = 12 - datetime.now(UTC).hour
    return f"Etc/GMT{-ahead:+d}"


class Paddock:
    """An organisation that scrutineers; its staff asks for everything, what only Fieldlog itself may ask for included."""

    def __init__(self, house: House, staff: Person, earlier: Past) -> None:
        self._house, self.staff, self._earlier = house, staff, earlier
        self.now = datetime.now(UTC).replace(microsecond=0)

    def person(self, user: str, *roles: Role) -> Person:
        """Somebody of the organisation, who reads what has been done until now."""
        person = self._house.person(*roles, subject=user, tenant=self.staff.tenant)
        person.position = self.staff.position
        return person

    def at(self, minute: float) -> datetime:
        """A moment before or after now."""
        return self.now + timedelta(minutes=minute)

    def begin(self) -> None:
        """Stations, teams and people."""
        for id, rules in TYPES.items():
            self.staff.ask(f"/inspection-types/{id}/define", {"rules": rules})
        for id, team in TEAMS.items():
            self.staff.ask(f"/teams/{id}/register", team)
        for id, person in PEOPLE.items():
            self.staff.ask(f"/people/{id}/register", {**person, "user": id})

    def has_time(self, person: str, day: str, *minutes: tuple[float, float]) -> None:
        """Let somebody say when he has time."""
        spans = [{"starts_at": self.at(a).isoformat(), "ends_at": self.at(b).isoformat()} for a, b in minutes]
        self.staff.ask(f"/people/{person}/announce-availability", {"day": day, "spans": spans})

    def request(self, id: str, team: str, kind: str, minute: float, asked: float = 0, **more: Any) -> None:
        """Request a booking that begins at a minute."""
        body = {"team_id": team, "inspection_type_id": kind, "starts_at": self.at(minute).isoformat(), **more}
        self.did(f"/bookings/{id}/request", asked, body)

    def book(self, id: str, team: str, kind: str, minute: float, asked: float = 0, **more: Any) -> None:
        """Request a booking and confirm it."""
        self.request(id, team, kind, minute, asked, **more)
        self.did(f"/bookings/{id}/confirm", asked)

    def check_in(self, id: str, team: str, kind: str, minute: float, **more: Any) -> None:
        """Book an inspection and come to it in time, so that it is ready."""
        self.book(id, team, kind, minute, minute, **more)
        self.did(f"/bookings/{id}/check-in", minute, {"attendees": ["rok"]})
        car = {"team_id": team, "inspection_type_id": kind, "vehicle_class": TEAMS[team]["vehicle_class"]}
        self.did(f"/inspections/{id}/prepare", minute, car)

    def start(self, id: str, minute: float) -> None:
        """Begin an inspection."""
        self.did(f"/inspections/{id}/start", minute)
        self.did(f"/bookings/{id}/start", minute)

    def complete(self, id: str, minute: float, result: str = "passed", **more: Any) -> None:
        """Bring an inspection to a result."""
        self.did(f"/inspections/{id}/complete", minute, {"result": result, **more})
        self.did(f"/bookings/{id}/complete", minute, {"result": result})

    def did(self, path: str, minute: float, body: Any = None) -> None:
        """Let something be done at a minute, as a door took it then."""
        self._earlier.now = self.at(minute)
        self.staff.position = max(self.staff.position, self._earlier.ask(path, body)["position"])

    def whole(self) -> None:
        """Bookings of every kind, some of them over and some to come, and cars that wait."""
        self.begin()
        self.check_in("done", "red", "pre", -120, notes="First")
        self.start("done", -120)
        self.complete("done", -95, "conditional_pass", conditions=["Mirror"])
        self.person("rita", Role.TEAM_LEADER).ask("/inspections/done/give-feedback", {"score": 4})
        self.check_in("going", "blue", "pre", -30)
        self.start("going", -20)
        self.check_in("next", "blue", "brake", -8)
        self.check_in("urgent", "red", "brake", -40, priority=5)
        self.book("absent", "blue", "brake", -100, -100)
        self.did("/bookings/absent/mark-no-show", -90)
        self.book("off", "red", "brake", 150)
        self.did("/bookings/off/cancel", 0, {"reason": "Battery"})
        self.request("lapsed", "blue", "pre", 120, -60)
        self.request("held", "blue", "pre", 25)
        self.book("soon", "red", "pre", 25, priority=2, rescrutineering=True)
        for id, person in (("soon", "sam"), ("going", "tea"), ("going", "ida")):
            self.did(f"/bookings/{id}/assign-scrutineer", 0, {"person_id": person})


@contextmanager
def scrutineering(house: House, staff: Person) -> Iterator[Paddock]:
    """Open an organisation's paddock, where it is about noon."""
    hub = {"name": "Hub", "time_zone": noon_zone(), "currency": "EUR"}
    staff.ask(f"/tenants/{staff.tenant}/open", hub)
    with past(house.settings, staff.tenant) as earlier:
        yield Paddock(house, staff, earlier)
