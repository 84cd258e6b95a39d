"""The lists that can be watched live on `GET /stream`, by the name of the view that is asked for."""

from collections.abc import Mapping

from read_api.attachments import ATTACHMENTS
from read_api.bookings.bookings import BOOKINGS
from read_api.bookings.stations import STATIONS
from read_api.inspections.checks import CHECKS, CONFLICTS, HELD_CHECKS
from read_api.inspections.follow_ups import FOLLOW_UPS
from read_api.inspections.inspections import INSPECTIONS, SECTIONS
from read_api.inspections.passports import PASSPORTS
from read_api.listing import Listing
from read_api.people import PEOPLE, TEAMS
from read_api.trips.drivers import DRIVERS, LOCATIONS
from read_api.trips.fleet import DASHBOARD
from read_api.trips.sites import SITES
from read_api.trips.trips import TRIPS
from read_api.trips.trucks import TRUCKS

LIVE: Mapping[str, Listing] = {
    listing.name: listing
    for listing in (
        DASHBOARD,
        TRIPS,
        DRIVERS,
        LOCATIONS,
        TRUCKS,
        SITES,
        BOOKINGS,
        STATIONS,
        ATTACHMENTS,
        PEOPLE,
        TEAMS,
        INSPECTIONS,
        SECTIONS,
        CHECKS,
        CONFLICTS,
        HELD_CHECKS,
        PASSPORTS,
        FOLLOW_UPS,
    )
}
