"""One drive, told in many ways: however its fixes arrive, the trip ends with the same distance, rejections and standing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from random import Random
from typing import Any
from uuid import UUID

import httpx
import pytest
from pyproj import Geod

from infra.local.phone import BATCH
from infra.local.postgres import Postgres
from tests.views.conftest import fresh_database, settings_over
from tests.views.haulage import fix, yesterday
from tests.views.house import House, Person, open_house, rows_of, served_schema

SEED = 20_261_120
MOVING = 230
METRES_PER_SECOND = 14
NOISE_M = 3
STAND_EVERY_S = 6
STANDS = {70: 240, 150: 300}  # after so many moving fixes, for so many seconds
OUTLIERS = (30, 120, 200)
MOVED = 110
MOST_SECONDS = 5
FAR_NORTH = 0.36  # degrees: 40 km
LOST, UNHEARD, KEYED, AGAIN = 0.2, 0.3, 0.5, 0.2
NO_PATIENCE = httpx.Timeout(20, read=0.001)
WGS84 = Geod(ellps="WGS84")

Fixes = Sequence[dict[str, Any]]


@dataclass
class Drive:
    """What a phone recorded: all fixes in the order of their time; those that were good on the way, and those that were not."""

    dice: Random
    begun: datetime
    at: datetime
    longitude: float = 14.5
    latitude: float = 46.0
    heading: float = 70.0
    fixes: list[dict[str, Any]] = field(default_factory=list)
    on_the_way: list[dict[str, Any]] = field(default_factory=list)
    inaccurate: list[dict[str, Any]] = field(default_factory=list)
    moved: dict[str, Any] = field(default_factory=dict)

    def see(self, metres_off: float, accuracy: float) -> dict[str, Any]:
        """Record where the truck seems to be, so many metres off in any direction."""
        longitude, latitude, _ = WGS84.fwd(self.longitude, self.latitude, self.dice.uniform(0, 360), metres_off)
        self.fixes.append(fix(self.at, (latitude, longitude), accuracy_m=accuracy))
        return self.fixes[-1]

    def see_well(self) -> dict[str, Any]:
        """Record where the truck is, with the noise of a good receiver."""
        return self.see(abs(self.dice.gauss(0, NOISE_M)), self.dice.choice([4.0, 6.0, 12.0]))

    def go_on(self) -> None:
        """Drive for some seconds, and turn a little."""
        seconds = self.dice.randint(MOST_SECONDS - 2, MOST_SECONDS)
        self.at += timedelta(seconds=seconds)
        self.longitude, self.latitude, _ = WGS84.fwd(
            self.longitude, self.latitude, self.heading, METRES_PER_SECOND * seconds
        )
        self.heading += self.dice.gauss(0, 6)

    def stand(self, seconds: int) -> None:
        """Stand still for so long."""
        for _ in range(0, seconds, STAND_EVERY_S):
            self.at += timedelta(seconds=STAND_EVERY_S)
            self.see_well()


def recorded_drive() -> Drive:
    """A drive of twenty-five minutes with two stops, some bad fixes, and one that lies 40 km off."""
    begun = yesterday()
    drive = Drive(Random(SEED), begun, begun)
    for n in range(MOVING):
        drive.go_on()
        seen = drive.see_well()
        if n == MOVED:
            seen["latitude"] += FAR_NORTH
            drive.moved = seen
        else:
            drive.on_the_way.append(seen)
        drive.stand(STANDS.get(n, 0))
        if n in OUTLIERS:
            drive.at += timedelta(seconds=1)
            drive.inaccurate.append(drive.see(500, accuracy=250.0))
    return drive


def length(fixes: Fixes) -> float:
    """Metres along these fixes on the ellipsoid, each taken as it is."""
    metres: float = WGS84.line_length([one["longitude"] for one in fixes], [one["latitude"] for one in fixes])
    return metres


@dataclass(frozen=True)
class Outcome:
    """What readers see of a trip once all of its fixes have arrived."""

    distance_mm: int
    dwell_seconds: int
    rejected: frozenset[tuple[datetime, str]]
    vertices: tuple[datetime, ...]


# Ways of delivery.


def batches(fixes: Fixes, size: int = BATCH) -> list[Fixes]:
    """These fixes, so many at a time."""
    return [fixes[start : start + size] for start in range(0, len(fixes), size)]


def shuffled(parts: list[Fixes], dice: Random) -> list[Fixes]:
    """The same parts in another order."""
    return dice.sample(parts, len(parts))


ORDERS: dict[str, Callable[[Fixes, Random], list[Fixes]]] = {
    "in order": lambda fixes, _: batches(fixes),
    "all at once": lambda fixes, _: [fixes],
    "batches shuffled": lambda fixes, dice: shuffled(batches(fixes), dice),
    "reversed": lambda fixes, _: batches(fixes[::-1]),
    "one by one, shuffled": lambda fixes, dice: shuffled(batches(fixes, 1), dice),
}
BAD_LINE = "over a bad line"


class BadLine:
    """Sends batches over a line that loses them, or their answers, or carries them twice."""

    def __init__(self, office: Person, dice: Random) -> None:
        self.office, self.dice = office, dice
        self.lost = self.unheard = self.repeated = 0

    def send(self, path: str, body: dict[str, Any]) -> None:
        """Send until there is an answer, now with the same key and now without one; then perhaps once more."""
        key = f'"{UUID(int=self.dice.getrandbits(128))}"'
        while True:
            headers = {"idempotency_key": key} if self.dice.random() < KEYED else {}
            chance = self.dice.random()
            if chance < LOST:
                self.lost += 1
            elif chance < LOST + UNHEARD:
                self.hang_up(path, body, headers)
            else:
                break
        receipt = self.office.ask(path, body, **headers)
        if headers:
            assert self.office.ask(path, body, **headers) == receipt
        if self.dice.random() < AGAIN:
            self.repeated += 1
            again = self.office.ask(path, body)
            assert (again["facts"], again["duplicates"]) == ([], len(body["fixes"]))

    def hang_up(self, path: str, body: dict[str, Any], headers: dict[str, str]) -> None:
        """Send, and be gone before the answer comes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        try:
            self.office.write.http.post(path, json=body, headers=named, timeout=NO_PATIENCE)
        except httpx.ReadTimeout:
            self.unheard += 1


