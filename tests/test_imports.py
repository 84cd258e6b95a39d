"""Imports: a file of inspection types and items, every row answered for, all of it in one append; or nothing, or what is sound."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from domain.roles import Role
from infra.settings import Settings
from tests.conftest import NEIGHBOUR, TENANT
from tests.serving import Client, served
from tests.test_doors import problem
from tests.views.house import rows_of
from write_api.app import WriteApi
from write_api.imports import MOST_BYTES, PATH


def item(code: str, text: str = "[T6.1] Pedal\n\nIt holds 2000 N.", **more: object) -> dict[str, object]:
    """An item as files have it."""
    return {
        "inspection_type": "mechanical",
        "vehicle_class": "EV",
        "section": "MECH 1",
        "item_code": code,
        "description": text,
        "required": True,
        "order_index": 1,
    } | more


def kind(key: str, electric: list[str] | None, burning: list[str] | None, minutes: int = 30) -> dict[str, object]:
    """An inspection type as files have it."""
    return {"key": key, "duration_minutes": minutes, "prerequisites": {"EV": electric, "CV": burning}}


SHEET: dict[str, Any] = {
    "source": "Rules 2026",
    "inspection_types": [
        kind("brake_test", ["tilt_test"], ["tilt_test"]),
        kind("tilt_test", ["electrical", "mechanical"], ["mechanical"]),
        kind("mechanical", [], []),
        kind("electrical", [], None),
    ],
    "items": [
        item("MECHANICAL_MECH1_22"),
        item("MECHANICAL_MECH1_MECH 1", order_index=2, parent_item_code="MECHANICAL_MECH1_22"),
        item("MECHANICAL_MECH1_22", vehicle_class="CV"),
        item("ELECTRICAL_1", inspection_type="electrical"),
    ],
}
CSV = """inspection_type;vehicle_class;section;item_code;description;required;order_index;parent_item_code
mechanical;EV;MECH 1;A 1;"Pedal; box
of steel";true;1;
mechanical;;MECH 1;A 2;Žebro µ;no;2;A 1
"""


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with served(WriteApi(settings).app()) as url:
        yield url


@pytest.fixture
def staff(url: str, settings: Settings) -> Client:
    return Client(url, settings, Role.INSPECTION_RESPONSIBLE)


def sent(
    client: Client, body: object, query: str = "", kind: str = "application/json", **headers: str
) -> httpx.Response:
    """Send a file."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.http.post(f"{PATH}{query}", content=content, headers={"Content-Type": kind} | named)


