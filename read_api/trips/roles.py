"""Who may ask what of the road: the office everything, a driver only what is his own."""

from __future__ import annotations

from typing import Annotated

from domain.roles import Role
from read_api.kernel import Asking, only
from read_api.listing import Scope

ROAD = Scope(
    context="trips",
    everything=frozenset({Role.ADMIN, Role.DISPATCHER, Role.VIEWER, Role.AUDITOR}),
    own=frozenset({Role.DRIVER}),
    statement='select t.id from {schema}.drivers t where t."user" = %(subject)s',
)
Road = Annotated[Asking, only(ROAD.readers)]
Office = Annotated[Asking, only(ROAD.everything)]
