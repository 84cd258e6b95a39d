"""Every view there is, by context."""

from collections.abc import Mapping

from projections.attachments import ATTACHMENTS_VIEW
from projections.bookings.bookings import ASSIGNMENTS_VIEW, BOOKINGS_VIEW
from projections.bookings.stations import CALENDAR_VIEW, STATION_DAYS_VIEW, STATIONS_VIEW
from projections.deadlines import DEADLINES_VIEW
from projections.inspections.checklists import CHECKLIST_VERSIONS_VIEW, CHECKLISTS_VIEW
from projections.inspections.checks import CHECKS_VIEW, ITEM_STATS_VIEW, SECTIONS_VIEW
from projections.inspections.conflicts import CONFLICTS_VIEW, HELD_CHECKS_VIEW
from projections.inspections.follow_ups import FOLLOW_UPS_VIEW
from projections.inspections.inspections import INSPECTIONS_VIEW
from projections.inspections.passports import PASSPORTS_VIEW
from projections.inspections.reports import CLIENT_REPORTS_VIEW
from projections.inspections.types import INSPECTION_TYPES_VIEW
from projections.kernel import Context
from projections.people import AVAILABILITY_VIEW, PEOPLE_VIEW, TEAMS_VIEW
from projections.tenants import TENANTS_VIEW
from projections.trips.drivers import DRIVERS_VIEW, LOCATIONS_VIEW
from projections.trips.fleet import DRIVER_DAYS_VIEW, FLEET_DAYS_VIEW, FLEET_VIEW, TIMERS_VIEW
from projections.trips.payroll import PAY_VIEW, PERIODS_VIEW
from projections.trips.sites import SITES_VIEW
from projections.trips.tracks import STOPS_VIEW, TRACK_BATCHES_VIEW, TRACKS_VIEW
from projections.trips.trips import TRIPS_VIEW
from projections.trips.trucks import TRUCKS_VIEW

CONTEXTS: Mapping[str, Context] = {
    context.name: context
    for context in (
        Context("tenants", version=1, views=(TENANTS_VIEW,)),
        Context(
            "inspections",
            version=1,
            views=(
                PEOPLE_VIEW,
                TEAMS_VIEW,
                AVAILABILITY_VIEW,
                INSPECTION_TYPES_VIEW,
                CHECKLISTS_VIEW,
                CHECKLIST_VERSIONS_VIEW,
                BOOKINGS_VIEW,
                ASSIGNMENTS_VIEW,
                STATIONS_VIEW,
                STATION_DAYS_VIEW,
                CALENDAR_VIEW,
                INSPECTIONS_VIEW,
                CHECKS_VIEW,
                SECTIONS_VIEW,
                CONFLICTS_VIEW,
                HELD_CHECKS_VIEW,
                PASSPORTS_VIEW,
                FOLLOW_UPS_VIEW,
                CLIENT_REPORTS_VIEW,
                ITEM_STATS_VIEW,
                ATTACHMENTS_VIEW,
                DEADLINES_VIEW,
            ),
        ),
        Context(
            "trips",
            version=2,
            views=(
                TRUCKS_VIEW,
                DRIVERS_VIEW,
                LOCATIONS_VIEW,
                SITES_VIEW,
                TRIPS_VIEW,
                TRACKS_VIEW,
                TRACK_BATCHES_VIEW,
                STOPS_VIEW,
                FLEET_VIEW,
                FLEET_DAYS_VIEW,
                DRIVER_DAYS_VIEW,
                PAY_VIEW,
                PERIODS_VIEW,
                TIMERS_VIEW,
            ),
        ),
    )
}
