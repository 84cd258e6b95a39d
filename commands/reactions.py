"""What follows later: when X happened, ask Y; when a timer is due, ask Z. All of it is in the tables at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any
from uuid import UUID

from pyproj import Geod

from commands.kernel import Ask, DestroyKeys, Reaction, Rows, Timer
from commands.tenants import ExpireFixes
from commands.trips.trips import CondenseTrack, SiteDwellSent
from domain.kernel import Recorded
from domain.tenants import TENANTS, FixesExpired
from domain.trips.trips import DRIVER_DAYS, TRIPS

TRACKS = {stream.name: stream for stream in (TRIPS, DRIVER_DAYS)}
WGS84 = Geod(ellps="WGS84")


def condense_tracks(site_radius_m: float, happened: Recorded[FixesExpired], rows: Rows) -> Iterator[Ask | DestroyKeys]:
    """Keep what remains of every track with expired fixes, then destroy their keys."""
    through = happened.fact.through
    sites = list(rows("sites"))
    for track in rows("tracks", ("oldest_day", "<=", through)):
        dwell = dwell_of(rows("stops", ("track", "=", track["track"])), sites, site_radius_m)
        command = CondenseTrack(through=through, driver_id=track["driver_id"], dwell=tuple(dwell))
        yield Ask(TRACKS[track["stream"]], track["id"], command)
    yield DestroyKeys(through)


def dwell_of(
    stops: Iterable[Mapping[str, Any]], sites: Sequence[Mapping[str, Any]], radius_m: float
) -> list[SiteDwellSent]:
    """Return the seconds of stops by local date and the nearest site within its radius, if there is one."""
    seconds: Counter[tuple[str, str | None]] = Counter()
    for stop in stops:
        seconds[stop["day"], stop["site_id"] or _nearest(stop, sites, radius_m)] += stop["seconds"]
    return [
        SiteDwellSent(site_id=site, day=date.fromisoformat(day), seconds=total)
        for (day, site), total in sorted(seconds.items(), key=str)
    ]


def _nearest(stop: Mapping[str, Any], sites: Sequence[Mapping[str, Any]], radius_m: float) -> str | None:
    if stop["latitude"] is None:
        return None
    ranked = ((_metres(stop, site), site["id"]) for site in sites)
    metres, nearest = min(ranked, default=(radius_m + 1, None))
    return nearest if metres <= radius_m else None


def _metres(here: Mapping[str, Any], there: Mapping[str, Any]) -> float:
    return float(WGS84.inv(here["longitude"], here["latitude"], there["longitude"], there["latitude"])[2])


def expire_fixes(tenant: UUID, timer: Mapping[str, Any]) -> Iterator[Ask]:
    """Declare the oldest day of raw fixes as kept long enough."""
    yield Ask(TENANTS, str(tenant), ExpireFixes(through=date.fromisoformat(timer["days"][0])))


def reactions(site_radius_m: float = 200.0) -> Sequence[Reaction]:
    """Return all reactions; what stands within the radius of a site, stands at it."""
    return (Reaction("condense-tracks", TENANTS, FixesExpired, "trips", partial(condense_tracks, site_radius_m)),)


TIMERS: Sequence[Timer] = (Timer("expire-fixes", "trips", "timers", expire_fixes),)
