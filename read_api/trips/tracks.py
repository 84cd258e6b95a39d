"""Tracks and standing still: `GET /trips/{id}/track`, `GET /dwell`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from domain.trips.track import simplify
from infra.web.problems import NO_SUCH_RECORD, ProblemError
from read_api.listing import Shown
from read_api.trips.roles import ROAD, Road

router = APIRouter(tags=["tracks"])

Which = Literal["accepted", "rejected", "all"]
ACCEPTED = frozenset({"kept", "still"})
TRACK = """select k.line::text, coalesce(json_agg(b.fixes) filter (where b.fixes is not null), '[]')::text
    from {schema}.trips t
    left join {schema}.drivers d on d.tenant_id = t.tenant_id and d.id = t.driver_id
    left join {schema}.tracks k on k.tenant_id = t.tenant_id and k.track = 'trips/' || t.id
    left join {schema}.track_batches b on b.tenant_id = t.tenant_id and b.track = 'trips/' || t.id
    where t.id = %(id)s and (%(all)s or d."user" = %(subject)s) group by k.line"""


class Feature(Shown):
    """A GeoJSON feature (RFC 7946): the track's line (unlocated with less than two vertices), or one fix with its verdict."""

    type: Literal["Feature"]
    geometry: dict[str, Any] | None
    properties: dict[str, Any]


class Track(Shown):
    """A GeoJSON feature collection: first the line of all vertices (not with `rejected`), then the fixes that were asked for."""

    type: Literal["FeatureCollection"]
    features: list[Feature]


class TrackWanted(BaseModel):
    """Which fixes, and how closely the line follows them."""

    model_config = ConfigDict(extra="forbid")

    fixes: Which = "accepted"
    simplify: float | None = Field(None, ge=0, le=10_000, description="Tolerance in metres; then only the line is sent")


@router.get("/trips/{id}/track", response_model=Track)
async def track(ask: Road, id: str, wanted: Annotated[TrackWanted, Query()]) -> Response:
    """The track of a trip, in the order of time; rejected fixes have their reason. What was forgotten is a simplified line."""

    def show(rows: Sequence[tuple[Any, ...]]) -> Mapping[str, Any]:
        if not rows:
            raise ProblemError(NO_SUCH_RECORD)
        line, batches = rows[0]
        vertices = msgspec.json.decode(line) if line is not None else []
        fixes = [fix for batch in msgspec.json.decode(batches) for fix in batch]
        return geojson(vertices, sorted(fixes, key=lambda fix: datetime.fromisoformat(fix["at"])), wanted)

    parameters = {"id": id, "all": ask.sees_all(ROAD), "subject": ask.principal.actor.subject}
    return await ask.computed("trips", TRACK, parameters, show, max_age=30)


def geojson(
    condensed: Sequence[Mapping[str, Any]], fixes: Sequence[Mapping[str, Any]], wanted: TrackWanted
) -> Mapping[str, Any]:
    """Return a track as GeoJSON: what remains of forgotten fixes, then those that are still there."""
    features = []
    if wanted.fixes != "rejected":
        line = [*condensed, *(fix for fix in fixes if fix["verdict"] == "kept")]
        if wanted.simplify is not None:
            kept = simplify([(vertex["latitude"], vertex["longitude"]) for vertex in line], wanted.simplify)
            line = [line[place] for place in kept]
        coordinates = [[vertex["longitude"], vertex["latitude"]] for vertex in line]
        times = {"at": [vertex["at"] for vertex in line]}
        features.append(_feature("LineString", coordinates if len(line) > 1 else None, times))
    if wanted.simplify is None:
        features += [_point(fix) for fix in fixes if wanted.fixes == "all" or _is_wanted(fix, wanted.fixes)]
    return {"type": "FeatureCollection", "features": features}


