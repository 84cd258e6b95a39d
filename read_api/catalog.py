"""Everything that may be read: the routers of all contexts."""

from collections.abc import Sequence

from fastapi import APIRouter

from read_api import attachments, contract, locks, log, people, presence, stream, tenants
from read_api.bookings import bookings, scrutineers, stations
from read_api.inspections import (
    checklists,
    checks,
    follow_ups,
    history,
    inspections,
    passports,
    reports,
    types,
    workspace,
)
from read_api.trips import drivers, fleet, payroll, sites, tracks, trips, trucks

ROUTERS: Sequence[APIRouter] = (
    fleet.router,
    trips.router,
    tracks.router,
    drivers.router,
    trucks.router,
    sites.router,
    payroll.router,
    people.router,
    bookings.router,
    scrutineers.router,
    stations.router,
    attachments.router,
    types.router,
    checklists.router,
    inspections.router,
    checks.router,
    workspace.router,
    passports.router,
    follow_ups.router,
    reports.router,
    history.router,
    tenants.router,
    stream.router,
    locks.router,
    presence.router,
    log.router,
    contract.router,
)
