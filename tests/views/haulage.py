"""A day of haulage, asked through the public API: everything that can happen to trips, late and repeated fixes included."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from tests.views.house import Person

LANDFILL = (46.0236, 14.4731)
DEPOT = (46.0552, 14.5480)
QUARRY = (46.0789, 14.4420)

Place = tuple[float, float]


def fix(at: datetime, place: Place, **more: float) -> dict[str, Any]:
    """One fix as a phone sends it."""
    return {"at": at.isoformat(), "latitude": place[0], "longitude": place[1], "accuracy_m": 8.0, **more}


def drive(start: datetime, here: Place, there: Place, fixes: int = 12, every_s: int = 60) -> list[dict[str, Any]]:
    """The fixes of a straight drive."""
    return [
        fix(
            start + timedelta(seconds=every_s * n),
            (
                here[0] + (there[0] - here[0]) * n / (fixes - 1),
                here[1] + (there[1] - here[1]) * n / (fixes - 1),
            ),
        )
        for n in range(fixes)
    ]


def stand(start: datetime, place: Place, seconds: int = 300) -> list[dict[str, Any]]:
    """The fixes of a truck that stands still."""
    return [fix(start + timedelta(seconds=second), place) for second in range(0, seconds + 1, 60)]


def rate(amount_minor: int, unit: str = "m3") -> dict[str, Any]:
    """A rate as it is sent."""
    return {"amount_minor": amount_minor, "currency": "EUR", "unit": unit}


def site(name: str, place: Place, **more: Any) -> dict[str, Any]:
    """A site as it is sent."""
    return {"name": name, "latitude": place[0], "longitude": place[1], **more}


def yesterday() -> datetime:
    """A morning that is over, in whole seconds."""
    return (datetime.now(UTC) - timedelta(days=1)).replace(hour=8, minute=0, second=0, microsecond=0)


class Day:
    """One organisation's day; ids are T1..T3, D1..D3, `depot`, `landfill`, `quarry` and the trips' own names."""

    def __init__(self, office: Person, begins: datetime | None = None) -> None:
        self.office, self.begins = office, begins or yesterday()

    def at(self, minute: float) -> datetime:
        """A moment of the day."""
        return self.begins + timedelta(minutes=minute)

    def ask(self, path: str, body: Any = None, minute: float | None = None) -> dict[str, Any]:
        """Let the office ask for something, which happened at this minute of the day."""
        headers = {} if minute is None else {"occurred_at": self.at(minute).isoformat()}
        return self.office.ask(path, body, **headers)

    def whole(self) -> None:
        """Everything, in an order as it happens."""
        self.begin()
        self.drive_well()
        self.drive_badly()
        self.drive_unpaid()
        self.drive_off_trips()
        self.close()

    def begin(self) -> None:
        """Trucks, drivers and sites."""
        self.ask("/sites/depot/register", site("Depot", DEPOT, address="Moste 1"), 0)
        self.ask("/sites/landfill/register", site("Landfill", LANDFILL, rate=rate(28_169)), 0)
        self.ask("/sites/quarry/register", site("Quarry", QUARRY), 0)
        capacities = {"T1": {"capacity_m3": "21.3324"}, "T2": {"net_capacity_m3": "20.5"}, "T3": {}}
        for id, capacity in capacities.items():
            self.ask(f"/trucks/{id}/register", {"number": id, "plate": f"LJ {id}", **capacity}, 1)
        for id, name in {"D1": "Ana Novak", "D2": "Bojan Kos", "D3": "Cvetka Zupan"}.items():
            self.ask(f"/drivers/{id}/register", {"name": name, "user": f"user-{id}", "phone": "041 1"}, 2)
        for id in ("D1", "D2"):
            self.ask(f"/drivers/{id}/go-on-duty", minute=3)
        self.ask("/drivers/D3/go-on-leave", {"until": "2026-12-24"}, 3)
        self.ask("/drivers/D1/assign-truck", {"truck_id": "T1"}, 3)
        self.ask("/trucks/T3/send-to-maintenance", {"reason": "brakes"}, 4)
        self.ask("/trucks/T2/deactivate", minute=4)
        self.ask("/trucks/T2/activate", minute=5)

    def trip(self, id: str, driver: str = "D1", truck: str = "T1", start: float = 10, **more: Any) -> None:
        """Schedule a trip and start it."""
        self.schedule(id, driver, truck, **more)
        self.ask(f"/trips/{id}/start", {"odometer_km": 48_000}, start)

    def schedule(self, id: str, driver: str = "D1", truck: str = "T1", **more: Any) -> None:
        """Schedule a trip for the day, from the depot to the landfill unless said otherwise."""
        plan = {"driver_id": driver, "truck_id": truck, "date": self.begins.date().isoformat()}
        self.ask(f"/trips/{id}/schedule", {"from_site_id": "depot", "to_site_id": "landfill"} | plan | more)

    def fixes(self, id: str, fixes: Sequence[dict[str, Any]], minute: float = 60) -> dict[str, Any]:
        """Send fixes of a trip."""
        return self.ask(f"/trips/{id}/record-locations", {"fixes": list(fixes)}, minute)

    def load(self, id: str, quantity: str, unit: str = "m3", receipt: str | None = None, minute: float = 70) -> None:
        """Record what was brought."""
        body = {"quantity": quantity, "unit": unit, "receipt_number": receipt or f"R-{uuid4()}", "evidence": "photo"}
        self.ask(f"/trips/{id}/record-load", body, minute)

    def drive_well(self) -> None:
        """A trip with late and repeated fixes, a stop, a load, and what comes after its end."""
        self.trip("good")
        way = drive(self.at(10), DEPOT, LANDFILL, 24)
        self.fixes("good", way[:6])
        self.fixes("good", way[10:])
        self.fixes("good", way[6:10])  # late
        self.fixes("good", way[2:8])  # repeated
        self.fixes("good", stand(self.at(34), LANDFILL, 600))
        self.load("good", "18.25", receipt="R-1")
        self.ask("/trips/good/complete", {"odometer_km": 48_012}, 80)
        self.load("good", "18.75", receipt="R-2", minute=90)
        self.fixes("good", stand(self.at(46), (LANDFILL[0] + 0.002, LANDFILL[1]), 240), 95)  # after the end
        self.ask("/trips/good/flag", {"compliance": "needs_review", "note": "late receipt"}, 99)

    def drive_badly(self) -> None:
        """A trip whose fixes are of every kind that does not count, cancelled; another one cancelled before it began."""
        self.trip("bad", "D2", "T2", 20)
        way = drive(self.at(20), DEPOT, QUARRY)
        wrong = [
            fix(self.at(20.5), (95.0, 14.5)),
            fix(datetime.now(UTC) + timedelta(days=3), DEPOT),
            fix(self.at(21.5), DEPOT, accuracy_m=900.0),
            fix(self.at(22.5), (47.9, 16.0)),
            fix(self.at(23), (way[3]["latitude"] + 0.0001, way[3]["longitude"]), accuracy_m=50.0),
        ]
        self.fixes("bad", [*way[:4], *wrong, *way[4:]])
        self.ask("/trips/bad/cancel", {"reason": "flat tyre"}, 60)
        self.schedule("never", "D2", "T2")
        self.ask("/trips/never/cancel", {"reason": "rain"}, 61)

    def drive_unpaid(self) -> None:
        """Trips that are worth nothing: without a site, a rate, a volume, or in another unit."""
        self.trip("nowhere", "D2", "T2", 100, to_site_id=None)
        self.ask("/trips/nowhere/complete", minute=101)
        self.trip("rateless", "D2", "T2", 102, to_site_id="quarry")
        self.ask("/trips/rateless/complete", minute=103)
        self.trip("tonnes", "D2", "T2", 104)
        self.load("tonnes", "9.5", "t", minute=105)
        self.ask("/trips/tonnes/complete", minute=106)
        self.ask("/trucks/T3/return-from-maintenance", minute=107)
        self.trip("empty", "D2", "T3", 108)
        self.ask("/trips/empty/complete", minute=109)
        self.ask("/sites/landfill/change-rate", {"rate": rate(30_000)}, 110)
        self.trip("dearer", "D2", "T2", 111)
        self.ask("/trips/dearer/complete", minute=112)

    def drive_off_trips(self) -> None:
        """Fixes outside of trips, on two UTC days; then tracking is switched off, and on again."""
        evening = self.begins.replace(hour=23, minute=50)
        night = [*drive(evening, LANDFILL, DEPOT, 20), *stand(evening + timedelta(minutes=20), DEPOT)]
        self.ask("/drivers/D1/record-locations", {"fixes": night[:15]}, 130)
        self.ask("/drivers/D1/record-locations", {"fixes": night}, 131)
        self.ask("/drivers/D2/record-locations", {"fixes": stand(self.at(125), QUARRY)}, 131)
        self.ask("/drivers/D2/disable-tracking", minute=140)
        self.ask("/drivers/D2/record-locations", {"fixes": stand(self.at(141), QUARRY)}, 147)
        self.ask("/drivers/D2/enable-tracking", minute=150)
        self.ask("/drivers/D2/record-locations", {"fixes": stand(self.at(151), DEPOT)}, 157)

    def close(self) -> None:
        """Close payroll, correct it, and let something come late all the same; change the calendar."""
        day = self.begins.date().isoformat()
        self.ask("/payroll-periods/P1/close", {"from": day, "to": day})
        [line, *_] = self.office.see(f"/payroll?from={day}&to={day}")["periods"][0]["lines"]
        correction = {"line": line["line"], "amount_minor": line["amount_minor"] + 7, "reason": "agreed"}
        self.ask("/payroll-periods/P1/correct", correction)
        self.load("good", "19", receipt="R-3", minute=160)
        self.ask(
            f"/tenants/{self.office.tenant}/change-time-zone",
            {"time_zone": "Europe/London", "from_date": "2027-01-01"},
        )
        self.ask(f"/tenants/{self.office.tenant}/set-retention", {"gps_days": 60})
        self.ask("/drivers/D1/go-off-duty", minute=170)
        self.ask("/sites/quarry/close", minute=171)


class Load:
    """Random haulage for a while, several trips at once; the order follows from dice."""

    def __init__(self, office: Person, dice: random.Random, name: str = "") -> None:
        self._office, self._dice, self._name = office, dice, name
        self._day = Day(office)
        self._running: dict[str, tuple[str, list[dict[str, Any]]]] = {}
        self.trips: list[str] = []

    def begin(self, drivers: int = 4) -> None:
        """Register what is needed."""
        for n in range(drivers):
            truck, driver = f"{self._name}T{n}", f"{self._name}D{n}"
            self._office.ask(f"/trucks/{truck}/register", {"number": truck, "plate": truck})
            self._office.ask(f"/drivers/{driver}/register", {"name": driver, "user": f"user-{driver}"})
            self._office.ask(f"/drivers/{driver}/go-on-duty")
            self._running[str(n)] = ("", [])

    def step(self) -> None:
        """Do one thing with one of the drivers."""
        dice = self._dice
        driver = dice.choice(list(self._running))
        trip, way = self._running[driver]
        if not trip:
            trip = f"{self._name}trip-{len(self.trips)}"
            self.trips.append(trip)
            plan = {
                "driver_id": f"{self._name}D{driver}",
                "truck_id": f"{self._name}T{driver}",
                "date": (self._day.begins + timedelta(days=dice.randrange(3))).date().isoformat(),
            }
            self._office.ask(f"/trips/{trip}/schedule", plan)
            if dice.random() < 0.2:
                self._office.ask(f"/trips/{trip}/cancel", {"reason": "no load"})
                return
            self._office.ask(f"/trips/{trip}/start")
            way = drive(self._day.at(dice.randrange(300)), DEPOT, LANDFILL, dice.randrange(4, 12))
            dice.shuffle(way)
            self._running[driver] = trip, way
        elif way:
            fixes, rest = way[:3], way[3:]
            self._office.ask(f"/trips/{trip}/record-locations", {"fixes": fixes})
            self._running[driver] = trip, rest if dice.random() < 0.8 else [*fixes[:1], *rest]
        else:
            if dice.random() < 0.3:
                switch = f"/drivers/{self._name}D{driver}"
                self._office.ask(f"{switch}/disable-tracking")
                self._office.ask(f"{switch}/enable-tracking")
            ending = dice.choice([("complete", None), ("cancel", {"reason": "flat tyre"})])
            self._office.ask(f"/trips/{trip}/{ending[0]}", ending[1])
            self._running[driver] = "", []

    def steps(self, number: int) -> None:
        """Do several things."""
        for _ in range(number):
            self.step()
