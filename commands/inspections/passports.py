"""What may be asked of passports."""

from collections.abc import Iterator
from typing import ClassVar

from commands.kernel import Asked, Command, Consults, Decision, Id, Text
from domain.inspections.passports import ApprovalReopened, ApprovalRevoked, NothingToRevoke, Passport
from domain.inspections.types import ALL, PREREQUISITES, Prerequisites
from domain.people import TEAMS, VehicleClass
from domain.roles import STAFF


class RevokeApproval(Command):
    """Let a test that was passed count no more; what was passed on the strength of it is open again."""

    inspection_type_id: Id
    reason: Text
    allows: ClassVar = STAFF
    refuses: ClassVar = (NothingToRevoke,)

    def consults(self, passport: Passport, asked: Asked) -> Consults:
        yield PREREQUISITES, ALL
        yield TEAMS, asked.id

    def decide(self, passport: Passport, asked: Asked) -> Decision:
        if not passport.has_passed(self.inspection_type_id):
            raise NothingToRevoke(inspection_type_id=self.inspection_type_id)
        yield ApprovalRevoked(
            inspection_type_id=self.inspection_type_id,
            inspection_id=passport.approvals[self.inspection_type_id].inspection_id,
            reason=self.reason,
            by=asked.by.subject,
        )
        vehicle_class = asked.seen[TEAMS].vehicle_class
        yield from reopened(passport, asked.seen[PREREQUISITES], self.inspection_type_id, vehicle_class)


def reopened(
    passport: Passport, prerequisites: Prerequisites, type_id: str, vehicle_class: VehicleClass
) -> Iterator[ApprovalReopened]:
    """Yield what is open again on a passport after a test stopped counting as passed: all that was passed after it."""
    for after in prerequisites.dependants(type_id, vehicle_class):
        if passport.has_passed(after):
            yield ApprovalReopened(
                inspection_type_id=after, inspection_id=passport.approvals[after].inspection_id, because=type_id
            )
