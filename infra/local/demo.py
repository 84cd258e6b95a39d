"""The demo: an organisation whose trucks drive between sites and whose scrutineers inspect cars, all through the public API."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx

from domain.roles import Role
from infra.local.home import issue_token
from infra.local.phone import Phone
from infra.local.scrutineering import Scrutineering, read_sheets
from infra.log.identity import tenant_id_of
from infra.settings import Settings

NAME = "demo"
TENANT = tenant_id_of(NAME)
TOKEN_HOURS = 24 * 30
FIX_S = 2.0
BATCH = 5
SITES: dict[str, tuple[str, float, float, int | None]] = {
    "depot": ("Depot Moste", 46.0552, 14.5480, None),
    "landfill": ("Landfill Barje", 46.0236, 14.4731, 28169),
    "quarry": ("Quarry Podutik", 46.0789, 14.4420, 15000),
    "transfer": ("Transfer station Črnuče", 46.1047, 14.5330, 19950),
}
TRUCKS = {"truck-1": ("1", "LJ AB-101"), "truck-2": ("2", "LJ CD-202"), "truck-3": ("3", "LJ EF-303")}
DRIVERS = {"driver-1": "Ana Novak", "driver-2": "Bojan Kos", "driver-3": "Cvetka Zupan"}


class Demo:
    """Loads the demo organisation, then drives its trucks and inspects its cars until stopped."""

    def __init__(self, settings: Settings) -> None:
        token = issue_token(settings, TENANT, [Role.ADMIN, Role.DISPATCHER], "demo", TOKEN_HOURS)
        url = f"http://{settings.host}:{settings.write_port}"
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=10)
        self._dice = random.Random()
        self._phone = Phone(self._http, 0.02, self._dice)
        self._paddock = Scrutineering(settings, TENANT, read_sheets(), self._dice, items_a_step=1)

    def run(self) -> None:
        """Load what is missing, then let one truck after the other drive a little, and one car after the other, for ever."""
        self._wait_until_ready()
        self.load()
        moving = [self._driving(driver, truck) for driver, truck in zip(DRIVERS, TRUCKS, strict=True)]
        moving.append(self._inspecting())
        while True:
            for trip in moving:
                next(trip)
            time.sleep(FIX_S)

    def _inspecting(self) -> Iterator[None]:
        """Inspect all cars, a step at a time; once they have passed everything, one is changed and comes again."""
        cars = self._paddock.cars()
        while True:
            for car in list(cars):
                if next(car, None) is None:
                    cars.remove(car)
                yield
            if not cars:
                cars = [self._paddock.car(self._paddock.revoke())]

    def load(self) -> None:
        """Make sure that the organisation, its trucks, drivers and sites, teams, crew and inspection sheets are there."""
        self._ask(f"/tenants/{TENANT}/open", {"name": NAME, "time_zone": "Europe/Ljubljana", "currency": "EUR"})
        for id, (name, latitude, longitude, rate) in SITES.items():
            site = {"name": name, "latitude": latitude, "longitude": longitude}
            if rate is not None:
                site["rate"] = {"amount_minor": rate, "currency": "EUR", "unit": "m3"}
            self._ask(f"/sites/{id}/register", site)
        for id, (number, plate) in TRUCKS.items():
            self._ask(f"/trucks/{id}/register", {"number": number, "plate": plate, "capacity_m3": "21.3324"})
        for id, name in DRIVERS.items():
            self._ask(f"/drivers/{id}/register", {"name": name, "user": id})
            self._ask(f"/drivers/{id}/go-on-duty", {})
        self._paddock.load()

    def _wait_until_ready(self) -> None:
        while True:
            try:
                if self._http.get("/readyz").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)

    def _ask(self, path: str, body: dict[str, Any]) -> bool:
        """Ask for something; a refusal means that it is so already, or not possible now."""
        try:
            self._phone.send(path, body)
        except httpx.HTTPStatusError as error:
            if error.response.status_code != httpx.codes.CONFLICT:
                raise
            return False
        return True

    def _driving(self, driver: str, truck: str) -> Iterator[None]:
        """Drive one trip after the other, one fix at a time; they are sent in batches."""
        for id in self._unfinished(driver):
            self._ask(f"/trips/{id}/complete", {})
        here = "depot"
        while True:
            there = self._dice.choice([site for site in SITES if site != here])
            id = f"{driver}-{int(time.time())}"
            today = datetime.now(UTC).date().isoformat()
            plan = {"driver_id": driver, "truck_id": truck, "date": today, "from_site_id": here, "to_site_id": there}
            started = self._ask(f"/trips/{id}/schedule", plan) and self._ask(f"/trips/{id}/start", {})
            if not started:
                yield
                continue
            waiting: list[dict[str, Any]] = []
            for fix in self._way(SITES[here][1:3], SITES[there][1:3]):
                waiting.append(fix)
                if len(waiting) == BATCH:
                    self._phone.send(f"/trips/{id}/record-locations", {"fixes": waiting})
                    waiting = []
                yield
            if self._dice.random() < 0.5:
                quantity = f"{self._dice.uniform(12, 20):.2f}"
                self._ask(f"/trips/{id}/record-load", {"quantity": quantity, "unit": "m3", "receipt_number": f"R-{id}"})
            self._ask(f"/trips/{id}/complete", {})
            here = there

    def _unfinished(self, driver: str) -> list[str]:
        """Return the trip that an earlier run left on the road, if there is one: it is named in the refusal to go off duty."""
        answer = self._http.post(f"/drivers/{driver}/go-off-duty", json={})
        if answer.status_code == httpx.codes.CONFLICT:
            return [answer.json()["details"]["trip"]]
        self._ask(f"/drivers/{driver}/go-on-duty", {})
        return []

    def _way(self, start: Any, end: Any) -> Iterator[dict[str, Any]]:
        """Yield the fixes of a drive at about 50 km/h along a gently winding way, one each two seconds, now."""
        metres = math.hypot((end[0] - start[0]) * 111_000, (end[1] - start[1]) * 77_000)
        steps = max(10, int(metres / (14 * FIX_S)))
        for step in range(steps + 1):
            along = step / steps
            bend = 0.003 * math.sin(along * math.pi) * math.sin(along * 9)
            yield {
                "at": datetime.now(UTC).isoformat(),
                "latitude": start[0] + (end[0] - start[0]) * along + bend + self._dice.gauss(0, 2e-5),
                "longitude": start[1] + (end[1] - start[1]) * along - bend + self._dice.gauss(0, 2e-5),
                "accuracy_m": round(self._dice.uniform(4, 15), 1),
                "speed_kmh": round(self._dice.gauss(50, 6), 1),
            }