def over_a_bad_line(office: Person, path: str, fixes: Fixes, dice: Random) -> None:
    """Deliver batches that overtake one another, some of which come again long after."""
    line = BadLine(office, dice)
    parts = batches(fixes)
    for part in shuffled(parts, dice) + dice.sample(parts, len(parts) // 4):
        line.send(path, {"fixes": part})
    assert min(line.lost, line.unheard, line.repeated) > 0, "the line was good"


# The trips.

_trips = count(1)


@pytest.fixture(scope="module")
def house(postgres: Postgres, keys: dict[str, str]) -> Iterator[House]:
    """A house for all of these trips."""
    with fresh_database(postgres) as database, open_house(settings_over(database, keys)) as house:
        house.office()
        yield house


@pytest.fixture(scope="module")
def drive() -> Drive:
    return recorded_drive()


def set_out(office: Person, begun: datetime) -> str:
    """Start a trip with a truck and a driver of its own; return its id."""
    id = f"trip-{next(_trips)}"
    at = begun.isoformat()
    office.ask(f"/trucks/{id}/register", {"number": id, "plate": id}, occurred_at=at)
    office.ask(f"/drivers/{id}/register", {"name": f"Driver of {id}"}, occurred_at=at)
    office.ask(f"/drivers/{id}/go-on-duty", occurred_at=at)
    plan = {"driver_id": id, "truck_id": id, "date": begun.date().isoformat()}
    office.ask(f"/trips/{id}/schedule", plan, occurred_at=at)
    office.ask(f"/trips/{id}/start", occurred_at=at)
    return id


def delivered(house: House, drive: Drive, way: str) -> Outcome:
    """Deliver the drive on a trip of its own; return what readers see of it."""
    office, dice = house.people[0], Random(SEED)
    id = set_out(office, drive.begun)
    path = f"/trips/{id}/record-locations"
    if way == BAD_LINE:
        over_a_bad_line(office, path, drive.fixes, dice)
    else:
        for part in ORDERS[way](drive.fixes, dice):
            office.ask(path, {"fixes": part})
    return seen(house, office, id)


def seen(house: House, office: Person, id: str) -> Outcome:
    """Return what is read of a trip, up to the last receipt."""
    trip = office.see(f"/trips/{id}")
    [line, *_] = office.see(f"/trips/{id}/track")["features"]
    rejected = [one["properties"] for one in office.see(f"/trips/{id}/track?fixes=rejected")["features"]]
    trips = f"{served_schema(house.settings)}.trips"
    [(mm,)] = rows_of(house.settings.need("projector_url"), f"select distance_mm from {trips} where id = %s", [id])
    assert trip["distance_km"] == round(mm / 1e6, 3)
    return Outcome(
        distance_mm=mm,
        dwell_seconds=trip["dwell_seconds"],
        rejected=frozenset((datetime.fromisoformat(one["at"]), one["verdict"]) for one in rejected),
        vertices=tuple(datetime.fromisoformat(at) for at in line["properties"]["at"]),
    )


@pytest.fixture(scope="module")
def in_order(house: House, drive: Drive) -> Outcome:
    """The trip of a phone that was always heard."""
    return delivered(house, drive, "in order")


@pytest.mark.parametrize("way", [*ORDERS, BAD_LINE])
def test_every_way_of_delivery_ends_in_the_same_distance_rejections_and_standing(
    house: House, drive: Drive, in_order: Outcome, way: str
) -> None:
    assert delivered(house, drive, way) == in_order


def test_the_distance_is_that_of_the_good_fixes_on_the_way_within_a_hundredth(drive: Drive, in_order: Outcome) -> None:
    metres = length(drive.on_the_way)
    assert in_order.distance_mm / 1000 == pytest.approx(metres, rel=0.01)
    bad = [drive.moved, *drive.inaccurate]
    assert length([one for one in drive.fixes if one not in bad]) > 1.01 * metres, "standing still leads nowhere"


def test_only_the_fix_40_km_away_is_rejected_for_its_speed_and_bad_ones_for_their_accuracy(
    drive: Drive, in_order: Outcome
) -> None:
    expected = {(one["at"], "accuracy") for one in drive.inaccurate} | {(drive.moved["at"], "speed")}
    assert in_order.rejected == {(datetime.fromisoformat(at), reason) for at, reason in expected}


def test_the_truck_stood_still_as_long_as_it_did(in_order: Outcome) -> None:
    by_the_edges = 2 * len(STANDS) * MOST_SECONDS
    assert 0 <= in_order.dwell_seconds - sum(STANDS.values()) <= by_the_edges