def taken(client: Client, body: object, query: str = "", kind: str = "application/json", **headers: str) -> Any:
    """Send a file, and return what became of it."""
    answer = sent(client, body, query, kind, **headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def logged(settings: Settings) -> list[tuple[str, str, Any]]:
    """What the log has: topic, record, fact."""
    rows = rows_of(
        str(settings.need("writer_url")),
        "select topic, id, convert_from(state, 'UTF8') from fieldlog.log order by notification_id",
    )
    return [(topic, id, json.loads(state)) for topic, id, state in rows]


def defined(settings: Settings) -> list[str]:
    """The types that the log says are defined, in order."""
    return [id for topic, id, _ in logged(settings) if topic == "inspection-types.defined.v1"]


def wrong(answer: Any) -> list[tuple[str, int, int | None, str | None, str]]:
    """Which rows are not taken, where, and the code of why."""
    return [(one["of"], one["row"], one["line"], one["column"], one["code"]) for one in answer["not_taken"]]


def test_types_are_defined_in_their_order_and_items_become_drafts(staff: Client, settings: Settings) -> None:
    answer = sent(staff, SHEET)
    imported = answer.json()
    assert imported | {"position": None} == {
        "applied": True,
        "position": None,
        "inspection_types": {"rows": 4, "defined": defined(settings), "kept": []},
        "items": {"rows": 4, "drafted": {"mechanical": 3, "electrical": 1}},
        "not_taken": [],
    }
    found = logged(settings)
    assert imported["position"] == len(found) == 10
    assert answer.headers["position"] == "10"
    assert answer.headers["x-request-id"]
    assert sorted(defined(settings)) == ["brake_test", "electrical", "mechanical", "tilt_test"]
    assert defined(settings)[2:] == ["tilt_test", "brake_test"]
    [draft] = [fact for topic, id, fact in found if (topic, id) == ("checklist-templates.drafted.v1", "mechanical")]
    assert draft["source"] == "Rules 2026"
    assert [(one["code"], one.get("parent_code")) for one in draft["items"]] == [
        ("MECHANICAL_MECH1_22", None),
        ("MECHANICAL_MECH1_MECH 1", "MECHANICAL_MECH1_22"),
        ("MECHANICAL_MECH1_22", None),
    ]
    assert len(rows_of(str(settings.need("writer_url")), "select distinct command_id from fieldlog.log")) == 1


def test_nothing_is_published_by_it_and_what_is_drafted_can_be(staff: Client, settings: Settings) -> None:
    taken(staff, SHEET)
    assert not [topic for topic, _, _ in logged(settings) if "published" in topic]
    assert staff.ask("/checklist-templates/mechanical/publish").json()["facts"] == [
        "checklist-templates.published.v1",
        "checklist-versions.published.v1",
    ]


def test_what_is_there_is_kept_and_drafts_are_replaced(staff: Client, settings: Settings) -> None:
    taken(staff, SHEET)
    longer = [kind("mechanical", [], [], minutes=90), kind("noise", None, ["mechanical"])]
    again = taken(staff, {"inspection_types": longer, "items": [item("NEW")]})
    assert again["inspection_types"] == {"rows": 2, "defined": ["noise"], "kept": ["mechanical"]}
    assert again["items"]["drafted"] == {"mechanical": 1}
    assert not [topic for topic, _, _ in logged(settings) if "revised" in topic]


def test_the_same_file_again_changes_nothing_and_has_the_same_answer(staff: Client, settings: Settings) -> None:
    first = taken(staff, SHEET)
    staff.ask("/checklist-templates/mechanical/drop-item", {"code": "MECHANICAL_MECH1_22", "vehicle_class": "CV"})
    before = logged(settings)
    assert taken(staff, SHEET) == first
    assert logged(settings) == before


def test_a_key_of_ones_own_is_honoured(staff: Client, settings: Settings) -> None:
    first = taken(staff, SHEET, idempotency_key='"spring"')
    assert taken(staff, SHEET, idempotency_key="spring") == first
    problem(sent(staff, {"items": []} | SHEET | {"source": "x"}, idempotency_key="spring"), 422, "key-reused")
    other = taken(staff, SHEET, idempotency_key="autumn")
    assert other["inspection_types"]["kept"] == first["inspection_types"]["defined"]
    assert len(logged(settings)) == first["position"]


def test_a_dry_run_says_the_same_and_does_nothing(staff: Client, settings: Settings) -> None:
    said = taken(staff, SHEET, "?dry_run=true")
    assert logged(settings) == []
    assert taken(staff, SHEET) == said | {"applied": True, "position": 10}
    kept = taken(staff, SHEET, "?dry_run=true")
    assert sorted(kept["inspection_types"]["kept"]) == sorted(said["inspection_types"]["defined"])
    assert (kept["applied"], kept["inspection_types"]["defined"]) == (False, [])


BROKEN = {
    "inspection_types": [
        *SHEET["inspection_types"],
        kind("mechanical", [], []),
        kind("nobody", None, None),
        kind("a", ["b"], None),
        kind("b", ["a"], None),
        kind("after_nowhere", ["nowhere"], None),
    ],
    "items": [
        *SHEET["items"],
        item("MECHANICAL_MECH1_22"),
        item("NO SECTION", section=None),
        item("LONG", "x" * 2_001),
        item("EXTRA", colour="red"),
        {"item_code": 7},
        "no row at all",
        item("LOST", inspection_type="nowhere"),
    ],
}
NOT_SOUND = [
    ("inspection_types", 5, None, None, "repeated"),
    ("inspection_types", 6, None, None, "no_class"),
    ("inspection_types", 7, None, None, "PrerequisitesInACircle"),
    ("inspection_types", 8, None, None, "PrerequisitesInACircle"),
    ("inspection_types", 9, None, None, "PrerequisiteUnknown"),
    ("items", 5, None, None, "repeated"),
    ("items", 6, None, "section", "string_type"),
    ("items", 7, None, "description", "string_too_long"),
    ("items", 8, None, "colour", "extra_forbidden"),
    ("items", 9, None, "section", "missing"),
    ("items", 9, None, "description", "missing"),
    ("items", 9, None, "inspection_type", "missing"),
    ("items", 9, None, "item_code", "string_type"),
    ("items", 10, None, None, "model_type"),
    ("items", 11, None, None, "InspectionTypeUnknown"),
]


def test_every_row_that_is_not_taken_is_said_with_its_reason_and_nothing_happens(
    staff: Client, settings: Settings
) -> None:
    answer = taken(staff, BROKEN)
    assert sorted(map(str, wrong(answer))) == sorted(map(str, NOT_SOUND))
    assert (answer["applied"], answer["position"]) == (False, None)
    long = next(one for one in answer["not_taken"] if one["code"] == "string_too_long")
    assert long["value"] == "x" * 200
    unknown = next(one for one in answer["not_taken"] if one["code"] == "PrerequisiteUnknown")
    assert unknown["message"].endswith("(inspection_type_id: nowhere, vehicle_class: EV)")
    assert logged(settings) == []


def test_what_is_sound_is_taken_without_the_rest_if_that_is_asked_for(staff: Client, settings: Settings) -> None:
    said = taken(staff, BROKEN, "?policy=partial&dry_run=true")
    answer = taken(staff, BROKEN, "?policy=partial")
    assert wrong(answer) == wrong(said)
    assert sorted(map(str, wrong(answer))) == sorted(map(str, NOT_SOUND))
    assert answer["applied"]
    assert answer["items"] == {"rows": 11, "drafted": {"mechanical": 3, "electrical": 1}}
    assert sorted(defined(settings)) == ["brake_test", "electrical", "mechanical", "tilt_test"]


def test_what_was_left_out_of_a_file_is_not_said_to_be_taken_when_it_comes_again(
    staff: Client, settings: Settings
) -> None:
    first = taken(staff, BROKEN, "?policy=partial")
    staff.ask(
        "/inspection-types/nowhere/define",
        {"rules": {"name": "Nowhere", "duration_minutes": 1, "classes": [{"vehicle_class": "EV"}]}},
    )
    before = logged(settings)
    again = taken(staff, BROKEN, "?policy=partial")
    assert logged(settings) == before
    assert {name: again[name] for name in ("applied", "position", "inspection_types", "items")} == {
        name: first[name] for name in ("applied", "position", "inspection_types", "items")
    }
    assert [(one["of"], one["row"]) for one in again["not_taken"] if one["code"] == "refused-before"] == [
        ("inspection_types", 9),
        ("items", 11),
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1250"])
@pytest.mark.parametrize("between", [";", ",", "\t", "|"])
def test_a_csv_file_is_read_as_it_was_written(staff: Client, settings: Settings, encoding: str, between: str) -> None:
    taken(staff, {"inspection_types": SHEET["inspection_types"]})
    text = CSV.replace("Pedal;", "Pedal@").replace(";", between).replace("@", between)
    long = text.replace("Žebro µ", "Žebro µ " + "Šasija drži obremenitev če je preverjena. " * 5 + "Konec")
    answer = taken(staff, long.encode(encoding), kind="text/csv")
    assert answer["items"] == {"rows": 2, "drafted": {"mechanical": 2}}
    draft = logged(settings)[-1][2]["items"]
    assert draft[0]["description"] == f"Pedal{between} box\nof steel"
    assert draft[1]["description"].startswith("Žebro µ Šasija drži")
    assert (draft[1]["required"], draft[1].get("vehicle_class"), draft[1]["parent_code"]) == (False, None, "A 1")


def test_rows_of_a_csv_file_are_said_by_line_and_column(staff: Client) -> None:
    taken(staff, {"inspection_types": SHEET["inspection_types"]})
    rows = [
        "mechanical;XV;MECH 1;A 3;Text;perhaps;-1;",
        "",
        "mechanical;EV;MECH 1;A 4;Text;true;1;;surplus",
        ";;;;;true;1;",
    ]
    answer = taken(staff, (CSV + "\n".join(rows)).encode(), kind="text/csv")
    assert wrong(answer) == [
        ("items", 3, 5, "order_index", "greater_than_equal"),
        ("items", 3, 5, "required", "bool_parsing"),
        ("items", 3, 5, "vehicle_class", "literal_error"),
        ("items", 4, 7, "cell 9", "extra_forbidden"),
        ("items", 5, 8, "item_code", "missing"),
        ("items", 5, 8, "section", "missing"),
        ("items", 5, 8, "description", "missing"),
        ("items", 5, 8, "inspection_type", "missing"),
    ]


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"", "application/json", 400, "malformed-body"),
        (b"{", "application/json", 400, "malformed-body"),
        (b"[" * 100_000, "application/json", 400, "malformed-body"),
        (b"[]", "application/json", 422, "invalid-input"),
        (b'{"rows": []}', "application/json", 422, "invalid-input"),
        (b'{"items": [' + b"0," * 10_000 + b"0]}", "application/json", 422, "invalid-input"),
        (b"", "text/csv", 422, "invalid-input"),
        (b"item_code\nA", "text/csv", 422, "invalid-input"),
        (CSV.replace("section", "sektion").encode(), "text/csv", 422, "invalid-input"),
        (CSV.replace("required", "section").encode(), "text/csv", 422, "invalid-input"),
        ((CSV + 'mechanical;EV;MECH 1;A 3;"no end').encode(), "text/csv", 422, "invalid-input"),
        ((CSV + ("x" * 200_000)).encode(), "text/csv", 422, "invalid-input"),
        ((CSV + ";;x\n" * 10_001).encode(), "text/csv", 422, "invalid-input"),
        (b"a", "application/zip", 415, "type-not-taken"),
        (b" " * (MOST_BYTES + 1), "application/json", 413, "file-too-large"),
    ],
    ids=range(15),
)
def test_a_file_that_cannot_be_read_at_all_is_a_problem(
    staff: Client, body: bytes, kind: str, status: int, code: str
) -> None:
    problem(sent(staff, body, kind=kind), status, code)


