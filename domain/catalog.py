"""Every stream there is."""

from collections.abc import Mapping
from typing import Any

from domain.claims import CLAIMS
from domain.kernel import Stream
from domain.tenants import TENANTS
from domain.trips.drivers import DRIVERS
from domain.trips.payroll import PAY_DAYS, PAYROLL_PERIODS
from domain.trips.sites import SITES
from domain.trips.trips import DRIVER_DAYS, TRIPS
from domain.trips.trucks import TRUCKS

STREAMS: Mapping[str, Stream[Any]] = {
    stream.name: stream
    for stream in (TENANTS, CLAIMS, TRUCKS, DRIVERS, SITES, TRIPS, DRIVER_DAYS, PAY_DAYS, PAYROLL_PERIODS)
}
