"""Inspection types: what is inspected, by which rules, after which others; never in a circle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import reduce

import pytest
from hypothesis import given as whatever
from hypothesis import settings
from hypothesis import strategies as any_
from pydantic import ValidationError

from commands.inspections.types import (
    ClassRulesSent,
    DefineInspectionType,
    OfferInspectionType,
    RetireInspectionType,
    ReviseInspectionType,
    RulesSent,
)
from commands.kernel import Command
from domain.inspections.types import (
    ALL,
    INSPECTION_TYPES,
    PREREQUISITES,
    ClassRules,
    InspectionTypeAlreadyDefined,
    InspectionTypeDefined,
    InspectionTypeNeeded,
    InspectionTypeNotOffered,
    InspectionTypeOfferedAgain,
    InspectionTypeRetired,
    InspectionTypeRevised,
    Prerequisites,
    PrerequisitesDeclared,
    PrerequisitesInACircle,
    PrerequisiteUnknown,
    Rules,
    circle,
    evolve_prerequisites,
)
from domain.people import VehicleClass
from tests.given import given, on


def sent(**prerequisites: tuple[str, ...]) -> RulesSent:
    """Rules as they are sent: what must be passed before, by class."""
    classes = tuple(ClassRulesSent(vehicle_class=its, prerequisites=all_) for its, all_ in prerequisites.items())  # type: ignore[arg-type]
    return RulesSent(name="Brakes", duration_minutes=20, lanes=2, classes=classes)


def kept(**prerequisites: tuple[str, ...]) -> Rules:
    """The same rules as they are kept."""
    return Rules(name="Brakes", duration_minutes=20, lanes=2, classes=classes(**prerequisites))


def classes(**prerequisites: tuple[str, ...]) -> tuple[ClassRules, ...]:
    """What holds for each class."""
    return tuple(ClassRules(vehicle_class=its, prerequisites=all_) for its, all_ in prerequisites.items())  # type: ignore[arg-type]


def declared(type_id: str, **prerequisites: tuple[str, ...]) -> PrerequisitesDeclared:
    """That a type has these prerequisites."""
    return PrerequisitesDeclared(inspection_type_id=type_id, classes=classes(**prerequisites))


OTHERS = given(PREREQUISITES, declared("rain", EV=()), declared("noise", CV=()))
DEFINED = InspectionTypeDefined(rules=kept(EV=("rain",)))
OFFERED = OTHERS.given(PREREQUISITES, declared("brake", EV=("rain",))).given(INSPECTION_TYPES, DEFINED, id="brake")
NEEDED = OFFERED.given(PREREQUISITES, declared("driving", EV=("brake",)))
RETIRED = OFFERED.given(INSPECTION_TYPES, InspectionTypeRetired(), id="brake").given(PREREQUISITES, declared("brake"))


def test_an_inspection_is_defined_with_what_must_be_passed_before_it() -> None:
    OTHERS.when(DefineInspectionType(rules=sent(EV=("rain",), CV=("noise",))), id="brake").then(
        InspectionTypeDefined(rules=kept(EV=("rain",), CV=("noise",))),
        on(PREREQUISITES, declared("brake", EV=("rain",), CV=("noise",))),
    )


def test_an_inspection_is_defined_once() -> None:
    OFFERED.when(DefineInspectionType(rules=sent(EV=())), id="brake").refused(InspectionTypeAlreadyDefined)


@pytest.mark.parametrize("unknown", ["nowhere", "noise"])
def test_what_must_be_passed_before_is_offered_for_cars_of_that_class(unknown: str) -> None:
    OTHERS.when(DefineInspectionType(rules=sent(EV=(unknown,))), id="brake").refused(
        PrerequisiteUnknown, inspection_type_id=unknown, vehicle_class="EV"
    )


def test_no_inspection_must_be_passed_before_itself() -> None:
    OTHERS.when(DefineInspectionType(rules=sent(EV=("brake",))), id="brake").refused(
        PrerequisitesInACircle, circle=["brake"]
    )


def test_no_inspections_must_be_passed_before_each_other() -> None:
    NEEDED.when(ReviseInspectionType(rules=sent(EV=("driving",))), id="brake").refused(
        PrerequisitesInACircle, circle=["driving", "brake"]
    )


def test_what_comes_before_for_one_class_may_come_after_for_the_other() -> None:
    both = OTHERS.given(PREREQUISITES, declared("tilt", EV=("rain",), CV=()))
    both.given(INSPECTION_TYPES, DEFINED, id="rain").when(
        ReviseInspectionType(rules=sent(EV=(), CV=("tilt",))), id="rain"
    ).then(
        InspectionTypeRevised(rules=kept(EV=(), CV=("tilt",))),
        on(PREREQUISITES, declared("rain", EV=(), CV=("tilt",))),
    )


def test_rules_are_revised_and_the_order_is_declared_only_if_it_is_another() -> None:
    longer = sent(EV=("rain",)).model_copy(update={"duration_minutes": 30})
    OFFERED.when(ReviseInspectionType(rules=longer), id="brake").then(
        InspectionTypeRevised(rules=replace(kept(EV=("rain",)), duration_minutes=30))
    )


def test_the_same_rules_change_nothing() -> None:
    OFFERED.when(ReviseInspectionType(rules=sent(EV=("rain",))), id="brake").then()


def test_who_revises_says_what_he_saw() -> None:
    assert ReviseInspectionType.needs_version


def test_cars_that_need_it_for_another_inspection_keep_it() -> None:
    NEEDED.when(ReviseInspectionType(rules=sent(CV=())), id="brake").refused(
        InspectionTypeNeeded, by="driving", vehicle_class="EV"
    )


def test_an_inspection_is_retired_and_others_can_wait_for_it_no_more() -> None:
    OFFERED.when(RetireInspectionType(), id="brake").then(InspectionTypeRetired(), on(PREREQUISITES, declared("brake")))


def test_what_others_need_is_not_retired() -> None:
    NEEDED.when(RetireInspectionType(), id="brake").refused(InspectionTypeNeeded, by="driving", vehicle_class="EV")


def test_what_is_retired_is_not_retired_again_and_not_revised() -> None:
    RETIRED.when(RetireInspectionType(), id="brake").then()
    RETIRED.when(ReviseInspectionType(rules=sent(EV=())), id="brake").refused(InspectionTypeNotOffered)


def test_what_is_retired_is_offered_again_in_its_place() -> None:
    RETIRED.when(OfferInspectionType(), id="brake").then(
        InspectionTypeOfferedAgain(), on(PREREQUISITES, declared("brake", EV=("rain",)))
    )


def test_what_is_offered_is_not_offered_again() -> None:
    OFFERED.when(OfferInspectionType(), id="brake").then()


def test_it_is_not_offered_again_before_what_it_needs() -> None:
    RETIRED.given(PREREQUISITES, declared("rain")).when(OfferInspectionType(), id="brake").refused(
        PrerequisiteUnknown, inspection_type_id="rain", vehicle_class="EV"
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"lanes": 0},
        {"lanes": 101},
        {"duration_minutes": 0},
        {"duration_minutes": 1_441},
        {"buffer_minutes": -1},
        {"notice_minutes": 43_201},
        {"hold_minutes": 0},
        {"classes": []},
        {"classes": [{"vehicle_class": "EV"}, {"vehicle_class": "EV"}]},
        {"classes": [{"vehicle_class": "EV", "prerequisites": ["rain", "rain"]}]},
        {"classes": [{"vehicle_class": "EV", "prerequisites": [f"t{n}" for n in range(51)]}]},
        {"classes": [{"vehicle_class": "EV", "attendees": ["driver", "driver"]}]},
        {"classes": [{"vehicle_class": "XV"}]},
    ],
)
def test_rules_are_bounded(wrong: Mapping[str, object]) -> None:
    sound = {"name": "Brakes", "duration_minutes": 20, "classes": [{"vehicle_class": "EV"}]}
    DefineInspectionType.model_validate({"rules": sound}, strict=False)
    with pytest.raises(ValidationError):
        DefineInspectionType.model_validate({"rules": sound | wrong}, strict=False)


TYPES = any_.sampled_from("abc")
SENT = any_.dictionaries(
    any_.sampled_from(["EV", "CV"]), any_.lists(TYPES, max_size=2, unique=True).map(tuple), min_size=1
)
ASKED = any_.one_of(
    any_.builds(lambda rules: DefineInspectionType(rules=sent(**rules)), SENT),
    any_.builds(lambda rules: ReviseInspectionType(rules=sent(**rules)), SENT),
    any_.just(RetireInspectionType()),
    any_.just(OfferInspectionType()),
)


@settings(max_examples=300, deadline=None)
@whatever(any_.lists(any_.tuples(TYPES, ASKED), min_size=10, max_size=40))
def test_the_order_is_never_a_circle_and_never_waits_for_what_is_not_offered(asked: list[tuple[str, Command]]) -> None:
    story = given(PREREQUISITES)
    for type_id, command in [*((one, DefineInspectionType(rules=sent(EV=(), CV=()))) for one in "abc"), *asked]:
        outcome = story.when(command, id=type_id)
        for one in outcome.facts:
            story = story.given(one.stream, one.fact, id=one.id)
        facts = story.happened["prerequisites", ALL]
        order = reduce(evolve_prerequisites, facts, Prerequisites()).order  # type: ignore[arg-type]
        assert circle(order) == ()
        assert _follow(order) == order.keys()
        assert all((before, its) in order for (_, its), needed in order.items() for before in needed)


def _follow(order: Mapping[tuple[str, VehicleClass], tuple[str, ...]]) -> set[tuple[str, VehicleClass]]:
    """Return what cars can pass one after another: all of an order, unless it has a circle."""
    passed: set[tuple[str, VehicleClass]] = set()
    while True:
        more = {
            key for key, needed in order.items() if key not in passed and {(one, key[1]) for one in needed} <= passed
        }
        if not more:
            return passed
        passed |= more
