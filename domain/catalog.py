"""Every stream there is, by context."""

from collections.abc import Mapping, Sequence
from typing import Any

from domain.claims import CLAIMS
from domain.kernel import Stream
from domain.tenants import TENANTS
from domain.trips.drivers import DRIVERS
from domain.trips.payroll import PAY_DAYS, PAYROLL_PERIODS
from domain.trips.sites import SITES
from domain.trips.trips import DRIVER_DAYS, TRIPS
from domain.trips.trucks import TRUCKS

STREAMS_BY_CONTEXT: Mapping[str, Sequence[Stream[Any]]] = {
    "tenants": (TENANTS,),
    "claims": (CLAIMS,),
    "trips": (TRUCKS, DRIVERS, SITES, TRIPS, DRIVER_DAYS, PAY_DAYS, PAYROLL_PERIODS),
}

STREAMS: Mapping[str, Stream[Any]] = {
    stream.name: stream for streams in STREAMS_BY_CONTEXT.values() for stream in streams
}
