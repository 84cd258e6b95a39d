"""How streams begin and end: where they go on, who may, what they refuse, and when they say that one must begin anew."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from pydantic import SecretBytes

from domain.roles import Role
from infra.local.home import issue_token
from infra.settings import Settings
from infra.views.readers import Readers
from read_api import stream
from read_api.app import ReadApi
from read_api.kernel import event_id
from tests.conftest import NEIGHBOUR, TENANT
from tests.test_doors import problem
from tests.views.house import (
    House,
    Person,
    head,
    projecting,
    served_build,
    serving,
    to_the_end,
    wait_for,
    wait_until_folded,
)
from tests.views.test_reading import where
from tests.views.watch import Event, Watch, positions, watching

KEPT = "changes since then are not kept any more"


@pytest.fixture(scope="module")
def office(shared_house: House) -> Person:
    """An office with one truck."""
    office = shared_house.office()
    register(office, "T1")
    shared_house.office(NEIGHBOUR)
    return office


def register(person: Person, id: str) -> int:
    """Register a truck; return the position of its last fact."""
    return int(person.ask(f"/trucks/{id}/register", {"number": id, "plate": id})["position"])


def about(id: str) -> Callable[[Event], bool]:
    """Return the question whether an event is about this row."""
    return lambda event: event.data.get("key") == id


def keys(events: list[Event]) -> list[tuple[str, str]]:
    """Return kind and key of events."""
    return [(event.kind, event.data["key"]) for event in events]


def test_rows_that_enter_stay_in_and_leave_a_filter(office: Person) -> None:
    with watching(office, view=["trucks", "sites"], trucks__status="inactive") as live:
        office.ask("/trucks/T1/deactivate")
        office.ask("/trucks/T1/activate")
        register(office, "never-inactive")
        office.ask("/trucks/T1/deactivate")
        office.see("/trucks/T1")  # two views are not told in the order of what was asked within one batch
        office.ask("/sites/S1/register", {"name": "S1", "latitude": 46.0, "longitude": 14.0})
        events = live.until(about("S1"))
    trucks = [event for event in events if event.data["view"] == "trucks"]
    assert keys(trucks) in (  # changes that are folded at once are sent once
        [("row", "T1"), ("leave", "T1"), ("row", "T1")],
        [("row", "T1"), ("row", "T1")],
        [("row", "T1"), ("leave", "T1")],
        [("row", "T1")],
    )
    assert trucks[-1].data["row"] == office.see("/trucks/T1")
    assert events[-1].data["row"] == office.see("/sites/S1")
    office.ask("/trucks/T1/activate")


def test_a_dashboard_is_sent_whole_each_time(office: Person) -> None:
    office.see("/fleet/dashboard")
    with watching(office, view="dashboard", after=office.position) as live:
        register(office, "counted")
        [row] = live.until(lambda event: event.kind == "row")
        assert row.data["row"] == office.see("/fleet/dashboard")


def test_a_view_that_is_behind_another_does_not_make_that_one_say_things_twice(
    shared_house: House, office: Person
) -> None:
    office.ask("/sites/S2/register", {"name": "S2", "latitude": 46.0, "longitude": 14.0})
    old = positions(office.get("/sites").headers["event-id"])["sites"]
    for id in ("twice-1", "twice-2"):
        register(office, id)
        office.see("/trucks")
    now = positions(office.get("/trucks").headers["event-id"])["trucks"]
    build = served_build(shared_house.settings)
    both = event_id({"sites": (build, old), "trucks": (build, now)})
    with watching(office, both, view=["sites", "trucks"]) as live:
        assert live.ready == {"sites": old, "trucks": now}
        register(office, "twice-3")
        assert keys(live.until(about("twice-3"))) == [("row", "twice-3")]


def test_each_position_of_what_was_missed_has_an_id_to_go_on_from(office: Person) -> None:
    before = int(office.get("/trucks").headers["position"])
    for id in ("missed-1", "missed-2", "missed-3"):
        register(office, id)
        office.see("/trucks")
    with watching(office, view="trucks", after=before) as live:
        events = live.until(about("missed-3"))
    events = [event for event in events if event.data["key"].startswith("missed-")]
    assert [event.id is not None for event in events] == [True] * 3, "one must begin before all of them again"


def test_a_stream_from_a_position_that_is_not_reached_yet_is_no_burden(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    office, asked, find = house.office(), [0], Readers.find

    async def counted(*about: Any) -> Any:
        asked[0] += 1
        return await find(*about)

    far = register(office, "T0") + 1_000_000
    office.see("/trucks")
    with watching(office, view="trucks", after=far), watching(office, view="trucks") as live:
        monkeypatch.setattr(Readers, "find", counted)
        for n in range(1, 11):
            register(office, f"T{n}")
            wait_until_folded(house.settings)
        assert keys(live.until(about("T10"))) == [("row", f"T{n}") for n in range(1, 11)]
    assert asked[0] <= 50, "it asks again and again for what is not there yet"


def test_a_sign_of_life_moves_on_where_a_quiet_stream_goes_on(office: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "KEEP_ALIVE_S", 0.02)
    with watching(office, view="trucks", trucks__status="maintenance") as live:
        position = register(office, "unseen")
        for block in live.blocks:
            live.last_id = block["id"]
            assert block.keys() == {"id"}
            if positions(live.last_id)["trucks"] >= position:
                break
    with watching(office, live.last_id, view="trucks") as live:
        assert live.ready["trucks"] >= position


def test_nobody_hears_of_another_organisation(shared_house: House, office: Person) -> None:
    theirs = shared_house.office(NEIGHBOUR)
    with watching(theirs, view=["trucks", "dashboard"], after=0) as live:
        register(office, "ours")
        register(theirs, "theirs")
        events = live.until(about("theirs"))
    assert {event.data["key"] for event in events} <= {"theirs", "fleet"}


def test_what_cannot_be_watched_is_told_precisely(shared_house: House, office: Person) -> None:
    wrong = {
        "": ("view",),
        "view=moon": ("view",),
        "&".join(f"view=trips{n}" for n in range(11)): ("view",),
        "view=trips&colour=red": ("colour",),
        "view=trips&trucks.status=active": ("trucks.status",),
        "view=trips&trips.status=flying": ("trips.status",),
        "view=trips&from=soon": ("from",),
        "view=trips&after=-1": ("after",),
        "view=trips&limit=3": ("limit",),
    }
    for query, places in wrong.items():
        answer = office.read.get(f"/stream?{query}")
        problem(answer, 422, "invalid-input")
        assert tuple(where(answer)) == places, query
    for odd in ("x", "dHJpcHM", "dHJpcHMuMQ", "%FF"):
        answer = office.read.get("/stream?view=trips", last_event_id=odd)
        problem(answer, 400, "malformed-header")
        assert where(answer) == ["Last-Event-ID"]
    driver = shared_house.person(Role.DRIVER, subject="user-D1")
    problem(driver.read.get("/stream?view=dashboard"), 403, "not-allowed")
    problem(httpx.get(f"{shared_house.read_url}/stream?view=trips"), 401, "unauthenticated")


def test_a_ticket_begins_a_stream_in_its_owners_name_and_does_nothing_else(shared_house: House, office: Person) -> None:
    office.ask("/drivers/D1/register", {"name": "D1", "user": "user-D1"})
    office.ask("/drivers/D2/register", {"name": "D2", "user": "user-D2"})
    driver = shared_house.person(Role.DRIVER, subject="user-D1")
    driver.position = office.position
    driver.see("/drivers")
    ticket = driver.read.ask("/stream/tickets").json()["ticket"]
    anonymous = httpx.Client(base_url=shared_house.read_url, timeout=20)
    with anonymous, anonymous.stream("GET", "/stream", params={"view": "drivers", "ticket": ticket}) as response:
        assert response.status_code == 200
        live = Watch(response)
        next(live.blocks)
        office.ask("/drivers/D2/go-on-duty")
        office.ask("/drivers/D1/go-on-duty")
        assert keys(live.until(about("D1"))) == [("row", "D1")]
        assert anonymous.get("/trips", params={"ticket": ticket}).status_code == 401
        bearer = {"Authorization": f"Bearer {ticket}"}
        assert anonymous.get("/trips", headers=bearer).status_code == 401


def test_a_ticket_that_expired_was_changed_or_is_none_of_ours_begins_nothing(
    shared_house: House, office: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(office, "another")
    ticket = office.read.ask("/stream/tickets").json()["ticket"]
    cursor = office.see("/trucks?limit=1")["next"]
    other = shared_house.settings.model_copy(update={"cursor_key": SecretBytes(bytes(32))})
    with to_the_end(ReadApi(other).app()) as url:
        elsewhere = httpx.post(f"{url}/stream/tickets", headers=dict(office.read.http.headers)).json()["ticket"]
    monkeypatch.setattr(stream, "TICKET_S", -1)
    expired = office.read.ask("/stream/tickets").json()["ticket"]
    turned = ticket[:30] + ("A" if ticket[30] != "A" else "B") + ticket[31:]
    for wrong in (expired, turned, elsewhere, cursor, "", "x", "%00"):
        answer = httpx.get(f"{shared_house.read_url}/stream?view=trips&ticket={wrong}")
        problem(answer, 401, "unauthenticated")


def test_a_stream_ends_when_its_token_expires(shared_house: House, office: Person) -> None:
    token = issue_token(shared_house.settings, TENANT, [Role.VIEWER], "ana", hours=2 / 3600)
    expires = time.time() + 2
    asked = {"url": f"{shared_house.read_url}/stream", "params": {"view": "trucks"}}
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.stream("GET", **asked, headers=headers, timeout=httpx.Timeout(4)) as response:  # type: ignore[arg-type]
        live = Watch(response)
        register(office, "before-the-end")
        assert keys(list(live.events())) == [("row", "before-the-end")]
    assert expires - 1.5 <= time.time() <= expires + 1.5


@pytest.mark.parametrize("restarted", [False, True], ids=["", "a read API that was started since"])
def test_who_was_away_for_longer_than_changes_are_kept_begins_anew(settings: Settings, restarted: bool) -> None:
    with serving(settings) as house:
        office = house.office()
        with projecting(settings):
            register(office, "T1")
            office.see("/trucks")
            with watching(office, view="trucks", trucks__status="active") as live:
                pass
            for verb, body in (("deactivate", None), ("send-to-maintenance", {"reason": "brakes"})):
                office.ask(f"/trucks/T1/{verb}", body)
                office.see("/trucks")
        with projecting(settings.model_copy(update={"changes_days": 0})):
            wait_for(
                settings.need("projector_url"),
                lambda connection: connection.execute(
                    "select true from fieldlog.builds having min(changes_from) >= %s", [office.position]
                ).fetchone(),
            )
            with serving(settings) as later:
                reader = later.person(Role.VIEWER) if restarted else office
                with watching(reader, live.last_id, view="trucks", trucks__status="active") as stale:
                    register(office, "T2")
                    event = next(stale.events())
        assert (event.kind, event.data) == ("reset", {"view": "trucks", "reason": KEPT})


def test_who_does_not_keep_up_begins_anew_and_costs_no_more_memory(shared_house: House) -> None:
    office = shared_house.office()
    port = int(shared_house.read_url.rpartition(":")[2])
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.connect(("127.0.0.1", port))
        token = office.read.http.headers["authorization"]
        slow.sendall(f"GET /stream?view=sites HTTP/1.1\r\nHost: x\r\nAuthorization: {token}\r\n\r\n".encode())
        assert b"200" in slow.recv(12)
        before = resets(office)
        for turn in range(30):
            sites = [
                {
                    "op": str(n),
                    "stream": "sites",
                    "id": f"far-{turn}-{n}",
                    "verb": "register",
                    "body": talkative(f"{turn}-{n}"),
                }
                for n in range(300)
            ]
            office.write.ask("/commands", {"items": sites})
            office.position = head(shared_house.settings)
            office.see("/sites?limit=1")
            if resets(office) > before:
                break
        assert resets(office) == before + 1
        text = b""
        while part := slow.recv(65_536):
            text += part
            if text.endswith(b"0\r\n\r\n"):
                break
    assert b"this connection does not keep up" in text
    assert len(text) < 8_000_000


def talkative(name: str) -> dict[str, Any]:
    """A site that has much to say."""
    return {"name": name, "latitude": 46.0, "longitude": 14.0, "address": "x" * 2_000}


def resets(person: Person) -> int:
    """Return how many streams the read API has reset."""
    found = re.search(r"^sse_resets_total (\d+)", person.read.get("/metrics").text, re.MULTILINE)
    return int(found[1]) if found else 0