def test_a_large_file_is_taken_although_a_command_may_not_be_as_large(staff: Client, settings: Settings) -> None:
    items = [item(f"I{n}", "x" * 500) for n in range(3_000)]
    assert len(json.dumps({"items": items})) > settings.max_body_bytes
    answer = taken(staff, SHEET | {"items": items}, "?policy=partial")
    assert answer["items"] == {"rows": 3_000, "drafted": {"mechanical": 2_000}}
    assert {one["code"] for one in answer["not_taken"]} == {"ChecklistFull"}


def test_only_who_runs_scrutineering_imports(url: str, settings: Settings) -> None:
    problem(httpx.post(f"{url}{PATH}?policy=most", content=b"{}"), 401, "unauthenticated")
    denied = problem(sent(Client(url, settings, Role.SCRUTINEER), SHEET), 403, "not-allowed")
    assert "admin, inspection_responsible" in denied["detail"]
    assert taken(Client(url, settings, Role.ADMIN), SHEET)["applied"]


def test_what_one_organisation_imports_is_not_the_neighbours(staff: Client, url: str, settings: Settings) -> None:
    taken(staff, SHEET)
    neighbour = Client(url, settings, Role.ADMIN, tenant=NEIGHBOUR)
    problem(neighbour.ask("/checklist-templates/mechanical/publish"), 404, "no-such-record")
    assert taken(neighbour, SHEET)["inspection_types"]["kept"] == []
    tenants = rows_of(str(settings.need("writer_url")), "select tenant_id, count(*) from fieldlog.log group by 1")
    assert dict(tenants) == {TENANT: 10, NEIGHBOUR: 10}


def test_questions_that_are_none_are_problems(staff: Client) -> None:
    problem(sent(staff, SHEET, "?policy=most"), 422, "invalid-input")
    problem(sent(staff, SHEET, idempotency_key='"a'), 400, "malformed-header")
    problem(staff.get(PATH), 405, "method-not-allowed")
