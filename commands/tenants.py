"""What may be asked of tenants."""

from datetime import date
from typing import Annotated, ClassVar
from zoneinfo import available_timezones

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from commands.kernel import Asked, Command, Currency, Day, Decision, Name
from domain.kernel import NotYours
from domain.roles import Role
from domain.tenants import (
    FixesExpired,
    NotDueYet,
    RetentionSet,
    Tenant,
    TenantAlreadyOpen,
    TenantNotOpen,
    TenantOpened,
    TimeZoneChanged,
    Zone,
    expiry,
)

# Names without a place are of the machine (`localtime`) or of former days (`GB`), and not known everywhere.
KNOWN_ZONES = frozenset({"UTC", *(name for name in available_timezones() if "/" in name)})


def _known_zone(name: str) -> str:
    if name not in KNOWN_ZONES:
        raise PydanticCustomError("time_zone", "Not a time zone of the IANA database, such as Europe/Ljubljana")
    return name


TimeZone = Annotated[str, Field(max_length=64), AfterValidator(_known_zone)]


class OpenTenant(Command):
    """Begin to use this log as an organisation of your own; the id is the tenant of your token."""

    name: Name
    time_zone: TimeZone
    currency: Currency
    allows: ClassVar = frozenset({Role.ADMIN})
    refuses: ClassVar = (TenantAlreadyOpen, NotYours)
    creates: ClassVar = True

    def decide(self, tenant: Tenant, asked: Asked) -> Decision:
        if asked.id != str(asked.tenant):
            raise NotYours
        if tenant.open:
            raise TenantAlreadyOpen
        yield TenantOpened(name=self.name, time_zone=self.time_zone, currency=self.currency)


class ChangeTimeZone(Command):
    """Let the organisation's days follow another time zone from a local date on."""

    time_zone: TimeZone
    from_date: Day
    allows: ClassVar = frozenset({Role.ADMIN})
    respects_lock: ClassVar = True

    def decide(self, tenant: Tenant, asked: Asked) -> Decision:
        if tenant.zones[-1] != Zone(from_date=self.from_date, time_zone=self.time_zone):
            yield TimeZoneChanged(time_zone=self.time_zone, from_date=self.from_date)


class SetRetention(Command):
    """Keep raw GPS fixes for this many whole days after the UTC day on which they arrived."""

    gps_days: Annotated[int, Field(ge=1, le=3650)]
    allows: ClassVar = frozenset({Role.ADMIN})
    respects_lock: ClassVar = True

    def decide(self, tenant: Tenant, asked: Asked) -> Decision:
        if tenant.gps_days != self.gps_days:
            yield RetentionSet(gps_days=self.gps_days)


class ExpireFixes(Command):
    """Declare the raw fixes that arrived until a UTC day as kept long enough."""

    through: date
    allows: ClassVar = frozenset({Role.SYSTEM})
    refuses: ClassVar = (NotDueYet, TenantNotOpen)

    def decide(self, tenant: Tenant, asked: Asked) -> Decision:
        if not tenant.open:
            raise TenantNotOpen
        due = expiry(self.through, tenant.gps_days)
        if asked.now < due:
            raise NotDueYet(due=due.isoformat())
        if tenant.expired_through < self.through:
            yield FixesExpired(through=self.through)
