"""The `fieldlog` command beside a system that runs: what operators and programs ask, and what they are told."""

from __future__ import annotations

import json
import subprocess
import sys
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import redis
from pyproj import Geod

from domain.roles import Role
from infra.local.redis import RedisServer
from infra.log.identity import tenant_id_of
from projections.catalog import CONTEXTS
from tests.house import golden
from tests.running import Up, environment, fieldlog, up

FIXES = 37
GPX = """<?xml version="1.0"?>
<gpx version="1.1" creator="test" xmlns="http://www.topografix.com/GPX/1/1"><trk><trkseg>{points}</trkseg></trk></gpx>"""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("cli") / "data", "--no-demo") as running:
        yield running


def claims(token: str) -> dict[str, Any]:
    """Return what a token says, unchecked."""
    body = token.split(".")[1]
    said: dict[str, Any] = json.loads(urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    return said


def get(running: Up, path: str, *, tenant: str = "demo", at_least: int = 0) -> httpx.Response:
    headers = {**running.client("auditor", "dispatcher", tenant=tenant), "If-Position-At-Least": str(at_least)}
    return httpx.get(f"{running.read}{path}", headers=headers, timeout=20)


def status(running: Up) -> dict[str, Any]:
    asked = running.ask("status", "--json")
    assert (asked.returncode, asked.stderr) == (0, "")
    found: dict[str, Any] = json.loads(asked.stdout)
    return found


def test_a_token_for_a_name_that_is_new_opens_the_organisation(running: Up) -> None:
    asked = running.ask("token", "--tenant", "Eco-Haul", "--role", "admin", "--role", "driver", "--subject", "ana")
    assert (asked.returncode, asked.stderr) == (0, "")
    said = claims(asked.stdout.strip())
    assert said["tenant"] == str(tenant_id_of("Eco-Haul"))
    assert (said["sub"], said["roles"], said["exp"] - said["iat"]) == ("ana", ["admin", "driver"], 24 * 3600)
    facts = get(running, "/log?after=0", tenant="Eco-Haul").json()["items"]
    assert [one["type"] for one in facts] == ["tenants.opened.v1"]


def test_the_same_name_is_the_same_organisation_and_its_id_is_as_good(running: Up) -> None:
    def organisation(named: str) -> str:
        asked = running.ask("token", "--tenant", named, "--role", "viewer", "--subject", "me", "--hours", "0.5")
        said = claims(asked.stdout.strip())
        assert said["exp"] - said["iat"] == 1800
        tenant: str = said["tenant"]
        return tenant

    before = organisation("Twice")
    head = status(running)["head"]
    assert {organisation("Twice"), organisation(before), before} == {str(tenant_id_of("Twice"))}
    assert status(running)["head"] == head, "it was opened once"
    unknown = "0192f000-0000-7000-8000-00000000abcd"
    assert organisation(unknown) == unknown
    assert UUID(before).version == 5


def test_a_role_that_does_not_exist_is_named_with_those_that_do(running: Up) -> None:
    asked = running.ask("token", "--tenant", "demo", "--role", "nurse", "--subject", "me")
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "--role" in asked.stderr
    assert f"'nurse' is not one of {', '.join(repr(role.value) for role in Role)}" in asked.stderr


@pytest.mark.parametrize(
    ("role", "hours", "wrong"),
    [("system", "1", "--role"), ("admin", "0", "--hours"), ("admin", "-1", "--hours"), ("admin", "inf", "--hours")],
)
def test_a_token_that_would_be_good_for_nothing_is_not_made(running: Up, role: str, hours: str, wrong: str) -> None:
    asked = running.ask("token", "--tenant", "demo", "--role", role, "--subject", "me", "--hours", hours)
    assert (asked.returncode, asked.stdout) == (2, "")
    assert wrong in asked.stderr


def test_how_far_everything_is_can_be_read_by_programs_and_people(running: Up) -> None:
    running.client("viewer")
    found = status(running)
    assert found["head"] >= 1
    assert {one["context"] for one in found["views"]} == CONTEXTS.keys()
    assert found["reactor"]["parked_causes"] == 0
    for one in found["views"]:
        assert (one["served"], one["parked_tenants"]) == (True, 0)
        assert 0 <= one["position"] <= found["head"]
    shown = running.ask("status")
    assert shown.returncode == 0
    assert f"The log is at position {found['head']}" in shown.stdout


def test_the_doctor_finds_this_machine_well(running: Up) -> None:
    asked = running.ask("doctor", "--json")
    assert asked.returncode == 0, asked.stdout
    found = {one["what"]: one for one in json.loads(asked.stdout)}
    assert all(one["works"] for one in found.values())
    assert found["database"]["found"].startswith("PostgreSQL 18")
    assert found["Redis"]["found"] == "answers; maxmemory-policy volatile-lru"
    assert found[f"port {running.write_port}"]["found"].startswith("in use")


def test_the_doctor_says_what_does_not_work_and_how_to_mend_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    asked = fieldlog("doctor", "--json", PROJECTOR_URL="postgresql://u:swordfish@127.0.0.1:1/x", DATA=str(tmp_path))
    assert asked.returncode == 1
    [database] = [one for one in json.loads(asked.stdout) if one["what"] == "database"]
    assert (database["works"], database["mend"]) == (False, "start it, or correct FIELDLOG_PROJECTOR_URL")
    assert "swordfish" not in asked.stdout + asked.stderr


def test_the_doctor_looks_at_redis_and_at_what_it_drops_for_room(tmp_path: Path) -> None:
    def found(url: str) -> tuple[bool, str]:
        settings = environment(DATA=str(tmp_path)) | {"REDIS_URL": url}
        asked = subprocess.run(
            [sys.executable, "-m", "infra", "doctor", "--json"],
            env=settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "swordfish" not in asked.stdout + asked.stderr
        [one] = [one for one in json.loads(asked.stdout) if one["what"] == "Redis"]
        return one["works"], one["mend"]

    assert found("redis://:swordfish@127.0.0.1:1/0") == (False, "start it (`fieldlog up`), or correct REDIS_URL")
    server = RedisServer(tmp_path / "redis")
    server.start()
    try:
        assert found(server.url())[0]
        with redis.Redis.from_url(server.url()) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        assert found(server.url()) == (False, "maxmemory-policy volatile-lru")
    finally:
        server.stop()


def test_the_system_describes_itself_without_a_database() -> None:
    asked = fieldlog("describe")
    assert (asked.returncode, asked.stderr) == (0, "")
    assert json.loads(asked.stdout) == json.loads(golden.text_of(golden.documents()["describe.json"]))
    assert json.loads(fieldlog("describe", "--json").stdout) == json.loads(asked.stdout)


def test_where_nothing_is_parked_it_says_so(running: Up) -> None:
    assert running.ask("parked").stdout.strip() == "Nothing is parked."
    assert json.loads(running.ask("parked", "--json").stdout) == []
    assert running.ask("parked", "--resume").stdout.strip() == "0 will be tried again."


def test_a_second_migration_changes_nothing(running: Up) -> None:
    for _ in range(2):
        asked = running.ask("migrate", "--json")
        assert asked.returncode == 0, asked.stderr
        assert json.loads(asked.stdout) == {"migrations": [], "builds made": [], "builds dropped": []}
    assert "migrations: none" in running.ask("migrate").stdout


def test_views_are_built_anew_beside_the_ones_that_are_served(running: Up) -> None:
    running.client("viewer")
    before = {one["context"]: one["build"] for one in status(running)["views"] if one["served"]}
    asked = running.ask("rebuild", "trucks", GRACE_SECONDS="0")
    assert asked.returncode == 0, asked.stdout + asked.stderr
    after = {one["context"]: one["build"] for one in status(running)["views"]}
    assert after["trips"] > before["trips"]
    assert after["tenants"] == before["tenants"]
    assert f"trips_{after['trips']} is served" in asked.stdout
    assert f"Dropped: trips_{before['trips']}" in " ".join(asked.stdout.split())
    assert get(running, "/trucks").status_code == 200


def test_a_view_that_does_not_exist_is_named_with_those_that_do(running: Up) -> None:
    asked = running.ask("rebuild", "planes")
    assert asked.returncode == 2
    assert "there is no view planes; there are" in " ".join(asked.stderr.split())


def gpx(file: Path) -> float:
    """Write a drive northwards at 54 km/h, a fix each two seconds; return its length in kilometres."""
    begun = datetime(2026, 5, 4, 8, 0, tzinfo=UTC)
    places = [(46.05 + number * 0.00027, 14.5) for number in range(FIXES)]
    times = [f"{begun + timedelta(seconds=2 * number):%FT%TZ}" for number in range(FIXES)]
    points = "".join(
        f'<trkpt lat="{latitude:.6f}" lon="{longitude}"><ele>300</ele><time>{time}</time></trkpt>'
        for (latitude, longitude), time in zip(places, times, strict=True)
    )
    file.write_text(GPX.format(points=points))
    metres: float = Geod(ellps="WGS84").line_length([one for _, one in places], [one for one, _ in places])
    return metres / 1000


def test_a_recorded_track_is_driven_over_a_bad_network_and_has_its_length(running: Up, tmp_path: Path) -> None:
    length = gpx(tmp_path / "drive.gpx")
    asked = running.ask("drive", "--gpx", str(tmp_path / "drive.gpx"), "--speed", "60", "--flaky", "0.3")
    assert asked.returncode == 0, asked.stdout + asked.stderr
    [trip] = get(running, "/trips?status=completed").json()["items"]
    assert abs(trip["distance_km"] - length) < 0.01, "every fix was taken once, whatever was lost"
    said = " ".join(asked.stdout.split())
    assert f"Trip {trip['id']}: {trip['distance_km']} km; {{'accepted': {FIXES}, " in said
    assert "'rejected': 0}" in said


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("no xml", "is no GPX file"),
        (GPX.format(points=""), "has no track points with times"),
        (GPX.format(points='<trkpt lat="46" lon="14"/>'), "has no track points with times"),
    ],
)
def test_a_file_that_is_no_track_is_said_to_be_none(running: Up, tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "file.gpx").write_text(text)
    asked = running.ask("drive", "--gpx", str(tmp_path / "file.gpx"))
    assert asked.returncode == 2
    assert why in " ".join(asked.stderr.split())


def test_nothing_of_what_is_secret_is_in_the_log_lines(running: Up) -> None:
    token = running.client("admin")["Authorization"].removeprefix("Bearer ")
    for url in (running.write, running.read):
        httpx.get(f"{url}/trucks", headers={"Authorization": f"Bearer {token}"})
    lines = "".join(file.read_text() for file in (running.directory / "logs").iterdir())
    assert lines
    private = json.loads((running.directory / "signing.jwk").read_text())["d"]
    for secret in (token, private, *((running.directory / name).read_text() for name in ("master.key", "cursor.key"))):
        assert secret not in lines
