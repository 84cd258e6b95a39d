"""Tracks: the fixes of one trip (or of one driver's UTC day), each with its verdict, in the order of their time.

A batch of fixes is one fact. Its decision judges every fix; later batches may change earlier verdicts, and say so.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import field, replace
from datetime import UTC, date, datetime, timedelta
from math import cos, hypot, inf, radians
from typing import Annotated, Literal

from domain.kernel import Erased, Personal, Refused, fact, state

Reason = Literal["tracking_disabled", "range", "future", "accuracy", "same_time", "speed"]
Verdict = Literal["kept", "still", "duplicate"] | Reason

VERDICTS: tuple[Verdict, ...] = (
    "kept",  # a vertex of the track
    "still",  # inside a stop, between its first and last fix
    "speed",  # would have needed more than 160 km/h
    "same_time",  # another fix of the same moment is better
    "duplicate",  # the same moment and place is known with an accuracy at least as good
    "range",  # no place on earth, or exactly 0, 0
    "future",  # more than a day ahead when it arrived
    "accuracy",  # worse than 100 m, or negative
    "tracking_disabled",  # taken while tracking was off; its place is not kept
)
CODES: dict[str, int] = {verdict: code for code, verdict in enumerate(VERDICTS)}
KEPT, STILL, SPEED, SAME_TIME, DUPLICATE = range(5)
FIRST_REJECTED = SPEED
METRES_PER_DEGREE = 111_320.0
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@fact
class Fix:
    """One position: WGS84 degrees, accuracy in metres, speed in km/h, heading in degrees; and its index in its batch."""

    index: int
    at: datetime
    latitude: float
    longitude: float
    accuracy_m: float | None = None
    speed_kmh: float | None = None
    heading: float | None = None


@fact
class FixRef:
    """Which fix: the number of its batch in the track, and its index in that batch."""

    batch: int
    index: int


@fact
class Judged:
    """The verdict on a fix, new or changed."""

    batch: int
    index: int
    verdict: Verdict


@fact
class Moved:
    """Millimetres won (or lost) on a local date."""

    day: date
    mm: int


@fact
class Stop:
    """A stretch of 180 s or more in which every fix lies within 50 m of the first; `day` is the local date it began."""

    first: FixRef
    last: FixRef
    day: date
    seconds: int


@fact
class LocationsRecorded:
    """A batch of fixes arrived and was judged.

    `judged` names every fix of this batch that is not simply kept, and every earlier fix whose verdict changed.
    `fixes` leaves out repeated fixes and those that may not be kept. `dwell_seconds` were won or lost by changed stops.
    `late` fixes lie before the newest known one.
    """

    driver_id: str
    arrived: date
    batch: int
    count: int
    fixes: Annotated[tuple[Fix, ...] | Erased, Personal(of="driver_id", day="arrived")]
    judged: tuple[Judged, ...] = ()
    moved: tuple[Moved, ...] = ()
    stops: tuple[Stop, ...] = ()
    unstopped: tuple[FixRef, ...] = ()
    dwell_seconds: int = 0
    late: int = 0


@fact
class Vertex:
    """A point of a simplified track, WGS84 degrees."""

    at: datetime
    latitude: float
    longitude: float


@fact
class SiteDwell:
    """Seconds that were spent standing at a site, or elsewhere (None), in stops that began on a local date."""

    site_id: str | None
    day: date
    seconds: int


@fact
class TrackCondensed:
    """The raw fixes that arrived until a UTC day are about to be forgotten; this remains of the track until then.

    `sha256` is the hash of the raw fixes in the order of their time, one line `time,latitude,longitude,accuracy` each.
    """

    driver_id: str
    through: date
    until: datetime
    line: Annotated[tuple[Vertex, ...] | Erased, Personal(of="driver_id")]
    dwell: tuple[SiteDwell, ...]
    sha256: str


def micros(at: datetime) -> int:
    """Return microseconds since 1970, exactly."""
    return (at - EPOCH) // timedelta(microseconds=1)


def moment(us: int) -> datetime:
    """Return the moment, given microseconds since 1970."""
    return EPOCH + timedelta(microseconds=us)


def _ints() -> array[int]:
    return array("q")


def _floats() -> array[float]:
    return array("d")


@state
class Track:
    """All fixes in the order of their time, in columns (about 45 bytes a fix); the arrays are never changed in place.

    `at` is microseconds since 1970, `ref` is batch * 65536 + index, an unknown `accuracy` is infinite.
    """

    at: array[int] = field(default_factory=_ints)
    latitude: array[float] = field(default_factory=_floats)
    longitude: array[float] = field(default_factory=_floats)
    accuracy: array[float] = field(default_factory=_floats)
    ref: array[int] = field(default_factory=_ints)
    verdict: bytes = b""
    stops: tuple[Stop, ...] = ()
    batches: int = 0
    erased: bool = False
    erased_until: int | None = None

    @property
    def has_raw_fixes(self) -> bool:
        """Say whether there is more than the last vertex of what was condensed (batch 0)."""
        return any(ref >> 16 for ref in self.ref)

    @property
    def newest(self) -> int | None:
        """The time of the last fix that counts."""
        return next((self.at[i] for i in range(len(self.at) - 1, -1, -1) if self.verdict[i] < FIRST_REJECTED), None)


def fix_ref(batch: int, index: int) -> int:
    """Return a fix's reference as one number."""
    return batch << 16 | index


