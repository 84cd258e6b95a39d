"""What is judged once, when a fix arrives: range, future, accuracy, tracking, repetition, and the best of one moment."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from math import inf
from typing import NamedTuple

from domain.trips.track import (
    CODES,
    DUPLICATE,
    KEPT,
    SAME_TIME,
    Fix,
    Track,
    TrackErased,
    Verdict,
    fix_ref,
    micros,
)

WORST_ACCURACY_M = 100
FURTHEST_AHEAD_US = 86_400 * 1_000_000
NEW = 255


class Arrival(NamedTuple):
    """The circumstances of a batch: the driver, the door's time, when he was tracked, and his organisation's calendar."""

    driver_id: str
    now: datetime
    tracked: Callable[[datetime], bool]
    local_date: Callable[[datetime], date]


@dataclass(slots=True)
class _Known:
    latitude: float
    longitude: float
    accuracy: float
    ref: int
    before: int
    code: int


class Arrivals:
    """The fixes of a batch, added one by one beside what the track knows of the same moments.

    `unstored` are the verdicts of fixes that are not kept at all, by index: repetitions, and those taken untracked.
    """

    def __init__(self, track: Track, arrival: Arrival) -> None:
        self._track, self._arrival, self._batch = track, arrival, track.batches + 1
        self._moments: dict[int, list[_Known]] = {}
        self.unstored: dict[int, Verdict] = {}

    def add(self, fix: Fix) -> None:
        """Judge one fix. Raises TrackErased if it lies where the raw fixes are forgotten."""
        us, accuracy = micros(fix.at), inf if fix.accuracy_m is None else fix.accuracy_m
        moment = self._moment(us)
        here = [known for known in moment if (known.latitude, known.longitude) == (fix.latitude, fix.longitude)]
        if any(known.accuracy == accuracy for known in here):
            self.unstored[fix.index] = "duplicate"
            return
        if not self._arrival.tracked(fix.at):
            self.unstored[fix.index] = "tracking_disabled"
            return
        code = self._filter(fix, us, accuracy)
        if code == SAME_TIME:
            rivals = [known for known in here if known.code <= SAME_TIME]
            if any(known.accuracy < accuracy for known in rivals):
                self.unstored[fix.index] = "duplicate"
                return
            for rival in rivals:
                rival.code = DUPLICATE
        ref = fix_ref(self._batch, fix.index)
        moment.append(_Known(fix.latitude, fix.longitude, accuracy, ref, NEW, code))
        _choose_best(moment)

    def codes(self) -> dict[int, int]:
        """Return the codes of all new fixes and of the earlier ones that changed, by reference."""
        return {one.ref: one.code for moment in self._moments.values() for one in moment if one.code != one.before}

    def _moment(self, us: int) -> list[_Known]:
        if us not in self._moments:
            track = self._track
            self._moments[us] = [
                _Known(track.latitude[i], track.longitude[i], track.accuracy[i], track.ref[i], code, code)
                for i in range(bisect_left(track.at, us), bisect_right(track.at, us))
                for code in (track.verdict[i],)
            ]
        return self._moments[us]

    def _filter(self, fix: Fix, us: int, accuracy: float) -> int:
        """Return the code of the filter that stops this fix, or SAME_TIME: a contender for its moment."""
        if not (-90 <= fix.latitude <= 90 and -180 <= fix.longitude <= 180) or fix.latitude == fix.longitude == 0:
            return CODES["range"]
        if us > micros(self._arrival.now) + FURTHEST_AHEAD_US:
            return CODES["future"]
        if accuracy < 0 or WORST_ACCURACY_M < accuracy < inf:
            return CODES["accuracy"]
        until = self._track.erased_until
        if us <= until if until is not None else self._track.erased:
            raise TrackErased
        return SAME_TIME


def _choose_best(moment: list[_Known]) -> None:
    """Let the best of one moment run; an earlier verdict of the best stays until it is judged again."""
    contenders = [known for known in moment if known.code <= SAME_TIME]
    if not contenders:
        return
    best = min(contenders, key=lambda known: (known.accuracy, known.latitude, known.longitude))
    for known in contenders:
        if known is not best:
            known.code = SAME_TIME
        elif known.code == SAME_TIME:
            known.code = KEPT
