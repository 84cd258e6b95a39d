"""Who may ask what of scrutineering: officials everything, a team only what is its own."""

from __future__ import annotations

from typing import Annotated, Any

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

# Whether a record of a team (`t`) may be shown, and what that depends on: one statement answers for officials and for teams.
SEEN = f"(%(all)s or t.team_id in ({PADDOCK.statement}))"


def seeing(ask: Asking) -> dict[str, Any]:
    """Return the parameters of SEEN; officials, who all see the same, share answers."""
    sees_all = ask.sees_all(PADDOCK)
    return {"all": sees_all, "subject": None if sees_all else ask.principal.actor.subject}


def named(user: str) -> str:
    """Return SQL for the name of who acts with these tokens (a column's name), as a row `t` has it; empty if erased."""
    return f"""(select p.name from {{schema}}.people p where p.tenant_id = t.tenant_id and p."user" = {user}
        order by p.status, p.id limit 1)"""
