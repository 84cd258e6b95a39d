"""What may be asked of inspection types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from commands.kernel import Asked, Command, Consults, Decision, Id, Name, On, on
from domain.inspections.types import (
    ALL,
    PREREQUISITES,
    ClassRules,
    InspectionType,
    InspectionTypeAlreadyDefined,
    InspectionTypeDefined,
    InspectionTypeNeeded,
    InspectionTypeNotOffered,
    InspectionTypeOfferedAgain,
    InspectionTypeRetired,
    InspectionTypeRevised,
    Order,
    PrerequisitesDeclared,
    PrerequisitesInACircle,
    PrerequisiteUnknown,
    Rules,
    circle,
    evolve_prerequisites,
)
from domain.people import PersonRole, VehicleClass
from domain.roles import STAFF

T = TypeVar("T")
A_DAY_MINUTES = 1_440


def _distinct(values: tuple[T, ...]) -> tuple[T, ...]:
    if len(set(values)) < len(values):
        raise PydanticCustomError("repeated", "Nothing is named twice")
    return values


def _distinct_classes(classes: tuple[ClassRulesSent, ...]) -> tuple[ClassRulesSent, ...]:
    _distinct(tuple(one.vehicle_class for one in classes))
    return classes


Before = Annotated[tuple[Id, ...], Field(max_length=50), AfterValidator(_distinct)]
Attendees = Annotated[tuple[PersonRole, ...], Field(max_length=6), AfterValidator(_distinct)]


class ClassRulesSent(BaseModel):
    """What holds for cars of one class: the types that must be passed before, and who of the team must be there."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    vehicle_class: VehicleClass
    prerequisites: Before = ()
    attendees: Attendees = ()


class Timing(BaseModel):
    """How many are held at once, how long one takes, the pause after it, how far ahead it is booked, how long it is held."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    duration_minutes: Annotated[int, Field(ge=1, le=A_DAY_MINUTES)]
    lanes: Annotated[int, Field(ge=1, le=100)] = 1
    buffer_minutes: Annotated[int, Field(ge=0, le=A_DAY_MINUTES)] = 0
    notice_minutes: Annotated[int, Field(ge=0, le=30 * A_DAY_MINUTES)] = 0
    hold_minutes: Annotated[int, Field(ge=1, le=A_DAY_MINUTES)] = 15


class RulesSent(Timing):
    """How inspections of a type are held; cars of a class that is not named do not need it."""

    name: Name
    classes: Annotated[tuple[ClassRulesSent, ...], Field(min_length=1, max_length=2), AfterValidator(_distinct_classes)]


def _rules(sent: RulesSent) -> Rules:
    return Rules(
        name=sent.name,
        duration_minutes=sent.duration_minutes,
        classes=tuple(
            ClassRules(vehicle_class=one.vehicle_class, prerequisites=one.prerequisites, attendees=one.attendees)
            for one in sent.classes
        ),
        lanes=sent.lanes,
        buffer_minutes=sent.buffer_minutes,
        notice_minutes=sent.notice_minutes,
        hold_minutes=sent.hold_minutes,
    )


def _declared(classes: tuple[ClassRules, ...], asked: Asked) -> Iterator[On]:
    """Yield that this type has these prerequisites from now on, if it had others."""
    if _order_with(classes, asked) != asked.seen[PREREQUISITES].order:
        yield on(PREREQUISITES, ALL, PrerequisitesDeclared(inspection_type_id=asked.id, classes=classes))


def _order_with(classes: tuple[ClassRules, ...], asked: Asked) -> Order:
    declared = PrerequisitesDeclared(inspection_type_id=asked.id, classes=classes)
    return evolve_prerequisites(asked.seen[PREREQUISITES], declared).order


def _must_be_met(classes: tuple[ClassRules, ...], asked: Asked) -> None:
    """Raise PrerequisiteUnknown, PrerequisitesInACircle where cars could never have passed what this type needs."""
    order = _order_with(classes, asked)
    for one in classes:
        for before in one.prerequisites:
            if (before, one.vehicle_class) not in order:
                raise PrerequisiteUnknown(inspection_type_id=before, vehicle_class=one.vehicle_class)
    found = circle(order)
    if found:
        raise PrerequisitesInACircle(circle=list(found))


def _must_not_be_needed(besides: tuple[ClassRules, ...], asked: Asked) -> None:
    """Raise InspectionTypeNeeded where others need this type for cars of a class that is not among these."""
    kept = {one.vehicle_class for one in besides}
    for (after, vehicle_class), needed in asked.seen[PREREQUISITES].order.items():
        if asked.id in needed and after != asked.id and vehicle_class not in kept:
            raise InspectionTypeNeeded(by=after, vehicle_class=vehicle_class)


class DefineInspectionType(Command):
    """Let this be inspected, by these rules; what must be passed before is defined before."""

    rules: RulesSent
    allows: ClassVar = STAFF
    refuses: ClassVar = (InspectionTypeAlreadyDefined, PrerequisiteUnknown, PrerequisitesInACircle)
    creates: ClassVar = True

    def consults(self, kind: InspectionType, asked: Asked) -> Consults:
        yield PREREQUISITES, ALL

    def decide(self, kind: InspectionType, asked: Asked) -> Decision:
        if kind.status is not None:
            raise InspectionTypeAlreadyDefined
        rules = _rules(self.rules)
        _must_be_met(rules.classes, asked)
        yield InspectionTypeDefined(rules=rules)
        yield from _declared(rules.classes, asked)


class ReviseInspectionType(Command):
    """Let it be inspected by other rules from now on; what is booked stays as it is."""

    rules: RulesSent
    allows: ClassVar = STAFF
    refuses: ClassVar = (InspectionTypeNotOffered, PrerequisiteUnknown, InspectionTypeNeeded, PrerequisitesInACircle)
    needs_version: ClassVar = True

    def consults(self, kind: InspectionType, asked: Asked) -> Consults:
        yield PREREQUISITES, ALL

    def decide(self, kind: InspectionType, asked: Asked) -> Decision:
        if kind.status != "offered":
            raise InspectionTypeNotOffered
        rules = _rules(self.rules)
        if rules != kind.rules:
            _must_be_met(rules.classes, asked)
            _must_not_be_needed(rules.classes, asked)
            yield InspectionTypeRevised(rules=rules)
            yield from _declared(rules.classes, asked)


class RetireInspectionType(Command):
    """Offer it no more; not while other inspections need it to be passed before."""

    allows: ClassVar = STAFF
    refuses: ClassVar = (InspectionTypeNeeded,)

    def consults(self, kind: InspectionType, asked: Asked) -> Consults:
        yield PREREQUISITES, ALL

    def decide(self, kind: InspectionType, asked: Asked) -> Decision:
        if kind.status == "offered":
            _must_not_be_needed((), asked)
            yield InspectionTypeRetired()
            yield from _declared((), asked)


class OfferInspectionType(Command):
    """Offer it once more, by the rules that it had; what must be passed before is offered before."""

    allows: ClassVar = STAFF
    refuses: ClassVar = (PrerequisiteUnknown, PrerequisitesInACircle)

    def consults(self, kind: InspectionType, asked: Asked) -> Consults:
        yield PREREQUISITES, ALL

    def decide(self, kind: InspectionType, asked: Asked) -> Decision:
        if kind.status == "retired" and kind.rules is not None:
            _must_be_met(kind.rules.classes, asked)
            yield InspectionTypeOfferedAgain()
            yield from _declared(kind.rules.classes, asked)
