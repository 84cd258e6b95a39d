"""Answers: what every address says of a house full of haulage and scrutineering has the shape that its OpenAPI page promises."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.routing import APIRoute
from pydantic import TypeAdapter

from domain.roles import Role
from read_api import locks, presence
from read_api.catalog import ROUTERS
from tests.conftest import TENANT
from tests.test_doors import problem
from tests.views.haulage import DEPOT, Day, fix
from tests.views.house import House, Person
from tests.views.scrutineering import scrutineering

TODAY = datetime.now(UTC).date()
PERIOD = f"from={TODAY - timedelta(days=3)}&to={TODAY + timedelta(days=1)}"
QUESTIONS = {
    "/trips": ["/trips", "/trips?page=1"],
    "/trips/{id}": [f"/trips/{id}" for id in ("good", "bad", "never", "nowhere", "tonnes", "running")],
    "/trips/{id}/track": [f"/trips/bad/track?fixes={which}" for which in ("accepted", "rejected", "all")]
    + ["/trips/good/track?simplify=5", "/trips/never/track"],
    "/compliance": ["/compliance", "/compliance?due=true", "/compliance?due=false"],
    "/dwell": [f"/dwell?by={by}" for by in ("trip", "day", "driver", "truck", "site")],
    "/drivers": ["/drivers"],
    "/drivers/{id}": ["/drivers/D1", "/drivers/D3"],
    "/locations/latest": ["/locations/latest"],
    "/trucks": ["/trucks"],
    "/trucks/{id}": ["/trucks/T1", "/trucks/T3"],
    "/sites": ["/sites"],
    "/sites/{id}": ["/sites/landfill", "/sites/quarry"],
    "/fleet/dashboard": ["/fleet/dashboard"],
    "/payroll": [f"/payroll?{PERIOD}"],
    "/people": ["/people", "/people?role=driver&team=red&status=active"],
    "/people/{id}": ["/people/sam", "/people/rok"],
    "/teams": ["/teams", "/teams?class=CV"],
    "/teams/{id}": ["/teams/red", "/teams/blue"],
    "/scrutineers": ["/scrutineers", f"/scrutineers?day={TODAY}"],
    "/inspection-types": ["/inspection-types"],
    "/inspection-types/{id}": ["/inspection-types/pre"],
    "/checklist-templates": ["/checklist-templates"],
    "/checklist-templates/{id}": ["/checklist-templates/pre"],
    "/checklist-templates/{id}/versions/{version}": ["/checklist-templates/pre/versions/1"],
    "/checklist-templates/{id}/versions/{version}/diff": ["/checklist-templates/pre/versions/1/diff?from=1&class=EV"],
    "/bookings": ["/bookings", "/bookings?page=1", "/bookings?status=cancelled&type=brake&lane=1&team=red"],
    "/bookings/ongoing": ["/bookings/ongoing"],
    "/bookings/{id}": [f"/bookings/{id}" for id in ("done", "going", "absent", "off", "lapsed", "held", "soon")],
    "/bookings/{id}/scrutineers": ["/bookings/soon/scrutineers"],
    "/bookings/{id}/workspace": ["/bookings/going/workspace", "/bookings/soon/workspace"],
    "/bookings/{id}/history": ["/bookings/going/history"],
    "/slots": [f"/slots?type=pre&day={TODAY}", f"/slots?type=brake&day={TODAY}"],
    "/stations": ["/stations"],
    "/stations/{id}": ["/stations/pre", "/stations/brake"],
    "/kpis": [f"/kpis?{PERIOD}"],
    "/inspections": ["/inspections"],
    "/inspections/{id}": ["/inspections/going", "/inspections/done"],
    "/inspections/{id}/sections": ["/inspections/going/sections"],
    "/inspections/{id}/checks": ["/inspections/going/checks"],
    "/checks": ["/checks"],
    "/conflicts": ["/conflicts"],
    "/held-checks": ["/held-checks"],
    "/passports": ["/passports"],
    "/teams/{id}/passport": ["/teams/red/passport"],
    "/follow-ups": ["/follow-ups"],
    "/hot-spots": ["/hot-spots"],
    "/client-reports": ["/client-reports"],
    "/attachments": ["/attachments"],
    "/attachments/{id}": ["/attachments/photo", "/attachments/lost"],
    "/tenants/{id}": [f"/tenants/{TENANT}"],
    "/log": ["/log", "/log?limit=1", "/log?stream=trips&id=good", "/log?type=trips.started.v1"],
    "/views": ["/views"],
    "/schemas": ["/schemas"],
    "/stream/tickets": [],
}
# What has no row of a view is shown in tests/redis.
ELSEWHERE = {
    route.path for router in (locks.router, presence.router) for route in router.routes if isinstance(route, APIRoute)
}
ROUTES = {
    route.path: route
    for router in ROUTERS
    for route in router.routes
    if isinstance(route, APIRoute) and route.response_model is not None and route.path not in ELSEWHERE
}

HAULAGE = [route for route in ROUTES.values() if route.endpoint.__module__.startswith("read_api.trips.")]
SCRUTINEERING = (Role.INSPECTION_RESPONSIBLE, Role.SCRUTINEER, Role.TEAM_LEADER, Role.TEAM_MEMBER)


@pytest.fixture(scope="module")
def office(shared_house: House) -> Iterator[Person]:
    """The office after a whole day, with a trip on its way, a driver standing somewhere and cars in inspections now."""
    with scrutineering(shared_house, shared_house.person(Role.ADMIN)) as paddock:
        paddock.whole()
    office = shared_house.office()
    office.position = paddock.staff.position
    day = Day(office)
    day.whole()
    office.ask("/drivers/D1/go-on-duty")
    day.trip("running", start=200)
    now = datetime.now(UTC) - timedelta(seconds=5)
    day.fixes("running", [fix(now, DEPOT, speed_kmh=12.5, heading=90.0)], minute=201)
    office.ask("/trucks/T3/send-to-maintenance", {"reason": "brakes"})
    return office


def test_no_address_is_left_out() -> None:
    assert ROUTES.keys() == QUESTIONS.keys()


@pytest.mark.parametrize("path", QUESTIONS)
def test_an_answer_has_the_shape_that_it_promises(office: Person, path: str) -> None:
    promised: TypeAdapter[Any] = TypeAdapter(ROUTES[path].response_model)
    for question in QUESTIONS[path]:
        answer = office.get(question)
        assert answer.status_code == 200, (question, answer.text)
        promised.validate_json(answer.content, by_alias=True)
        assert answer.headers["content-type"] == "application/json"
        items = answer.json().get("items")
        assert items != [], f"{question} says nothing, so this shows nothing"
    if path == "/stream/tickets":
        promised.validate_json(office.read.ask(path).content)


@pytest.mark.parametrize("path", [one.path for one in HAULAGE])
def test_scrutineering_sees_nothing_of_haulage(office: Person, shared_house: House, path: str) -> None:
    everyone = shared_house.person(*SCRUTINEERING, subject="user-D1")
    everyone.position = office.position
    for question in QUESTIONS[path]:
        problem(everyone.get(question), 403, "not-allowed")


def filled(document: Any, place: str = "") -> Iterator[str]:
    """Yield the places of a document that hold something."""
    if isinstance(document, dict):
        for name, value in document.items():
            yield from filled(value, f"{place}/{name}")
    elif isinstance(document, list):
        for value in document:
            yield from filled(value, place)
    elif document is not None:
        yield place


FULL = ["/trips", "/drivers", "/trucks", "/sites", "/locations/latest", f"/payroll?{PERIOD}"]
FULL += ["/people", "/teams", "/bookings", "/scrutineers", "/stations", f"/kpis?{PERIOD}"]


@pytest.mark.parametrize("path", FULL)
def test_everything_that_may_be_empty_is_filled_once(office: Person, path: str) -> None:
    seen = set(filled(office.see(path)))
    promised = ROUTES[path.partition("?")[0]].response_model
    schema = TypeAdapter(promised).json_schema(by_alias=True)
    wanted = set(leaves(schema, schema))
    missing = wanted - seen - {"/next", "/prev", "/items/track_erased_until"}
    assert not missing


def leaves(schema: dict[str, Any], root: dict[str, Any], place: str = "") -> Iterator[str]:
    """Yield the places at which a JSON schema may hold a value."""
    if "$ref" in schema:
        yield from leaves(root["$defs"][schema["$ref"].rpartition("/")[2]], root, place)
    elif "anyOf" in schema:
        for option in schema["anyOf"]:
            if option.get("type") != "null":
                yield from leaves(option, root, place)
    elif schema.get("type") == "array":
        yield from leaves(schema["items"], root, place)
    elif "properties" in schema:
        for name, inner in schema["properties"].items():
            yield from leaves(inner, root, f"{place}/{name}")
    else:
        yield place
