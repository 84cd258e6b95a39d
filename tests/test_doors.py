"""The doors of the write API: receipts, conditions, keys, and a precise answer to everything else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from domain.roles import Role
from infra.settings import Settings
from tests.conftest import NEIGHBOUR, TENANT
from tests.serving import Client, served
from write_api.app import WriteApi
from write_api.doors import COMMANDS_TOTAL

OPEN = {"name": "Eco-Haul", "time_zone": "Europe/Ljubljana", "currency": "EUR"}


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    with served(WriteApi(settings).app()) as url:
        yield url


@pytest.fixture
def office(url: str, settings: Settings) -> Client:
    client = Client(url, settings, Role.ADMIN)
    client.ask(f"/tenants/{TENANT}/open", OPEN)
    return client


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that this is a whole problem document, and return it."""
    document: dict[str, Any] = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, document["status"], document["code"]) == (status, status, code)
    assert document["type"].startswith("http")
    assert document["type"].endswith(code)
    assert document["instance"].startswith("urn:uuid:")
    assert document["title"]
    assert document["detail"]
    assert len(document["trace_id"]) == 32
    return document


def test_a_command_is_answered_with_a_receipt(office: Client) -> None:
    answer = office.ask("/trucks/T1/register", {"number": "7", "plate": "LJ 7"})
    assert answer.status_code == 200
    assert answer.json() == {
        "id": "T1",
        "version": 1,
        "position": 4,
        "facts": ["trucks.registered.v1", "claims.claimed.v1", "claims.claimed.v1"],
    }
    assert answer.headers["etag"] == '"1"'
    assert answer.headers["position"] == "4"


def register(office: Client, id: str = "T1", **more: object) -> httpx.Response:
    return office.ask(f"/trucks/{id}/register", {"number": f"no {id}", "plate": f"LJ {id}", **more})


def test_a_decision_that_says_no_is_a_refusal_with_its_code(office: Client) -> None:
    register(office)
    taken = problem(office.ask("/trucks/T2/register", {"number": "NO t1", "plate": "x"}), 409, "TruckNumberTaken")
    assert taken["title"] == "Another truck carries this number."
    assert taken["details"] == {"number": "NO t1"}


def test_a_command_that_creates_nothing_on_a_record_that_is_not_there(office: Client) -> None:
    problem(office.ask("/trucks/T1/activate"), 404, "no-such-record")


def test_a_stale_version_is_never_applied_and_says_what_changed(office: Client) -> None:
    register(office)
    assert office.ask("/trucks/T1/deactivate", if_match='"1"').headers["etag"] == '"2"'
    stale = problem(office.ask("/trucks/T1/activate", if_match='"1"'), 412, "stale-version")
    assert (stale["current_version"], stale["current_etag"]) == (2, '"2"')
    assert stale["changed_fields"] == ["status"]
    assert office.ask("/trucks/T1/activate", if_match='W/"2.abc"').status_code == 200
    problem(office.ask("/trucks/T9/activate", if_match="*"), 412, "stale-version")
    problem(office.ask("/trucks/T1/activate", if_match='"someone-elses"'), 412, "stale-version")


def test_the_same_key_has_the_same_receipt(office: Client) -> None:
    first = register(office)
    again = office.ask("/trucks/T1/deactivate", idempotency_key='"k1"')
    office.ask("/trucks/T1/activate")
    assert office.ask("/trucks/T1/deactivate", idempotency_key="k1").json() == again.json()
    assert again.json()["version"] == first.json()["version"] + 1


def test_a_key_with_another_payload_is_no_repeat(office: Client) -> None:
    office.ask("/trucks/T1/register", {"number": "1", "plate": "a"}, idempotency_key="k")
    problem(office.ask("/trucks/T1/register", {"number": "2", "plate": "a"}, idempotency_key="k"), 422, "key-reused")


def test_what_happened_earlier_says_so_and_the_future_is_not_taken(office: Client) -> None:
    register(office)
    assert office.ask("/trucks/T1/deactivate", occurred_at="2026-11-19T10:00:00+01:00").status_code == 200
    ahead = problem(office.ask("/trucks/T1/activate", occurred_at="2199-01-01T00:00:00Z"), 422, "invalid-input")
    assert ahead["errors"][0]["header"] == "Occurred-At"
    problem(office.ask("/trucks/T1/activate", occurred_at="yesterday"), 400, "malformed-header")


def test_without_a_valid_token_nothing_is_answered(url: str, settings: Settings) -> None:
    bare = httpx.post(f"{url}/trucks/T1/activate")
    assert bare.headers["www-authenticate"] == "Bearer"
    problem(bare, 401, "unauthenticated")
    problem(httpx.post(f"{url}/trucks/T1/activate", headers={"Authorization": "Bearer x.y.z"}), 401, "unauthenticated")
    stranger = settings.model_copy(update={"token_audience": "somewhere else"})
    problem(Client(url, stranger, Role.ADMIN).ask("/trucks/T1/activate"), 401, "unauthenticated")


