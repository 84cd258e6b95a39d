"""Tracks and stops: every fix with its verdict, batch by batch, and where something stood still.

A track is named by its stream: `trips/<id>`, or `driver-days/<driver>.<UTC day>` for fixes outside of trips.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from typing import Any

from domain.kernel import Erased, Recorded
from domain.trips.track import (
    FIRST_REJECTED,
    VERDICTS,
    Fix,
    FixRef,
    LocationsRecorded,
    Stop,
    TrackCondensed,
    Verdict,
    Vertex,
)
from domain.trips.trips import DRIVER_DAYS, TRIPS
from projections.kernel import Key, Look, View, at, row

SITES = -1  # in place of a batch: the stops of forgotten batches, added up by site and day
NOT_COUNTED = frozenset(VERDICTS[FIRST_REJECTED:])


@row
class TrackFix:
    """A fix as it was sent, with its latest verdict."""

    index: int
    at: datetime
    latitude: float
    longitude: float
    verdict: Verdict
    accuracy_m: float | None = None
    speed_kmh: float | None = None
    heading: float | None = None


@row
class TrackBatchRow:
    """One batch of fixes of a track."""

    track: str
    batch: int
    fixes: tuple[TrackFix, ...]


@row
class TrackRow:
    """A track as a whole: whose, the UTC days on which its raw fixes arrived and are still kept, its stops, and what remains
    of it (`line`, `sha256`) once raw fixes were forgotten.
    """

    track: str
    stream: str
    id: str
    driver_id: str
    days: tuple[date, ...] = ()
    oldest_day: date | None = None
    batches: int = 0
    stops: tuple[FixRef, ...] = ()
    condensed_until: datetime | None = None
    line: tuple[Vertex, ...] = ()
    sha256: str | None = None


@row
class StopRow:
    """A stretch of standing still, on the local date it began. Once its place was forgotten, only the site remains."""

    track: str
    batch: int
    index: int
    driver_id: str
    trip_id: str | None
    day: date
    seconds: int
    latitude: float | None
    longitude: float | None
    site_id: str | None = None


def track_of(happened: Recorded[Any]) -> str:
    """Return the name of the track that a fact belongs to."""
    return f"{happened.stream}/{happened.id}"


def accepted_fixes(fact: LocationsRecorded) -> list[Fix]:
    """Return the fixes of a batch that counted when it arrived."""
    if isinstance(fact.fixes, Erased):
        return []
    out = {one.index for one in fact.judged if one.batch == fact.batch and one.verdict in NOT_COUNTED}
    return [fix for fix in fact.fixes if fix.index not in out]


def _track_key(happened: Recorded[Any], look: Look) -> list[Key]:
    return [(track_of(happened),)]


def _batch_keys(happened: Recorded[LocationsRecorded], look: Look) -> list[Key]:
    fact, track = happened.fact, track_of(happened)
    return [(track, batch) for batch in sorted({fact.batch, *(one.batch for one in fact.judged)})]


def _all_batches(happened: Recorded[TrackCondensed], look: Look) -> list[Key]:
    track = look(TrackRow, track_of(happened))
    return [(track.track, batch) for batch in range(1, track.batches + 1)] if track is not None else []


def batch_judged(
    known: TrackBatchRow | None, happened: Recorded[LocationsRecorded], look: Look, key: Key
) -> TrackBatchRow | None:
    """Return a batch after a fact: new with its first verdicts, or known with the changed ones."""
    fact, (_, batch) = happened.fact, key
    verdicts = {one.index: one.verdict for one in fact.judged if one.batch == batch}
    if batch != fact.batch:
        if known is None:
            return None
        return replace(
            known, fixes=tuple(replace(fix, verdict=verdicts.get(fix.index, fix.verdict)) for fix in known.fixes)
        )
    if isinstance(fact.fixes, Erased):
        return None
    return TrackBatchRow(
        track=track_of(happened),
        batch=batch,
        fixes=tuple(
            TrackFix(
                index=fix.index,
                at=fix.at,
                latitude=fix.latitude,
                longitude=fix.longitude,
                verdict=verdicts.get(fix.index, "kept"),
                accuracy_m=fix.accuracy_m,
                speed_kmh=fix.speed_kmh,
                heading=fix.heading,
            )
            for fix in fact.fixes
        ),
    )


def batch_forgotten(_: TrackBatchRow | None, happened: Recorded[TrackCondensed], look: Look, key: Key) -> None:
    return None


TRACK_BATCHES_VIEW = View(
    name="track_batches",
    row=TrackBatchRow,
    key=("track", "batch"),
    forgets=frozenset({TrackCondensed}),
    folds={
        stream: {
            LocationsRecorded: at(_batch_keys, batch_judged),
            TrackCondensed: at(_all_batches, batch_forgotten),
        }
        for stream in (TRIPS, DRIVER_DAYS)
    },
)


def track_grown(track: TrackRow | None, happened: Recorded[LocationsRecorded], look: Look, key: Key) -> TrackRow:
    fact = happened.fact
    known = track or TrackRow(
        track=track_of(happened), stream=happened.stream, id=happened.id, driver_id=fact.driver_id
    )
    days = tuple(sorted({*known.days, fact.arrived}))
    gone = {*fact.unstopped, *(stop.first for stop in fact.stops)}
    stops = (*(first for first in known.stops if first not in gone), *(stop.first for stop in fact.stops))
    return replace(known, days=days, oldest_day=days[0], batches=fact.batch, stops=stops)


def track_condensed(track: TrackRow, happened: Recorded[TrackCondensed], look: Look, key: Key) -> TrackRow:
    fact = happened.fact
    line = () if isinstance(fact.line, Erased) else fact.line
    return replace(
        track,
        days=(),
        oldest_day=None,
        stops=(),
        condensed_until=fact.until,
        # A later line begins with the vertex at which the one before it ended.
        line=(*track.line, *line[bool(track.line) :]),
        sha256=fact.sha256,
    )


TRACKS_VIEW = View(
    name="tracks",
    row=TrackRow,
    key=("track",),
    indexes=("oldest_day",),
    folds={
        stream: {
            LocationsRecorded: at(_track_key, track_grown),
            TrackCondensed: at(_track_key, track_condensed),
        }
        for stream in (TRIPS, DRIVER_DAYS)
    },
)


def _stop_keys(happened: Recorded[LocationsRecorded], look: Look) -> list[Key]:
    fact, track = happened.fact, track_of(happened)
    firsts = (*fact.unstopped, *(stop.first for stop in fact.stops))
    return [(track, first.batch, first.index) for first in firsts]


def _all_stops(happened: Recorded[TrackCondensed], look: Look) -> list[Key]:
    """Return the stops of a track that is condensed, and one for each site at which it stood (batch -1)."""
    track = look(TrackRow, track_of(happened))
    if track is None:
        return []
    stops = [(track.track, first.batch, first.index) for first in track.stops]
    return [*stops, *((track.track, SITES, number) for number in range(len(happened.fact.dwell)))]


def stood(stop: StopRow | None, happened: Recorded[LocationsRecorded], look: Look, key: Key) -> StopRow | None:
    track, batch, index = key
    found = next((one for one in happened.fact.stops if (one.first.batch, one.first.index) == (batch, index)), None)
    if found is None:
        return None
    place = stop if stop is not None else _fix(happened, look, track, found)
    return StopRow(
        track=track,
        batch=batch,
        index=index,
        driver_id=happened.fact.driver_id,
        trip_id=happened.id if happened.stream == TRIPS.name else None,
        day=found.day,
        seconds=found.seconds,
        latitude=place.latitude if place is not None else None,
        longitude=place.longitude if place is not None else None,
    )


def _fix(happened: Recorded[LocationsRecorded], look: Look, track: str, stop: Stop) -> Fix | TrackFix | Vertex | None:
    fixes: tuple[Fix | TrackFix, ...] = ()
    if stop.first.batch == 0:  # where the condensed part ended
        whole = look(TrackRow, track)
        return whole.line[-1] if whole is not None and whole.line else None
    if stop.first.batch != happened.fact.batch:
        known = look(TrackBatchRow, track, stop.first.batch)
        fixes = known.fixes if known is not None else ()
    elif not isinstance(happened.fact.fixes, Erased):
        fixes = happened.fact.fixes
    return next((fix for fix in fixes if fix.index == stop.first.index), None)


def stops_condensed(stop: StopRow | None, happened: Recorded[TrackCondensed], look: Look, key: Key) -> StopRow | None:
    track, batch, number = key
    if batch != SITES:
        return None
    dwell = happened.fact.dwell[number]
    return StopRow(
        track=track,
        batch=SITES,
        index=number,
        driver_id=happened.fact.driver_id,
        trip_id=happened.id if happened.stream == TRIPS.name else None,
        day=dwell.day,
        seconds=dwell.seconds,
        latitude=None,
        longitude=None,
        site_id=dwell.site_id,
    )


STOPS_VIEW = View(
    name="stops",
    row=StopRow,
    key=("track", "batch", "index"),
    indexes=("day",),
    forgets=frozenset({TrackCondensed}),
    folds={
        stream: {
            LocationsRecorded: at(_stop_keys, stood),
            TrackCondensed: at(_all_stops, stops_condensed),
        }
        for stream in (TRIPS, DRIVER_DAYS)
    },
)
