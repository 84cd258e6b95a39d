"""Every stream there is, by context."""

from collections.abc import Mapping, Sequence
from typing import Any

from domain.attachments import ATTACHMENTS
from domain.bookings.bookings import BOOKINGS
from domain.bookings.calendar import CALENDAR_DAYS
from domain.claims import CLAIMS
from domain.inspections.checklists import CHECKLIST_VERSIONS, CHECKLISTS
from domain.inspections.follow_ups import FOLLOW_UPS
from domain.inspections.inspections import INSPECTIONS
from domain.inspections.passports import PASSPORTS
from domain.inspections.reports import CLIENT_REPORTS
from domain.inspections.types import INSPECTION_TYPES, PREREQUISITES
from domain.kernel import Stream
from domain.people import PEOPLE, TEAMS
from domain.tenants import TENANTS
from domain.trips.drivers import DRIVERS
from domain.trips.payroll import PAY_DAYS, PAYROLL_PERIODS
from domain.trips.sites import SITES
from domain.trips.trips import DRIVER_DAYS, TRIPS
from domain.trips.trucks import TRUCKS

STREAMS_BY_CONTEXT: Mapping[str, Sequence[Stream[Any]]] = {
    "tenants": (TENANTS,),
    "claims": (CLAIMS,),
    "people": (PEOPLE, TEAMS),
    "inspections": (
        INSPECTION_TYPES,
        PREREQUISITES,
        CHECKLISTS,
        CHECKLIST_VERSIONS,
        INSPECTIONS,
        PASSPORTS,
        FOLLOW_UPS,
        CLIENT_REPORTS,
    ),
    "bookings": (BOOKINGS, CALENDAR_DAYS),
    "attachments": (ATTACHMENTS,),
    "trips": (TRUCKS, DRIVERS, SITES, TRIPS, DRIVER_DAYS, PAY_DAYS, PAYROLL_PERIODS),
}

STREAMS: Mapping[str, Stream[Any]] = {
    stream.name: stream for streams in STREAMS_BY_CONTEXT.values() for stream in streams
}