def test_roles_are_needed_and_the_system_is_no_role_of_a_token(url: str, office: Client, settings: Settings) -> None:
    register(office)
    denied = problem(Client(url, settings, Role.VIEWER).ask("/trucks/T1/activate"), 403, "not-allowed")
    assert denied["detail"] == "trucks.activate is for: admin, dispatcher."
    problem(Client(url, settings, Role.SYSTEM).ask("/trucks/T1/activate"), 403, "not-allowed")
    problem(Client(url, settings, Role.ADMIN, Role.SYSTEM).ask(f"/tenants/{TENANT}/expire-fixes"), 404, "not-found")


def test_another_organisation_finds_nothing_of_ours(url: str, office: Client, settings: Settings) -> None:
    register(office)
    neighbour = Client(url, settings, Role.ADMIN, tenant=NEIGHBOUR)
    problem(neighbour.ask("/trucks/T1/activate"), 404, "no-such-record")
    problem(neighbour.ask(f"/tenants/{TENANT}/set-retention", {"gps_days": 1}), 404, "no-such-record")
    assert register(neighbour).status_code == 200
    problem(office.ask(f"/tenants/{NEIGHBOUR}/open", OPEN), 403, "NotYours")


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({"number": "1"}, [("#/plate", "missing")]),
        ({"number": 1, "plate": "a"}, [("#/number", "string_type")]),
        ({"number": "1", "plate": "a\0"}, [("#/plate", "nul_character")]),
        ({"number": "x" * 201, "plate": " a"}, [("#/number", "string_too_long"), ("#/plate", "outer_space")]),
        ({"number": "1", "plate": "a", "capacity_m3": 12.5}, [("#/capacity_m3", "decimal_text")]),
        ({"number": "1", "plate": "a", "capacity_m3": "1e3"}, [("#/capacity_m3", "decimal_text")]),
        ({"number": "1", "plate": "a", "colour": "red"}, [("#/colour", "extra_forbidden")]),
    ],
)
def test_wrong_input_is_named_with_a_pointer(office: Client, body: object, errors: list[tuple[str, str]]) -> None:
    found = problem(office.ask("/trucks/T1/register", body), 422, "invalid-input")
    assert [(one["pointer"], one["code"]) for one in found["errors"]] == errors


def test_wrong_input_deep_inside_is_named_too(office: Client) -> None:
    body = {"fixes": [{"at": "2026-11-20T08:00:00Z", "latitude": 46, "longitude": 14}, {"at": "noon", "latitude": 46}]}
    found = problem(office.ask("/trips/X/record-locations", body), 422, "invalid-input")
    assert [one["pointer"] for one in found["errors"]] == ["#/fixes/1/at", "#/fixes/1/longitude"]


def test_unknown_names_are_answered_with_the_known_ones(office: Client) -> None:
    [error] = problem(office.ask("/trucks/T1/deactivate", {"why": "rust"}), 422, "invalid-input")["errors"]
    assert error["detail"] == "There is no 'why' here; there are: none."
    [error] = problem(office.ask("/sites/S1/close", {"at": "noon"}), 422, "invalid-input")["errors"]
    assert error["pointer"] == "#/at"
    assert "register, activate" in problem(office.ask("/trucks/T1/fly"), 404, "not-found")["detail"]


