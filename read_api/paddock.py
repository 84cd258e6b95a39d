"""Who may ask what of scrutineering: officials everything, a team only what is its own."""

from __future__ import annotations

from typing import Annotated

from domain.roles import Role
from read_api.kernel import Asking, only
from read_api.listing import Scope

PADDOCK = Scope(
    context="inspections",
    everything=frozenset(
        {Role.ADMIN, Role.INSPECTION_RESPONSIBLE, Role.SCRUTINEER, Role.VIEWER, Role.AUDITOR},
    ),
    own=frozenset({Role.TEAM_LEADER, Role.TEAM_MEMBER}),
    statement="""select t.team_id from {schema}.people t
        where t."user" = %(subject)s and t.team_id is not null and t.status = 'active'""",
)
Paddock = Annotated[Asking, only(PADDOCK.readers)]
Officials = Annotated[Asking, only(PADDOCK.everything)]
