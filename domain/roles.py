"""Who acts: a token's subject, with roles in its organisation."""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What somebody may ask for. `system` is Fieldlog itself (reactions, timers); no token carries it."""

    ADMIN = "admin"
    DISPATCHER = "dispatcher"
    DRIVER = "driver"
    INSPECTION_RESPONSIBLE = "inspection_responsible"
    SCRUTINEER = "scrutineer"
    TEAM_LEADER = "team_leader"
    TEAM_MEMBER = "team_member"
    VIEWER = "viewer"
    AUDITOR = "auditor"
    SYSTEM = "system"


STAFF = frozenset({Role.ADMIN, Role.INSPECTION_RESPONSIBLE})  # who runs scrutineering
CREW = STAFF | {Role.SCRUTINEER}  # who inspects


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks: the token's subject and roles."""

    subject: str
    roles: frozenset[Role]