@pytest.mark.parametrize("raw", [b"{", b'{"number": 1e999}', b"\xff\xfe", b"[" * 100_000, b"NaN", b'{"a": 1}}'])
def test_what_is_no_json_is_malformed(office: Client, raw: bytes) -> None:
    answer = office.http.post("/trucks/T1/register", content=raw, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    assert answer.json()["code"] in ("malformed-body", "invalid-input")


def test_other_bodies_and_addresses_have_their_answers_too(office: Client) -> None:
    post = office.http.post
    problem(
        post("/trucks/T1/register", content=b"a=1", headers={"Content-Type": "text/plain"}), 415, "wrong-content-type"
    )
    problem(post("/trucks/T1/register", content=b"x" * 1_048_577), 413, "too-large")
    problem(post("/trucks/T1/fly"), 404, "not-found")
    problem(post("/planes/T1/fly"), 404, "not-found")
    problem(post("/trucks/-/register", json={"number": "1", "plate": "a"}), 422, "invalid-input")
    wrong_method = office.get("/trucks/T1/register")
    assert wrong_method.headers["allow"] == "POST"
    problem(wrong_method, 405, "method-not-allowed")
    problem(post("/livez"), 405, "method-not-allowed")


def test_a_failure_of_ours_tells_a_trace_and_nothing_else(settings: Settings) -> None:
    class Broken(WriteApi):
        def desk(self) -> Any:
            raise RuntimeError("the password is swordfish")

    with served(Broken(settings).app()) as url:
        trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        answer = Client(url, settings, Role.ADMIN).ask("/trucks/T1/activate", traceparent=trace)
    found = problem(answer, 500, "internal")
    assert found["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert "swordfish" not in answer.text
    assert COMMANDS_TOTAL.labels("trucks.activate", "internal")._value.get() >= 1


def item(op: str, path: str, body: object = None, **more: object) -> dict[str, object]:
    _, stream, id, verb = path.split("/")
    return {"op": op, "stream": stream, "id": id, "verb": verb, "body": body or {}, **more}


TRUCK = {"number": "1", "plate": "a"}


def test_a_batch_is_carried_out_in_order_and_each_item_has_its_answer(office: Client) -> None:
    items = [
        item("1", "/trucks/T1/register", TRUCK),
        item("2", "/trucks/T1/deactivate"),
        item("3", "/trucks/T2/register", TRUCK),
        item("4", "/trucks/T1/fly"),
        item("5", "/trucks/T1/register", {"number": 1}),
        item("6", "/trucks/T1/activate", if_match=1),
        item("7", "/trucks/T1/activate", if_match='"2"', occurred_at="2026-11-19T10:00:00Z"),
    ]
    answer = office.ask("/commands", {"items": items})
    assert answer.status_code == 200
    assert [(one["op"], one["status"]) for one in answer.json()["items"]] == [
        ("1", 200),
        ("2", 200),
        ("3", 409),
        ("4", 404),
        ("5", 422),
        ("6", 412),
        ("7", 200),
    ]
    assert answer.json()["items"][4]["problem"]["errors"][0]["pointer"] == "#/items/4/body/number"
    assert office.ask("/commands", {"items": items[:2]}).json()["items"] == answer.json()["items"][:2]


def test_a_number_that_is_none_is_refused_in_a_batch_too(office: Client) -> None:
    raw = '{"items": [{"op": "a", "stream": "trips", "id": "X", "verb": "start", "body": {"odometer_km": 1e999}}]}'
    answer = office.http.post("/commands", content=raw, headers={"Content-Type": "application/json"})
    assert answer.json()["items"][0]["problem"]["errors"][0]["pointer"] == "#/items/0/body/odometer_km"


def test_a_command_whose_body_never_arrived_is_not_carried_out(office: Client, url: str) -> None:
    office.ask("/trucks/T1/register", TRUCK)
    head = (
        f"POST /trucks/T1/deactivate HTTP/1.1\r\nHost: x\r\nAuthorization: {office.http.headers['authorization']}\r\n"
    )
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as phone:
        phone.sendall(f"{head}Content-Type: application/json\r\nContent-Length: 22\r\n\r\n".encode())
        phone.shutdown(socket.SHUT_WR)
        assert phone.recv(1) == b"", "the service answers nobody"
    after = office.ask("/trucks/T1/send-to-maintenance", {"reason": "rust"})
    assert after.json()["version"] == 2


def test_an_atomic_batch_takes_effect_whole_or_not_at_all(office: Client) -> None:
    good, bad = item("1", "/trucks/T1/register", TRUCK), item("2", "/trucks/T2/register", TRUCK)
    refused = office.ask("/commands", {"items": [good, bad], "atomic": True}).json()["items"]
    assert [one["problem"]["code"] for one in refused] == ["not-carried-out", "TruckNumberTaken"]
    problem(office.ask("/trucks/T1/activate"), 404, "no-such-record")
    whole = {"items": [good, item("3", "/trucks/T1/deactivate")], "atomic": True}
    accepted = office.ask("/commands", whole).json()["items"]
    assert [one["receipt"]["version"] for one in accepted] == [1, 2]
    assert office.ask("/commands", whole).json()["items"] == accepted


def test_a_batch_that_is_none_is_refused_as_a_whole(office: Client) -> None:
    twice = {"items": [item("1", "/trucks/T1/activate"), item("1", "/trucks/T1/activate")]}
    assert problem(office.ask("/commands", twice), 422, "invalid-input")["errors"][0]["pointer"] == "#/items"
    problem(office.ask("/commands", {"items": []}), 422, "invalid-input")


def test_every_command_is_an_operation_of_the_openapi_page(office: Client) -> None:
    page = office.get("/openapi.json").json()
    start = page["paths"]["/trips/{id}/start"]["post"]
    assert start["summary"] == "Put a scheduled trip on the road; it takes its truck and its driver"
    assert start["x-roles"] == ["admin", "dispatcher", "driver"]
    assert "TruckOnTheRoad" in start["x-refusals"]
    assert "`TruckOnTheRoad`: The truck is on a started trip." in start["responses"]["409"]["description"]
    assert start["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/StartTrip"}
    assert "/tenants/{id}/expire-fixes" not in page["paths"]
    acknowledged = page["components"]["schemas"]["RecordTripLocationsReceipt"]["properties"]
    assert {"id", "version", "position", "facts", "accepted", "duplicates", "rejected"} == acknowledged.keys()


def test_health_says_what_works(office: Client) -> None:
    assert office.get("/livez").status_code == 200
    assert office.get("/startupz").status_code == 200
    ready = office.get("/readyz?verbose")
    assert ready.status_code == 200
    assert ready.json()["checks"]["database"] == "takes appends"
    register(office)
    assert 'command_total{name="trucks.register",outcome="accepted"}' in office.get("/metrics").text
