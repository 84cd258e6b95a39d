"""Types of inspections: how long one takes, how many at once, for which cars, after which others.

(none) --define--> offered --revise--> offered --retire--> retired --offer-again--> offered
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Literal

from domain.kernel import Refused, Stream, fact, state
from domain.people import PersonRole, VehicleClass


@fact
class ClassRules:
    """What holds for cars of one class: the tests that must be passed before, and who of the team must be there."""

    vehicle_class: VehicleClass
    prerequisites: tuple[str, ...] = ()
    attendees: tuple[PersonRole, ...] = ()


@fact
class Rules:
    """How inspections of a type are held; cars of a class that is not named do not need it.

    `lanes` are held at once; each keeps its lane for `duration_minutes` and `buffer_minutes` after. Teams book at least
    `notice_minutes` ahead; what they request is held for them for `hold_minutes`.
    """

    name: str
    duration_minutes: int
    classes: tuple[ClassRules, ...]
    lanes: int = 1
    buffer_minutes: int = 0
    notice_minutes: int = 0
    hold_minutes: int = 15

    def of(self, vehicle_class: VehicleClass) -> ClassRules | None:
        """Return what holds for cars of a class; None if they do not need this inspection."""
        return next((one for one in self.classes if one.vehicle_class == vehicle_class), None)


@fact
class InspectionTypeDefined:
    """This is inspected, by these rules."""

    rules: Rules


@fact
class InspectionTypeRevised:
    """It is inspected by other rules from now on; what is booked stays as it is."""

    rules: Rules


@fact
class InspectionTypeRetired:
    """It is not offered any more."""


@fact
class InspectionTypeOfferedAgain:
    """It is offered once more."""


@state
class InspectionType:
    """Whether it is offered, and its rules."""

    status: Literal["offered", "retired"] | None = None
    rules: Rules | None = None


def evolve(kind: InspectionType, happened: object) -> InspectionType:
    """Return the type after what happened."""
    match happened:
        case InspectionTypeDefined(rules=rules):
            return replace(kind, status="offered", rules=rules)
        case InspectionTypeRevised(rules=rules):
            return replace(kind, rules=rules)
        case InspectionTypeRetired():
            return replace(kind, status="retired")
        case InspectionTypeOfferedAgain():
            return replace(kind, status="offered")
    return kind


INSPECTION_TYPES = Stream(
    "inspection-types",
    InspectionType(),
    evolve,
    {
        "inspection-types.defined.v1": InspectionTypeDefined,
        "inspection-types.revised.v1": InspectionTypeRevised,
        "inspection-types.retired.v1": InspectionTypeRetired,
        "inspection-types.offered-again.v1": InspectionTypeOfferedAgain,
    },
)

ALL = "all"
Order = Mapping[tuple[str, VehicleClass], tuple[str, ...]]


@fact
class PrerequisitesDeclared:
    """Before this inspection, cars of each class need to have passed these; of a class that is not named, it is not needed."""

    inspection_type_id: str
    classes: tuple[ClassRules, ...]


@state
class Prerequisites:
    """Which tests come before which, by type and class, for the whole organisation: the record `all`.

    Only what is offered stands in it, so that no test waits for one that nobody can pass.
    """

    order: Order = field(default_factory=dict)

    def needed(self, type_id: str, vehicle_class: VehicleClass) -> tuple[str, ...]:
        """Return what must be passed right before; what comes before those was needed for them."""
        return self.order.get((type_id, vehicle_class), ())

    def dependants(self, type_id: str, vehicle_class: VehicleClass) -> list[str]:
        """Return the types that need this one to be passed, directly or through others, nearest first."""
        found, waiting = dict[str, None](), [type_id]
        while waiting:
            before = waiting.pop(0)
            for (after, its_class), needed in sorted(self.order.items()):
                if its_class == vehicle_class and before in needed and after not in found:
                    found[after] = None
                    waiting.append(after)
        return list(found)


def evolve_prerequisites(known: Prerequisites, happened: object) -> Prerequisites:
    """Return the order after what happened."""
    match happened:
        case PrerequisitesDeclared(inspection_type_id=type_id, classes=classes):
            others = {key: needed for key, needed in known.order.items() if key[0] != type_id}
            own = {(type_id, one.vehicle_class): one.prerequisites for one in classes}
            return replace(known, order={**others, **own})
    return known


def circle(order: Order) -> tuple[str, ...]:
    """Return types of one class of which each needs the one before it to be passed, and the first one the last; () if none do."""
    for vehicle_class in sorted({its_class for _, its_class in order}):
        needed = {type_id: before for (type_id, its_class), before in order.items() if its_class == vehicle_class}
        try:
            TopologicalSorter(needed).prepare()
        except CycleError as found:
            return tuple(found.args[1][:-1])
    return ()


PREREQUISITES = Stream(
    "prerequisites",
    Prerequisites(),
    evolve_prerequisites,
    {"prerequisites.declared.v1": PrerequisitesDeclared},
)


class InspectionTypeAlreadyDefined(Refused):
    """An inspection type with this id is defined already."""


class InspectionTypeUnknown(Refused):
    """No inspection type with this id is defined."""


class InspectionTypeNotOffered(Refused):
    """This inspection is not offered any more."""


class PrerequisiteUnknown(Refused):
    """An inspection that must be passed before is not offered for cars of that class."""


class InspectionTypeNeeded(Refused):
    """Other inspections need this one to be passed before; they are revised first."""


class PrerequisitesInACircle(Refused):
    """Each of these inspections would need another of them to be passed before."""


class NotForThisClass(Refused):
    """Cars of this class do not need this inspection."""
