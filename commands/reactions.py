"""What follows later: when X happened, ask Y; when a timer is due, ask Z. All of it is in the tables at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from typing import Any
from uuid import UUID

from pyproj import Geod

from commands.attachments import AbandonAttachment
from commands.bookings.bookings import CompleteBooking, ContinueBooking, ExpireHold, StartBooking
from commands.inspections.checks import ReleaseHeldChecks
from commands.inspections.follow_ups import OpenFollowUp, ResolveFollowUp
from commands.inspections.inspections import PrepareInspection
from commands.kernel import Ask, DestroyKeys, ForgetFile, Reaction, Rows, Timer
from commands.tenants import ExpireFixes
from commands.trips.trips import CondenseTrack, SiteDwellSent
from domain.attachments import ATTACHMENTS, AttachmentAbandoned, AttachmentStored
from domain.bookings.bookings import BOOKINGS, BookingCheckedIn
from domain.inspections.checks import DefectCleared, DefectFound
from domain.inspections.follow_ups import FOLLOW_UPS
from domain.inspections.inspections import INSPECTIONS, InspectionCompleted, InspectionReopened, InspectionStarted
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


def prepare_inspection(happened: Recorded[BookingCheckedIn], _: Rows) -> Iterator[Ask]:
    """Get the inspection of a car that has come ready."""
    fact = happened.fact
    prepare = PrepareInspection(
        team_id=fact.team_id,
        inspection_type_id=fact.inspection_type_id,
        vehicle_class=fact.vehicle_class,
        rescrutineering=fact.rescrutineering,
    )
    yield Ask(INSPECTIONS, happened.id, prepare)


def start_booking(happened: Recorded[InspectionStarted], _: Rows) -> Iterator[Ask]:
    """Let the booking show that its inspection has begun."""
    yield Ask(BOOKINGS, happened.id, StartBooking())


def complete_booking(happened: Recorded[InspectionCompleted], _: Rows) -> Iterator[Ask]:
    """Let the booking show what its inspection came to."""
    yield Ask(BOOKINGS, happened.id, CompleteBooking(result=happened.fact.result))


def continue_booking(happened: Recorded[InspectionReopened], _: Rows) -> Iterator[Ask]:
    """Let the booking show that its inspection goes on."""
    yield Ask(BOOKINGS, happened.id, ContinueBooking())


def open_follow_up(happened: Recorded[DefectFound], _: Rows) -> Iterator[Ask]:
    """Let nobody forget what has to be mended."""
    fact = happened.fact
    follow_up = OpenFollowUp(inspection_id=happened.id, item=fact.item, comment=fact.comment)
    yield Ask(FOLLOW_UPS, f"{happened.id}.{fact.number}", follow_up)


def resolve_follow_up(happened: Recorded[DefectCleared], _: Rows) -> Iterator[Ask]:
    """Close what was to be mended, as the item does not fail any more."""
    yield Ask(FOLLOW_UPS, f"{happened.id}.{happened.fact.number}", ResolveFollowUp())


def forget_file(happened: Recorded[AttachmentAbandoned], _: Rows) -> Iterator[ForgetFile]:
    """Throw away what came of a file that did not come in time."""
    yield ForgetFile(happened.fact.key)


def forget_parts(happened: Recorded[AttachmentStored], _: Rows) -> Iterator[ForgetFile]:
    """Throw away the parts of a file that is complete, which are still there if its upload was killed right then."""
    yield ForgetFile(happened.fact.key, complete=True)


def expire_hold(_: UUID, deadline: Mapping[str, Any]) -> Iterator[Ask]:
    """Free the slot of a booking that was not confirmed in time."""
    yield Ask(BOOKINGS, deadline["id"], ExpireHold())


def release_held(_: UUID, deadline: Mapping[str, Any]) -> Iterator[Ask]:
    """Let checks that waited long enough for earlier ones take effect without them."""
    yield Ask(INSPECTIONS, deadline["id"], ReleaseHeldChecks())


def abandon_attachment(_: UUID, deadline: Mapping[str, Any]) -> Iterator[Ask]:
    """Give up waiting for the bytes of a file."""
    yield Ask(ATTACHMENTS, deadline["id"], AbandonAttachment())


def expire_fixes(tenant: UUID, timer: Mapping[str, Any]) -> Iterator[Ask]:
    """Declare the oldest day of raw fixes as kept long enough."""
    yield Ask(TENANTS, str(tenant), ExpireFixes(through=date.fromisoformat(timer["days"][0])))


def reactions(site_radius_m: float = 200.0) -> Sequence[Reaction]:
    """Return all reactions; what stands within the radius of a site, stands at it."""
    return (
        Reaction("condense-tracks", TENANTS, FixesExpired, "trips", partial(condense_tracks, site_radius_m)),
        Reaction("prepare-inspection", BOOKINGS, BookingCheckedIn, None, prepare_inspection),
        Reaction("start-booking", INSPECTIONS, InspectionStarted, None, start_booking),
        Reaction("complete-booking", INSPECTIONS, InspectionCompleted, None, complete_booking),
        Reaction("continue-booking", INSPECTIONS, InspectionReopened, None, continue_booking),
        Reaction("open-follow-up", INSPECTIONS, DefectFound, None, open_follow_up),
        Reaction("resolve-follow-up", INSPECTIONS, DefectCleared, None, resolve_follow_up),
        Reaction("forget-file", ATTACHMENTS, AttachmentAbandoned, None, forget_file),
        Reaction("forget-parts", ATTACHMENTS, AttachmentStored, None, forget_parts),
    )


TIMERS: Sequence[Timer] = (
    Timer("expire-fixes", "trips", "timers", expire_fixes),
    Timer("expire-hold", "inspections", "deadlines", expire_hold),
    Timer("release-held", "inspections", "deadlines", release_held),
    Timer("abandon-attachment", "inspections", "deadlines", abandon_attachment),
)
