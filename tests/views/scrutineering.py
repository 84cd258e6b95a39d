"""A day of scrutineering, asked through the public API: two stations, two teams, and what becomes of their bookings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

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


LEADERS = {"red": "rita", "blue": "ben"}
PAPERS = [
    {"code": "P1", "section": "Papers", "description": "Registration"},
    {"code": "P2", "section": "Papers", "description": "Insurance", "order_index": 1},
]


def noon_zone() -> str:
    """A time zone in which it is about noon, so that a story of hours stays on one local date."""
    ahead = 12 - datetime.now(UTC).hour
    return f"Etc/GMT{-ahead:+d}"


class Paddock:
    """An organisation that scrutineers; its staff asks for everything, what only Fieldlog itself may ask for included."""

    def __init__(self, house: House, staff: Person, earlier: Past) -> None:
        self._house, self.staff, self._earlier = house, staff, earlier
        self.now = datetime.now(UTC).replace(microsecond=0)
        self.today = self.now.astimezone(ZoneInfo(noon_zone())).date()

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

    def has_time(self, person: str, *minutes: tuple[float, float]) -> None:
        """Let somebody say when he has time today."""
        spans = [{"starts_at": self.at(a).isoformat(), "ends_at": self.at(b).isoformat()} for a, b in minutes]
        self.staff.ask(f"/people/{person}/announce-availability", {"day": str(self.today), "spans": spans})

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
        self.did(f"/bookings/{id}/check-in", minute, {"attendees": [LEADERS[team]]})
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
        """Everything there is: bookings that are over, to come and in between, cars that wait, and many hands at one of them."""
        self.begin()
        self.has_time("sam", (-180, 180))
        self.has_time("tea", (-180, 30), (30, 180))
        self.has_time("ida", (0, 30))
        self.inspect()
        self.book_more()
        self.check_together()
        self.attach()
        self.think_again()

    def inspect(self) -> None:
        """An inspection that is done, one that goes on, and a queue."""
        self.check_in("done", "red", "pre", -120, notes="First")
        self.start("done", -120)
        self.complete("done", -95, "conditional_pass", conditions=["Mirror"])
        self.person("rita", Role.TEAM_LEADER).ask("/inspections/done/give-feedback", {"score": 4})
        self.staff.ask("/checklist-templates/pre/draft", {"items": PAPERS, "source": "rules"})
        self.staff.ask("/checklist-templates/pre/publish")
        self.check_in("going", "blue", "pre", -30)
        self.start("going", -20)
        self.check_in("next", "blue", "brake", -8)
        self.check_in("urgent", "red", "brake", -40, priority=5)

    def book_more(self) -> None:
        """Bookings that came to nothing, one that is held and one that is to come; who inspects what."""
        self.book("absent", "blue", "brake", -100, -100)
        self.did("/bookings/absent/mark-no-show", -90)
        self.book("off", "red", "brake", 150)
        self.request("lapsed", "blue", "pre", 120, -60)
        self.request("held", "blue", "pre", 25)
        self.book("soon", "red", "pre", 25, priority=2, rescrutineering=True)
        for id, person in (("soon", "sam"), ("going", "tea"), ("going", "ida")):
            self.did(f"/bookings/{id}/assign-scrutineer", 0, {"person_id": person})

    def check_together(self) -> None:
        """Two scrutineers contradict each other, a third one's phone was offline; what they found is to be mended."""
        failed = {"item": "P1", "status": "failed", "comment": "Out of date", "based_on": 0}
        self.person("tea", Role.SCRUTINEER).ask("/inspections/going/check", failed)
        self.person("ida", Role.SCRUTINEER).ask("/inspections/going/check", failed | {"status": "passed"})
        late = {"item": "P2", "status": "passed", "based_on": 0, "branch": "phone", "step": 2}
        self.person("sam", Role.SCRUTINEER).ask("/inspections/going/check", late)
        self.did("/follow-ups/going.1/open", 0, {"inspection_id": "going", "item": "P1"})
        self.staff.ask(
            "/client-reports/A1/alert", {"kind": "inspection_failure", "error": "500", "booking_id": "going"}
        )

    def attach(self) -> None:
        """A file that came, and one that did not."""
        file = {"name": "P1.jpg", "size": 3, "media_type": "image/jpeg", "sha256": "00" * 32}
        for id, item in (("photo", "P1"), ("lost", None)):
            self.did(
                f"/attachments/{id}/declare", -10, file | {"booking_id": "going", "item": item, "key": id, "parts": 1}
            )
        self.did("/attachments/photo/complete", -10, {key: file[key] for key in ("size", "media_type", "sha256")})

    def think_again(self) -> None:
        """What was said is said otherwise; somebody leaves, and a team gives up."""
        self.staff.ask("/teams/green/register", {"name": "Green Racing", "code": "GRN", "vehicle_class": "EV"})
        self.staff.ask("/people/gus/register", {"name": "Gus", "team_id": "green", "roles": ["team_member"]})
        self.staff.ask("/people/gus/give-role", {"role": "driver"})
        self.staff.ask("/people/gus/withdraw-role", {"role": "driver"})
        self.staff.ask("/people/gus/leave")
        self.staff.ask("/teams/green/withdraw", {"reason": "Battery"})
        self.did("/bookings/off/reschedule", 0, {"starts_at": self.at(170).isoformat()})
        self.did("/bookings/off/cancel", 0, {"reason": "Battery"})
        self.did("/bookings/going/remove-scrutineer", 0, {"person_id": "ida"})
        self.did("/bookings/next/prioritize", 0, {"priority": 1})
        self.did("/inspections/going/suspend", -10, {"reason": "Rain"})
        self.did("/inspections/going/resume", -10)
        self.staff.ask("/inspections/going/lock-item", {"item": "P2"})
        self.staff.ask("/inspections/going/resolve-conflict", {"number": 1, "resolution": "keep_current"})


@contextmanager
def scrutineering(house: House, staff: Person) -> Iterator[Paddock]:
    """Open an organisation, where it is about noon, and its paddock."""
    staff.ask(f"/tenants/{staff.tenant}/open", {"name": "Hub", "time_zone": noon_zone(), "currency": "EUR"})
    with past(house.settings, staff.tenant) as earlier:
        yield Paddock(house, staff, earlier)
