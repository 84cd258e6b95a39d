"""Judging a track: which fixes count, how far they lead, where they stand still.

Implied speed and stops are a pure function of the running fixes (those that may be vertices) in the order of their time.
A batch re-judges forward from what it disturbs until the verdicts agree with the former ones, so every order of arrival
ends in the same track (C-19). Places are indices into the columns of a track that has grown by the batch.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice, pairwise

from pyproj import Geod

from commands.trips.arrivals import NEW, Arrival, Arrivals
from domain.trips.track import (
    KEPT,
    SPEED,
    STILL,
    VERDICTS,
    Fix,
    FixRef,
    Judged,
    LocationsRecorded,
    Moved,
    Stop,
    Track,
    micros,
    moment,
    with_fixes,
)

SECOND = 1_000_000
FASTEST_M_PER_US = 160 / 3.6 / SECOND
STOP_RADIUS_M = 50
STOP_US = 180 * SECOND
AHEAD = 3
WGS84 = Geod(ellps="WGS84")


def judge(track: Track, fixes: Sequence[Fix], arrival: Arrival) -> LocationsRecorded | None:
    """Return the fact that a batch of fixes leads to; None if every one of them is known already.

    Raises TrackErased if a fix lies where the raw fixes are forgotten.
    """
    arrivals = Arrivals(track, arrival)
    for fix in fixes:
        arrivals.add(fix)
    unstored = arrivals.unstored
    if len(unstored) == len(fixes) and set(unstored.values()) == {"duplicate"}:
        return None
    batch = track.batches + 1
    stored = tuple(fix for fix in fixes if fix.index not in unstored)
    grown = with_fixes(track, batch, ((fix, NEW) for fix in stored))
    found = _rejudge(grown, arrivals.codes(), {micros(fix.at) for fix in stored})
    newest = track.newest if track.newest is not None else -1

    def day(place: int) -> date:
        return arrival.local_date(moment(grown.at[place]))

    stops, unstopped, dwell_seconds = found.changed_stops(day)
    return LocationsRecorded(
        driver_id=arrival.driver_id,
        arrived=arrival.now.date(),
        batch=batch,
        count=len(fixes),
        fixes=stored,
        judged=(*(Judged(batch=batch, index=i, verdict=v) for i, v in unstored.items()), *found.judged()),
        moved=found.moved(day),
        stops=stops,
        unstopped=unstopped,
        dwell_seconds=dwell_seconds,
        late=sum(grown.at[place] < newest for place in found.accepted()),
    )


@dataclass(frozen=True, slots=True)
class Rejudged:
    """The outcome of a pass: new verdicts by place, vertices from the first to the last of `window`, stops (first, last).

    `track.verdict` holds the former verdicts, NEW for new fixes; outside of `window` only `touched` places may differ.
    """

    track: Track
    codes: bytearray
    touched: Sequence[int]
    window: range = range(0)
    vertices: Sequence[int] = ()
    stops: Sequence[tuple[int, int]] = ()

    def _changed(self) -> Iterator[int]:
        former = self.track.verdict
        return (i for i in sorted({*self.touched, *self.window}) if self.codes[i] != former[i])

    def _former_vertices(self) -> list[int]:
        return [i for i in self.window if self.track.verdict[i] == KEPT]

    def accepted(self) -> list[int]:
        """Return the places of the new fixes that count."""
        return [i for i in self.touched if self.track.verdict[i] == NEW and self.codes[i] <= STILL]

    def judged(self) -> Iterator[Judged]:
        """Yield every changed verdict; that a new fix is kept goes without saying."""
        for place in self._changed():
            if self.track.verdict[place] != NEW or self.codes[place] != KEPT:
                ref = _ref(self.track, place)
                yield Judged(batch=ref.batch, index=ref.index, verdict=VERDICTS[self.codes[place]])

    def moved(self, day: Callable[[int], date]) -> tuple[Moved, ...]:
        """Return the millimetres won or lost, by the local date of each segment's end."""
        won: Counter[date] = Counter()
        for places, sign in ((self.vertices, 1), (self._former_vertices(), -1)):
            for start, end in pairwise(places):
                won[day(end)] += sign * round(metres(self.track, start, end) * 1000)
        return tuple(Moved(day=on, mm=mm) for on, mm in sorted(won.items()) if mm)

    def changed_stops(self, day: Callable[[int], date]) -> tuple[tuple[Stop, ...], tuple[FixRef, ...], int]:
        """Return the new or changed stops, the first fixes of those that are none any more, and the seconds won or lost."""
        at = self.track.at
        found = {
            ref: Stop(first=ref, last=_ref(self.track, last), day=day(first), seconds=(at[last] - at[first]) // SECOND)
            for first, last in self.stops
            for ref in (_ref(self.track, first),)
        }
        here = {_ref(self.track, place) for place in self._former_vertices()[:-1]}
        former = {stop.first: stop for stop in self.track.stops if stop.first in here}
        return (
            tuple(stop for first, stop in found.items() if former.get(first) != stop),
            tuple(first for first in former if first not in found),
            sum(stop.seconds for stop in found.values()) - sum(stop.seconds for stop in former.values()),
        )


def metres(track: Track, here: int, there: int) -> float:
    """Return the geodesic between two places of a track, in metres on the WGS84 ellipsoid (Karney 2013)."""
    _, _, found = WGS84.inv(track.longitude[here], track.latitude[here], track.longitude[there], track.latitude[there])
    return float(found)


def _ref(track: Track, place: int) -> FixRef:
    return FixRef(batch=track.ref[place] >> 16, index=track.ref[place] & 0xFFFF)


def _rejudge(track: Track, arrived: dict[int, int], moments: set[int]) -> Rejudged:
    former, codes = track.verdict, bytearray(track.verdict)
    touched = [i for us in moments for i in range(bisect_left(track.at, us), bisect_right(track.at, us))]
    for place in touched:
        codes[place] = arrived.get(track.ref[place], codes[place])
    disturbed = [i for i in touched if codes[i] != former[i] and (codes[i] <= SPEED or former[i] <= SPEED)]
    if not disturbed:
        return Rejudged(track, codes, touched)
    return _forward(track, codes, touched, min(disturbed), max(disturbed))


def _forward(track: Track, codes: bytearray, touched: Sequence[int], first: int, last: int) -> Rejudged:
    """Judge forward from a vertex before `first` until a vertex after `last` that was one before."""
    arrived = codes[:]
    line = _Line(track, codes, _beginning(track, first))
    vertices, stops, place = [], [], 0
    while (vertex := line.get(place)) is not None:
        codes[vertex] = KEPT
        vertices.append(vertex)
        if vertex > last and track.verdict[vertex] == KEPT:
            break
        end = line.stop_end(place)
        if end is None:
            place += 1
            continue
        for still in line.places[place + 1 : end]:
            codes[still] = STILL
        stops.append((vertex, line.places[end]))
        place = end
    begin = line.start
    end_of_window = len(codes) if vertex is None else vertex + 1
    codes[end_of_window:] = arrived[end_of_window:]
    return Rejudged(track, codes, touched, range(begin, end_of_window), vertices, stops)


def _beginning(track: Track, first: int) -> list[int]:
    """Return accepted places whose verdicts no change from `first` on can touch, from a vertex to start from.

    The vertex is such that no stop that begins before it depends on what comes after the last place returned: that one
    is 180 s later, or further away than any two fixes of one stop can be. Empty: start with the first fix.
    """
    ahead, certain = 0, []
    for place in range(first - 1, -1, -1):
        code = track.verdict[place]
        if code > SPEED:
            continue
        if code != SPEED and ahead >= AHEAD:
            certain.append(place)
            if code == KEPT and (
                track.at[certain[0]] - track.at[place] >= STOP_US
                or metres(track, place, certain[0]) > 2 * STOP_RADIUS_M
            ):
                break
        ahead += 1
    return certain[::-1]


class _Line:
    """The accepted places in order, found as they are asked for; verdicts of speed are noted in `codes` on the way."""

    def __init__(self, track: Track, codes: bytearray, certain: list[int]) -> None:
        self._track, self._codes = track, codes
        self.places = certain
        self.start = certain[0] if certain else 0
        # Where the certain places are the inside of one former stop, they need not be measured again.
        inside = all(track.verdict[place] == STILL for place in certain[1:])
        self._near = len(certain) - 1 if inside else 0
        anchor = certain[-1] if certain else None
        self._more = _accepted(track, codes, 0 if anchor is None else anchor + 1, anchor)

    def get(self, index: int) -> int | None:
        while len(self.places) <= index:
            found = next(self._more, None)
            if found is None:
                return None
            self.places.append(found)
        return self.places[index]

    def stop_end(self, begin: int) -> int | None:
        """Return the index of the last place of the stop that begins here, or None if none does."""
        at, origin = self._track.at, self.places[begin]
        near = begin + (self._near if begin == 0 else 0)
        end = begin + 1
        while (place := self.get(end)) is not None and at[place] - at[origin] < STOP_US:
            end += 1
        if place is None or any(self._far(origin, index) for index in (end, *range(begin + 1, end)) if index > near):
            return None
        end = max(end, near)
        while self.get(end + 1) is not None and not self._far(origin, end + 1):
            end += 1
        return end

    def _far(self, origin: int, index: int) -> bool:
        return metres(self._track, origin, self.places[index]) > STOP_RADIUS_M


def _accepted(track: Track, codes: bytearray, start: int, anchor: int | None) -> Iterator[int]:
    """Yield the running places that no speed forbids; the others are noted as such."""
    running = (place for place in range(start, len(codes)) if codes[place] <= SPEED)
    window = deque(islice(running, AHEAD + 1))
    while window:
        place = window.popleft()
        if _too_fast(track, anchor, place, window):
            codes[place] = SPEED
        else:
            anchor = place
            yield place
        window.extend(islice(running, 1))


def _too_fast(track: Track, anchor: int | None, place: int, ahead: Sequence[int]) -> bool:
    """Say whether a fix cannot be reached from the last accepted one, or is contradicted by two of the next three.

    The second rule finds a wrong first fix, and a wrong fix after a long silence: the next ones agree with what was
    before it (or, at the beginning, with each other) and not with it.
    """
    if anchor is not None and not _reachable(track, anchor, place):
        return True
    strangers = [other for other in ahead if not _reachable(track, place, other)]
    if len(strangers) < 2:
        return False
    if anchor is not None:
        return sum(_reachable(track, anchor, other) for other in strangers) >= 2
    return any(_reachable(track, one, other) for one, other in pairwise(strangers))


def _reachable(track: Track, here: int, there: int) -> bool:
    return metres(track, here, there) <= FASTEST_M_PER_US * (track.at[there] - track.at[here])