def with_fixes(track: Track, batch: int, fixes: Iterable[tuple[Fix, int]]) -> Track:
    """Return the track with these fixes, each with the code of its verdict, sorted in."""
    at, ref, verdict = track.at[:], track.ref[:], bytearray(track.verdict)
    latitude, longitude, accuracy = track.latitude[:], track.longitude[:], track.accuracy[:]
    for fix, code in fixes:
        us = micros(fix.at)
        place = bisect_right(at, us)
        at.insert(place, us)
        latitude.insert(place, fix.latitude)
        longitude.insert(place, fix.longitude)
        accuracy.insert(place, inf if fix.accuracy_m is None else fix.accuracy_m)
        ref.insert(place, fix_ref(batch, fix.index))
        verdict.insert(place, code)
    return replace(
        track, at=at, latitude=latitude, longitude=longitude, accuracy=accuracy, ref=ref, verdict=bytes(verdict)
    )


def with_verdicts(track: Track, judged: Iterable[Judged]) -> Track:
    """Return the track with these verdicts in place of the former ones."""
    wanted = {fix_ref(one.batch, one.index): CODES[one.verdict] for one in judged}
    if not wanted:
        return track
    verdict = bytearray(track.verdict)
    for place in range(len(verdict) - 1, -1, -1):
        code = wanted.pop(track.ref[place], None)
        if code is not None:
            verdict[place] = code
            if not wanted:
                break
    return replace(track, verdict=bytes(verdict))


def recorded(track: Track, happened: LocationsRecorded) -> Track:
    """Return the track after a batch; a batch whose key is destroyed leaves the track marked as erased."""
    own = {one.index: CODES[one.verdict] for one in happened.judged if one.batch == happened.batch}
    earlier = [one for one in happened.judged if one.batch != happened.batch]
    if isinstance(happened.fixes, Erased):
        return replace(track, batches=happened.batch, erased=True)
    grown = with_fixes(track, happened.batch, ((fix, own.get(fix.index, KEPT)) for fix in happened.fixes))
    gone = {*happened.unstopped, *(stop.first for stop in happened.stops)}
    stops = (*(stop for stop in track.stops if stop.first not in gone), *happened.stops)
    return replace(with_verdicts(grown, earlier), batches=happened.batch, stops=stops)


def condensed(track: Track, happened: TrackCondensed) -> Track:
    """Return the track after its raw fixes are forgotten: only its last vertex remains, for what may still follow."""
    rest = Track(batches=track.batches, erased_until=micros(happened.until), erased=isinstance(happened.line, Erased))
    if isinstance(happened.line, Erased) or not happened.line:
        return rest
    last = happened.line[-1]
    return with_fixes(rest, 0, [(Fix(index=0, at=last.at, latitude=last.latitude, longitude=last.longitude), KEPT)])


def simplify(points: list[tuple[float, float]], tolerance_m: float) -> list[int]:
    """Return the indices of the points (latitude, longitude) that a line needs to stay within the tolerance, in metres.

    Ramer-Douglas-Peucker (Douglas and Peucker 1973) on a plane scaled at the first point; fine for tracks of a day.
    """
    if len(points) < 3:
        return list(range(len(points)))
    scale = cos(radians(points[0][0]))
    flat = [(lon * scale * METRES_PER_DEGREE, lat * METRES_PER_DEGREE) for lat, lon in points]
    keep, open_ends = {0, len(points) - 1}, [(0, len(points) - 1)]
    while open_ends:
        first, last = open_ends.pop()
        far, place = max(
            ((_from_segment(flat[i], flat[first], flat[last]), i) for i in range(first + 1, last)), default=(0.0, first)
        )
        if far > tolerance_m:
            keep.add(place)
            open_ends += [(first, place), (place, last)]
    return sorted(keep)


def _from_segment(point: tuple[float, float], start: tuple[float, float], end: tuple[float, float]) -> float:
    (x, y), (ax, ay), (bx, by) = point, start, end
    dx, dy = bx - ax, by - ay
    square = dx * dx + dy * dy
    along = 0.0 if square == 0 else min(1.0, max(0.0, ((x - ax) * dx + (y - ay) * dy) / square))
    return hypot(x - ax - along * dx, y - ay - along * dy)


class TrackErased(Refused):
    """The raw fixes of that time have been erased, so nothing can be added there."""