def _is_wanted(fix: Mapping[str, Any], which: Which) -> bool:
    return (fix["verdict"] in ACCEPTED) is (which == "accepted") and fix["verdict"] != "duplicate"


def _point(fix: Mapping[str, Any]) -> Mapping[str, Any]:
    about = {name: value for name, value in fix.items() if name not in ("latitude", "longitude", "index")}
    return _feature("Point", [fix["longitude"], fix["latitude"]], about)


def _feature(kind: str, coordinates: Any, properties: Mapping[str, Any]) -> Mapping[str, Any]:
    geometry = {"type": kind, "coordinates": coordinates} if coordinates is not None else None
    return {"type": "Feature", "geometry": geometry, "properties": properties}


# The nearest site within the radius, by the haversine formula on the mean earth (0.5 % is much less than any radius).
DWELL = """select ({key})::text, sum(p.seconds)::bigint, count(*), {name}
    from {schema}.stops p
    left join {schema}.trips t on t.tenant_id = p.tenant_id and t.id = p.trip_id
    left join {schema}.drivers d on d.tenant_id = p.tenant_id and d.id = p.driver_id
    left join {schema}.trucks k on k.tenant_id = t.tenant_id and k.id = t.truck_id
    left join lateral (
        select s.id, s.name,
               2 * 6371008.8 * asin(least(1, sqrt(sin(radians(s.latitude - p.latitude) / 2) ^ 2
                   + cos(radians(s.latitude)) * cos(radians(p.latitude))
                   * sin(radians(s.longitude - p.longitude) / 2) ^ 2))) as metres
          from {schema}.sites s
         where s.tenant_id = p.tenant_id
           and (s.id = p.site_id or abs(s.latitude - p.latitude) <= %(radius)s / 110000.0)
         order by metres nulls first limit 1) n on n.metres <= %(radius)s or n.id = p.site_id
    where p.day between %(from)s and %(to)s and (%(all)s or d."user" = %(subject)s)
    group by 1, 4 order by 2 desc, 1"""
KEYS = {
    "trip": ("p.trip_id", "null"),
    "day": ("p.day", "null"),
    "driver": ("p.driver_id", "d.name"),
    "truck": ("t.truck_id", "k.number"),
    "site": ("n.id", "n.name"),
}


class Dwell(Shown):
    """How long something stood still, in how many stops; a key of null is outside of trips, or at no site."""

    key: str | None
    name: str | None
    seconds: int
    stops: int


class Dwells(Shown):
    """Standing still, the longest first."""

    by: Literal["trip", "day", "driver", "truck", "site"]
    items: list[Dwell]


class DwellWanted(BaseModel):
    """How it is summed up, and on which local dates the stops began."""

    model_config = ConfigDict(extra="forbid")

    by: Literal["trip", "day", "driver", "truck", "site"]
    from_date: date = Field(date(1970, 1, 1), alias="from")
    to_date: date = Field(date(2200, 12, 31), alias="to")


@router.get("/dwell", response_model=Dwells)
async def dwell(ask: Road, wanted: Annotated[DwellWanted, Query()]) -> Response:
    """How long trucks stood still: all stops of 180 s or more, by trip, day, driver, truck or site within its radius."""
    key, name = KEYS[wanted.by]
    statement = DWELL.replace("{key}", key).replace("{name}", name)
    parameters = {
        "radius": ask.settings.site_radius_m,
        "from": wanted.from_date,
        "to": wanted.to_date,
        "all": ask.sees_all(ROAD),
        "subject": None if ask.sees_all(ROAD) else ask.principal.actor.subject,  # the office shares one answer
    }

    def show(rows: Sequence[tuple[Any, ...]]) -> Mapping[str, Any]:
        items = [{"key": key, "name": name, "seconds": seconds, "stops": stops} for key, seconds, stops, name in rows]
        return {"by": wanted.by, "items": items}

    return await ask.computed("trips", statement, parameters, show, max_age=30, shown_by=wanted.by)
