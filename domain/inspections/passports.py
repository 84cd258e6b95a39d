"""Passports: which tests a team's car has passed; its id is the team's.

(none) --give--> passed --deny--> failed --give--> passed --revoke--> revoked --give--> passed
What depends on a test that is denied or revoked is reopened: passed --reopen--> reopened --give--> passed
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from graphlib import TopologicalSorter
from typing import Literal

from domain.inspections.types import Prerequisites
from domain.kernel import Refused, Stream, fact, state
from domain.people import VehicleClass

Result = Literal["passed", "conditional_pass", "provisional", "failed"]
ApprovalStatus = Literal["passed", "failed", "revoked", "reopened"]


@fact
class ApprovalGiven:
    """The car passed a test, in full, on conditions or for now."""

    inspection_type_id: str
    inspection_id: str
    result: Result


@fact
class ApprovalDenied:
    """The car did not pass a test, or passes it no more."""

    inspection_type_id: str
    inspection_id: str


@fact
class ApprovalRevoked:
    """What had been approved no longer holds, as the car was changed or never was what it seemed."""

    inspection_type_id: str
    inspection_id: str
    reason: str
    by: str


@fact
class ApprovalReopened:
    """A test that was passed is open again, since one that must be passed before it (`because`) no longer is."""

    inspection_type_id: str
    inspection_id: str
    because: str


@state
class Approval:
    """How a test stands, and the inspection that it rests on."""

    status: ApprovalStatus
    inspection_id: str


@state
class Passport:
    """How the car stands in each test, by inspection type."""

    approvals: Mapping[str, Approval] = field(default_factory=dict)

    def has_passed(self, type_id: str) -> bool:
        """Say whether a test counts as passed."""
        found = self.approvals.get(type_id)
        return found is not None and found.status == "passed"

    def missing(self, prerequisites: Prerequisites, type_id: str, vehicle_class: VehicleClass) -> list[str]:
        """Return what is missing for a test, each after what it needs itself; nothing if all right before it is passed."""
        graph: dict[str, list[str]] = {}
        waiting = [type_id]
        while waiting:
            one = waiting.pop()
            graph[one] = [needed for needed in prerequisites.needed(one, vehicle_class) if not self.has_passed(needed)]
            waiting += [needed for needed in graph[one] if needed not in graph]
        return [one for one in TopologicalSorter(graph).static_order() if one != type_id]


STATUS: Mapping[type, ApprovalStatus] = {
    ApprovalGiven: "passed",
    ApprovalDenied: "failed",
    ApprovalRevoked: "revoked",
    ApprovalReopened: "reopened",
}


def evolve(passport: Passport, happened: object) -> Passport:
    """Return the passport after what happened."""
    match happened:
        case ApprovalGiven() | ApprovalDenied() | ApprovalRevoked() | ApprovalReopened():
            approval = Approval(status=STATUS[type(happened)], inspection_id=happened.inspection_id)
            return replace(passport, approvals={**passport.approvals, happened.inspection_type_id: approval})
    return passport


PASSPORTS = Stream(
    "passports",
    Passport(),
    evolve,
    {
        "passports.approval-given.v1": ApprovalGiven,
        "passports.approval-denied.v1": ApprovalDenied,
        "passports.approval-revoked.v1": ApprovalRevoked,
        "passports.approval-reopened.v1": ApprovalReopened,
    },
)


class NothingToRevoke(Refused):
    """This test does not count as passed."""


class PrerequisitesMissing(Refused):
    """Inspections that must be passed before are not."""


class AlreadyPassed(Refused):
    """The car has passed this inspection; it is booked again only to be scrutineered again."""


class NothingToRescrutineer(Refused):
    """The car has not been inspected for this yet."""
