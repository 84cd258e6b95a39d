"""Judging fixes: what counts, how far it leads, and that the order of arrival changes nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate, pairwise
from math import atan2, cos, degrees, hypot, sin
from random import Random
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyproj import Geod

from commands.trips.arrivals import Arrival
from commands.trips.judging import judge
from domain.kernel import ERASED
from domain.trips.track import (
    VERDICTS,
    Fix,
    FixRef,
    Judged,
    LocationsRecorded,
    Moved,
    Stop,
    Track,
    TrackCondensed,
    TrackErased,
    Vertex,
    condensed,
    moment,
    recorded,
)

START = datetime(2026, 11, 20, 8, tzinfo=UTC)
DAY = START.date()
NEXT_DAY = date(2026, 11, 21)
ARRIVAL = Arrival("driver", START + timedelta(days=1), lambda _: True, lambda at: at.date())
FAR = 40_000.0
FAR_NORTH = 0.36
WGS84 = Geod(ellps="WGS84")

Place = tuple[int, float, float]


def fix(second: float, east: float = 0.0, north: float = 0.0, accuracy: float | None = 5.0) -> Fix:
    """A fix so many seconds after the start, so many metres from where the story begins."""
    longitude, latitude, _ = WGS84.fwd(14.5, 46.0, degrees(atan2(east, north)), hypot(east, north))
    return Fix(
        index=0, at=START + timedelta(seconds=second), latitude=latitude, longitude=longitude, accuracy_m=accuracy
    )


@dataclass
class Told:
    """A track, after the facts that batches of fixes led to."""

    track: Track = field(default_factory=Track)
    arrival: Arrival = ARRIVAL
    facts: list[LocationsRecorded] = field(default_factory=list)

    def hear(self, *fixes: Fix) -> Any:
        """Judge one more batch; return the fact, if there is one."""
        batch = [replace(one, index=index) for index, one in enumerate(fixes)]
        fact = judge(self.track, batch, self.arrival)
        if fact is not None:
            self.track = recorded(self.track, fact)
            self.facts.append(fact)
        return fact

    @property
    def moved(self) -> dict[date, int]:
        """Millimetres by day."""
        won: Counter[date] = Counter()
        for one in (one for fact in self.facts for one in fact.moved):
            won[one.day] += one.mm
        return {day: mm for day, mm in won.items() if mm}

    @property
    def metres(self) -> float:
        """The distance."""
        return sum(self.moved.values()) / 1000

    @property
    def dwell_seconds(self) -> int:
        """Seconds that were spent standing, as the facts have won and lost them."""
        return sum(fact.dwell_seconds for fact in self.facts)

    @property
    def stops(self) -> list[tuple[float, float]]:
        """First and last second of every stop."""
        second = {self._ref(i): self.track.at[i] / 1e6 - START.timestamp() for i in range(len(self.track.at))}
        return sorted((second[stop.first], second[stop.last]) for stop in self.track.stops)

    @property
    def verdicts(self) -> dict[Place, set[str]]:
        """The verdicts of each place and moment, whatever repeats it."""
        found: dict[Place, set[str]] = defaultdict(set)
        for i, code in enumerate(self.track.verdict):
            found[self.track.at[i], self.track.latitude[i], self.track.longitude[i]].add(VERDICTS[code])
        return {place: verdicts - {"duplicate"} for place, verdicts in found.items()}

    def running(self, *verdicts: str) -> list[int]:
        """The places of the track with one of these verdicts."""
        return [i for i, code in enumerate(self.track.verdict) if VERDICTS[code] in verdicts]

    def verdict(self, one: Fix) -> str:
        """The one verdict on what lies at the place and moment of this fix."""
        (found,) = self.verdicts[(one.at - moment(0)) // timedelta(microseconds=1), one.latitude, one.longitude]
        return found

    def apart(self, here: int, there: int) -> float:
        """Metres between two places of the track."""
        line = [here, there]
        return WGS84.line_length([self.track.longitude[i] for i in line], [self.track.latitude[i] for i in line])

    def _ref(self, place: int) -> FixRef:
        return FixRef(batch=self.track.ref[place] >> 16, index=self.track.ref[place] & 0xFFFF)


def told(*batches: Sequence[Fix], arrival: Arrival = ARRIVAL) -> Told:
    """The track after these batches."""
    track = Told(arrival=arrival)
    for batch in batches:
        track.hear(*batch)
    return track


ROAD = [fix(3 * n, east=45 * n) for n in range(40)]


# Every order of arrival, batching and repetition ends in the same track.


@dataclass(frozen=True)
class Leg:
    """Part of a day: so many fixes, each so many seconds and metres after the one before, with some jitter."""

    fixes: int
    every_s: int
    east: int = 0
    north: int = 0
    jitter: int = 0


METRES = st.integers(-30, 30)
DRIVES = st.builds(Leg, st.integers(1, 40), st.sampled_from([2, 3, 5]), METRES, METRES)
STANDS = st.builds(Leg, st.integers(1, 40), st.sampled_from([3, 10, 30, 200]), jitter=st.sampled_from([3, 9, 20]))
GAPS = st.builds(Leg, st.just(1), st.sampled_from([600, 7200]), METRES, METRES)
TELEPORTS = st.builds(Leg, st.integers(1, 4), st.sampled_from([2, 30]), st.sampled_from([1_000, -FAR]))
SEEDS = st.integers(0, 2**32 - 1)


def messy(legs: Sequence[Leg], chance: Random) -> Iterator[Fix]:
    """These legs as a phone tells them: outliers, impossible places, several fixes at one time, repetitions."""
    second = east = north = 0.0
    for leg in legs:
        for _ in range(leg.fixes):
            second, east, north = second + leg.every_s, east + leg.east, north + leg.north
            one = fix(second, east + chance.gauss(0, leg.jitter), north + chance.gauss(0, leg.jitter))
            one = replace(one, accuracy_m=chance.choice([None, 5.0, 5.0, 20.0, 20.0, 60.0, 150.0, -1.0]))
            if chance.random() < 0.05:
                one = replace(one, latitude=one.latitude + chance.choice([FAR_NORTH, 0.01, 95]))
            yield one
            if chance.random() < 0.08:
                yield replace(one, latitude=one.latitude + chance.choice([0, 0.0001]), accuracy_m=20.0)
            if chance.random() < 0.05:
                yield one


def deliveries(fixes: Sequence[Fix], chance: Random) -> Iterator[Sequence[Fix]]:
    """The same fixes in batches of any size: in order, with stretches that come late or all mixed up; some come again."""
    left = list(fixes)
    how = chance.choice(["in order", "stretches", "mixed"])
    if how == "mixed":
        chance.shuffle(left)
    elif how == "stretches":
        stretches = [left[i : i + 10] for i in range(0, len(left), 10)]
        chance.shuffle(stretches)
        left = [one for stretch in stretches for one in stretch]
    before: list[Sequence[Fix]] = []
    while left:
        size = chance.choice([1, 3, 10, 30])
        before.append(left[:size])
        left = left[size:]
        yield before[-1]
        if chance.random() < 0.2:
            yield chance.choice(before)


@settings(deadline=None, max_examples=300)
@given(st.lists(DRIVES | STANDS | GAPS | TELEPORTS, min_size=1, max_size=6), SEEDS)
@example([Leg(40, 3, 20, 20), Leg(30, 10, jitter=9), Leg(1, 7200), Leg(40, 3, -20, 5)], 1)
def test_every_order_of_arrival_ends_in_the_same_track(legs: Sequence[Leg], seed: int) -> None:
    chance = Random(seed)
    fixes = list(messy(legs, chance))
    at_once = told(fixes)
    for _ in range(4):
        other = told(*deliveries(fixes, chance))
        assert other.moved == at_once.moved
        assert other.verdicts == at_once.verdicts
        assert other.stops == at_once.stops
        assert other.dwell_seconds == at_once.dwell_seconds


@settings(deadline=None, max_examples=150)
@given(st.lists(DRIVES | STANDS | GAPS | TELEPORTS, min_size=1, max_size=6), SEEDS)
def test_a_track_is_as_long_as_the_line_through_its_vertices(legs: Sequence[Leg], seed: int) -> None:
    chance = Random(seed)
    track = told(*deliveries(list(messy(legs, chance)), chance))
    segments = pairwise(track.running("kept"))
    assert sum(track.moved.values()) == sum(round(track.apart(here, there) * 1000) for here, there in segments)


@settings(deadline=None, max_examples=150)
@given(st.lists(DRIVES | STANDS, min_size=1, max_size=6), SEEDS)
def test_a_stop_is_three_minutes_and_more_within_50_m_of_its_first_fix(legs: Sequence[Leg], seed: int) -> None:
    chance = Random(seed)
    track = told(*deliveries(list(messy(legs, chance)), chance))
    assert track.stops == list(stops_by_definition(track))


def stops_by_definition(track: Told) -> Iterator[tuple[float, float]]:
    """First and last second of every stop, found from the first accepted fix on."""
    left = track.running("kept", "still")
    while left:
        near = next((n for n, place in enumerate(left) if track.apart(left[0], place) > 50), len(left))
        first, last = (track.track.at[place] / 1e6 - START.timestamp() for place in (left[0], left[near - 1]))
        if last - first >= 180:
            yield first, last
        left = left[near - 1 if last - first >= 180 else 1 :]


# What cannot have been driven does not count.


def test_a_fix_far_away_in_the_middle_is_rejected_for_its_speed() -> None:
    stray = fix(61, east=FAR)
    track = told([*ROAD, stray])
    assert track.verdict(stray) == "speed"
    assert track.moved == told(ROAD).moved


def test_a_first_fix_far_away_is_rejected_for_its_speed() -> None:
    stray = fix(-1, east=FAR)
    track = told([stray, *ROAD])
    assert track.verdict(stray) == "speed"
    assert track.moved == told(ROAD).moved


def test_a_last_fix_far_away_is_rejected_for_its_speed() -> None:
    stray = fix(121, east=FAR)
    track = told([*ROAD, stray])
    assert track.verdict(stray) == "speed"
    assert track.moved == told(ROAD).moved


def test_a_fix_far_away_after_a_long_silence_is_rejected_for_its_speed() -> None:
    stray, later = fix(7_200, east=FAR), [fix(7_203 + 3 * n, east=1_800 + 45 * n) for n in range(20)]
    track = told([*ROAD, stray, *later])
    assert track.verdict(stray) == "speed"
    assert track.moved == told([*ROAD, *later]).moved


def test_a_truck_that_was_far_away_after_a_long_silence_was_there() -> None:
    there = [fix(7_200 + 3 * n, east=FAR + 45 * n) for n in range(20)]
    assert told([*ROAD, *there]).metres == pytest.approx(FAR + 19 * 45, abs=1)


def test_a_fix_far_away_is_rejected_once_the_next_ones_contradict_it() -> None:
    track, stray = told(ROAD), fix(7_200, east=FAR)
    assert track.hear(stray).judged == ()
    track.hear(fix(7_203, east=1_800), fix(7_206, east=1_845))
    assert track.verdict(stray) == "speed"


def test_160_km_h_are_possible_and_more_are_not() -> None:
    assert told([fix(0), fix(90, east=3_990)]).metres > 3_900
    assert told([fix(0), fix(90, east=4_010)]).metres == 0


@pytest.mark.parametrize(
    ("verdict", "one"),
    [
        ("range", replace(fix(0), latitude=90.1)),
        ("range", replace(fix(0), longitude=-180.1)),
        ("range", replace(fix(0), latitude=0.0, longitude=0.0)),
        ("future", fix(2 * 86_400 + 0.001)),
        ("kept", fix(2 * 86_400)),
        ("accuracy", fix(0, accuracy=100.1)),
        ("accuracy", fix(0, accuracy=-1)),
        ("kept", fix(0, accuracy=100)),
        ("kept", fix(0, accuracy=None)),
        ("kept", replace(fix(0), latitude=-90.0, longitude=180.0)),
    ],
)
def test_each_filter_has_its_reason(verdict: str, one: Fix) -> None:
    assert told([one]).verdict(one) == verdict


def test_a_rejected_fix_stays_on_record_and_counts_for_nothing() -> None:
    fact = told([fix(0), fix(60, east=500, accuracy=150)]).facts[0]
    assert len(fact.fixes) == 2
    assert fact.judged == (Judged(batch=1, index=1, verdict="accuracy"),)
    assert fact.moved == ()


# Of several fixes of one moment, the best counts.


def test_of_several_fixes_at_one_time_the_most_accurate_counts() -> None:
    rough, fine, unknown = fix(0, accuracy=20), fix(0, north=9, accuracy=5), fix(0, north=18, accuracy=None)
    track = told([rough, fine, unknown])
    assert [track.verdict(one) for one in (rough, fine, unknown)] == ["same_time", "kept", "same_time"]


def test_of_equally_accurate_fixes_at_one_time_the_southern_one_counts() -> None:
    north, south = fix(0, north=9), fix(0)
    track = told([north], [south])
    assert [track.verdict(one) for one in (north, south)] == ["same_time", "kept"]


def test_a_better_fix_of_the_same_moment_takes_the_place_of_the_former() -> None:
    track = told([fix(0), fix(60, east=500, accuracy=60)])
    fact = track.hear(fix(60, east=400, accuracy=5))
    assert track.metres == pytest.approx(400, abs=1)
    assert fact.judged == (Judged(batch=1, index=1, verdict="same_time"),)


def test_a_better_accuracy_of_the_same_fix_replaces_it() -> None:
    track = told([fix(0, accuracy=60)])
    fact = track.hear(fix(0, accuracy=5))
    assert fact.judged == (Judged(batch=1, index=0, verdict="duplicate"),)
    assert track.verdict(fix(0)) == "kept"


def test_a_worse_accuracy_of_the_same_fix_is_known_already() -> None:
    assert told([fix(0, accuracy=5)]).hear(fix(0, accuracy=60)) is None


def test_a_batch_of_only_duplicates_leads_to_no_fact() -> None:
    track = told(ROAD)
    assert track.hear(*ROAD[10:20]) is None


def test_duplicates_are_not_stored() -> None:
    fact = told(ROAD).hear(ROAD[0], fix(200, east=1_900), ROAD[1])
    assert [one.index for one in fact.fixes] == [1]
    assert fact.count == 3
    assert {one.index for one in fact.judged if one.verdict == "duplicate"} == {0, 2}


def test_a_fix_twice_in_one_batch_is_stored_once() -> None:
    fact = told([fix(0), fix(0)]).facts[0]
    assert [one.index for one in fact.fixes] == [0]
    assert fact.judged == (Judged(batch=1, index=1, verdict="duplicate"),)


# How far it leads, and where it stands still.


def test_a_recorded_drive_keeps_its_distance() -> None:
    steps = [(20 * sin(n / 30) ** 2 + 2, n / 90) for n in range(1_200)]  # 7 to 80 km/h along a wide curve
    chance = Random(1)
    east = accumulate(3 * speed * cos(course) for speed, course in steps)
    north = accumulate(3 * speed * sin(course) for speed, course in steps)
    way = enumerate(zip(east, north, strict=True))
    drive = [fix(3 * n, x + chance.gauss(0, 2), y + chance.gauss(0, 2)) for n, (x, y) in way]
    plain = WGS84.line_length([one.longitude for one in drive], [one.latitude for one in drive])
    assert plain > 30_000
    assert told(drive).metres == pytest.approx(plain, rel=0.01)


def test_a_stop_of_five_minutes_is_one_stop_and_counts_its_net_displacement_only() -> None:
    chance, park = Random(1), 1_860.0
    stand = [fix(123 + 3 * n, park + chance.uniform(-15, 15), chance.uniform(-15, 15)) for n in range(1, 100)]
    there, away = fix(123, east=park), [fix(423 + 3 * n, east=park + 60 * n) for n in range(40)]
    track = told([*ROAD, there, *stand, *away])
    assert track.stops == [(123, 423)]
    assert track.dwell_seconds == 300
    assert track.metres == pytest.approx(park + 39 * 60, abs=1)


def test_less_than_three_minutes_are_no_stop() -> None:
    assert told([fix(second) for second in range(0, 180, 10)]).stops == []
    assert told([fix(second) for second in range(0, 181, 10)]).stops == [(0, 180)]


def test_a_stop_says_where_it_begins_and_ends_and_on_which_day() -> None:
    fact = told([fix(second) for second in range(0, 301, 60)]).facts[0]
    assert fact.stops == (Stop(first=FixRef(batch=1, index=0), last=FixRef(batch=1, index=5), day=DAY, seconds=300),)
    assert [one.verdict for one in fact.judged] == ["still"] * 4


def test_a_stop_grows_from_batch_to_batch() -> None:
    track = told([fix(second) for second in range(0, 181, 60)], [fix(240)], [fix(300)])
    assert track.stops == [(0, 300)]
    assert [fact.dwell_seconds for fact in track.facts] == [180, 60, 60]


def test_a_late_fix_on_the_way_ends_what_looked_like_a_stop() -> None:
    track = told([fix(second) for second in (0, 100, 200)])
    fact = track.hear(fix(50, north=200))
    assert fact.unstopped == (FixRef(batch=1, index=0),)
    assert fact.dwell_seconds == -200
    assert track.stops == []


def test_a_segment_belongs_to_the_local_date_of_its_end() -> None:
    before, after = fix(16 * 3_600 - 10), fix(16 * 3_600 + 10, east=100)
    assert told([before, after]).facts[0].moved == (Moved(day=NEXT_DAY, mm=100_000),)


# What comes late makes a visible correction.


def test_a_late_batch_says_what_it_corrects() -> None:
    track = told([fix(0), fix(120, east=2_000)])
    fact = track.hear(fix(60, east=1_000, north=300))
    (moved,) = fact.moved
    assert moved.mm == pytest.approx(88_061, rel=0.01)
    assert fact.late == 1


def test_a_batch_in_order_is_not_late() -> None:
    assert told([fix(0)], [fix(60)], [fix(120)]).facts[-1].late == 0


def test_a_late_fix_that_does_not_count_is_not_late() -> None:
    fact = told([fix(0), fix(120)]).hear(fix(60, accuracy=150), fix(61, east=FAR))
    assert fact.late == 0
    assert fact.moved == ()


def test_a_fix_with_a_wrong_clock_makes_no_other_late() -> None:
    track = told([fix(0), fix(90 * 86_400)])
    fact = track.hear(fix(60, east=500))
    assert fact.late == 0


# What may not be kept, and what is forgotten.


def test_fixes_taken_while_tracking_was_off_keep_no_place() -> None:
    off = Arrival("driver", ARRIVAL.now, lambda at: at < START + timedelta(seconds=60), ARRIVAL.local_date)
    fact = told([fix(59), fix(60, east=500)], arrival=off).facts[0]
    assert [one.index for one in fact.fixes] == [0]
    assert fact.judged == (Judged(batch=1, index=1, verdict="tracking_disabled"),)
    assert (fact.count, fact.moved) == (2, ())


def test_nothing_is_added_to_an_erased_track() -> None:
    erased = recorded(Track(), replace(told(ROAD).facts[0], fixes=ERASED))
    with pytest.raises(TrackErased):
        Told(erased).hear(fix(500))


def condensed_road() -> Told:
    """What remains of the road."""
    track = told(ROAD).track
    ends = [Vertex(at=one.at, latitude=one.latitude, longitude=one.longitude) for one in (ROAD[0], ROAD[-1])]
    fact = TrackCondensed(
        driver_id="driver", through=DAY, until=ROAD[-1].at, line=tuple(ends), dwell=(), sha256="of the road"
    )
    return Told(condensed(track, fact))


def test_nothing_is_added_within_a_condensed_track() -> None:
    with pytest.raises(TrackErased):
        condensed_road().hear(fix(60.5))


def test_a_condensed_track_goes_on_from_its_last_vertex() -> None:
    track = condensed_road()
    track.hear(fix(180, east=39 * 45 + 500))
    assert track.metres == pytest.approx(500, abs=1)


def test_a_stop_may_begin_where_a_condensed_track_ended() -> None:
    fact = condensed_road().hear(fix(217, east=39 * 45), fix(317, east=39 * 45))
    assert [(stop.first, stop.seconds) for stop in fact.stops] == [(FixRef(batch=0, index=0), 200)]


def test_what_cannot_be_reached_from_a_condensed_track_is_rejected() -> None:
    track = condensed_road()
    track.hear(fix(180, east=FAR))
    assert track.verdict(fix(180, east=FAR)) == "speed"


def test_a_track_whose_line_was_erased_goes_on_with_its_next_fix() -> None:
    fact = TrackCondensed(driver_id="driver", through=DAY, until=START, line=ERASED, dwell=(), sha256="of the road")
    track = Told(condensed(told(ROAD).track, fact))
    track.hear(fix(60), fix(120, east=500))
    assert track.metres == pytest.approx(500, abs=1)
