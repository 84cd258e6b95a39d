"""Settings that are wrong or missing: named in one line, with what is allowed, and never with the value of a secret."""

from __future__ import annotations

import re
import subprocess
from base64 import b64encode
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from infra.database import LOGINS
from infra.local.home import Home
from infra.settings import Settings, SettingsError, variable
from tests.conftest import Database
from tests.house import markdown
from tests.house.source import ROOT
from tests.running import fieldlog, free_port, started, until

KEY = b64encode(bytes(32)).decode()
AWAY = "postgresql://somebody:swordfish@127.0.0.1:1/fieldlog"
URLS = {f"{login.removeprefix('fieldlog_').upper()}_URL": AWAY for login in LOGINS}
ALL = {**URLS, "DATABASE_URL": AWAY, "MASTER_KEY": KEY, "CURSOR_KEY": KEY, "JWKS": "jwks.json"}
ALL["KAFKA_BOOTSTRAP_SERVERS"] = "127.0.0.1:1"

# Which settings each process needs, as the README has it.
PROCESSES = markdown.tables(markdown.section((ROOT / "README.md").read_text(), "In production"))[0]
NEEDED = {
    row[2].strip("`").removeprefix("fieldlog "): re.findall(r"`(?:FIELDLOG_)?(\w+)`", row[3]) for row in PROCESSES
}
MISSING = [(process, name) for process, names in NEEDED.items() for name in names]
APIS = ["write-api", "read-api"]

WRONG = {
    "WRITE_PORT": "swordfish",
    "READ_PORT": "70001",
    "MASTER_KEY": "swordfish",
    "CURSOR_KEY": b64encode(b"swordfish").decode(),
    "LOG_LEVEL": "swordfish",
    "MAX_BODY_BYTES": "17",
    "STATE_CACHE_MB": "swordfish",
    "SITE_RADIUS_M": "77777",
    "CHANGES_DAYS": "swordfish",
    "GRACE_SECONDS": "-77",
    "LIMIT_REQUESTS": "-77",
    "TRUSTED_PROXIES": "10.0.0.0/8,swordfish",
    "PROXY_HEADER": "X-Swordfish",
    "LOCK_SECONDS": "swordfish",
    "SOURCE": "sword fish",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_named_without_its_value(name: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({f"FIELDLOG_{name}": WRONG[name]})
    line = str(caught.value)
    assert line.startswith(f"FIELDLOG_{name}: ")
    assert "\n" not in line
    assert WRONG[name] not in line


def test_a_url_of_redis_that_is_none_is_named_without_its_value() -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_environment({"REDIS_URL": "http://swordfish"})
    assert str(caught.value).startswith("REDIS_URL: ")
    assert "swordfish" not in str(caught.value)


@pytest.mark.parametrize(
    "brokers",
    ["swordfish", "sword fish:9092", "swordfish:", "swordfish:70001", "swordfish:0", "one:9092,swordfish", ":::"],
)
def test_brokers_that_are_none_are_named(brokers: str) -> None:
    with pytest.raises(SettingsError, match=r"^KAFKA_BOOTSTRAP_SERVERS: .* must be brokers such as kafka-1:9092"):
        Settings.from_environment({"KAFKA_BOOTSTRAP_SERVERS": brokers})


@pytest.mark.parametrize("process", ["tail", "relay"])
def test_brokers_that_are_none_end_a_process_with_one_line(process: str, tmp_path: Path) -> None:
    asked = fieldlog(process, **{**ALL, "KAFKA_BOOTSTRAP_SERVERS": "swordfish", "DATA": str(tmp_path)})
    assert (asked.returncode, asked.stdout) == (2, "")
    [line] = asked.stderr.splitlines()
    assert line.startswith("KAFKA_BOOTSTRAP_SERVERS: ")


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("one:9092, two:9092", "one:9092,two:9092"),
        ("192.0.2.1:9092,[2001:db8::1]:9092,", "192.0.2.1:9092,[2001:db8::1]:9092"),
        (" ", None),
    ],
)
def test_brokers_are_separated_by_commas(given: str, taken: str | None) -> None:
    settings = Settings.from_environment({"KAFKA_BOOTSTRAP_SERVERS": given})
    assert settings.kafka_bootstrap_servers == taken


def test_a_broker_that_is_away_is_told_in_one_line(tmp_path: Path) -> None:
    asked = fieldlog("tail", **ALL, KAFKA_OPTIONS='{"bootstrap_timeout_ms": 100}', DATA=str(tmp_path))
    assert (asked.returncode, asked.stdout) == (1, "")
    [line] = asked.stderr.splitlines()
    assert "Unable to bootstrap from ['127.0.0.1:1']" in line


@pytest.mark.parametrize("given", [URLS, {}], ids=["databases without a broker", "nothing"])
def test_who_has_no_broker_to_read_is_told_how_to_get_one(given: dict[str, str], tmp_path: Path) -> None:
    asked = fieldlog("tail", **given, DATA=str(tmp_path))
    assert (asked.returncode, asked.stdout) == (2, "")
    [line] = asked.stderr.splitlines()
    assert "`fieldlog up --kafka`" in line


def test_everything_that_is_wrong_is_named_at_once_in_one_line(tmp_path: Path) -> None:
    wrong = dict.fromkeys(("WRITE_PORT", "MASTER_KEY", "LOG_LEVEL"), "swordfish")
    asked = fieldlog("status", DATA=str(tmp_path), **wrong)
    assert (asked.returncode, asked.stdout) == (2, "")
    [line] = asked.stderr.splitlines()
    assert all(f"FIELDLOG_{name}: " in line for name in wrong)
    assert "swordfish" not in line


def test_the_readme_has_the_settings_of_every_process() -> None:
    assert NEEDED.keys() == {"migrate", "write-api", "read-api", "projector", "reactor", "relay"}
    assert {name.lower() for names in NEEDED.values() for name in names} <= Settings.model_fields.keys()


@pytest.mark.parametrize(("process", "name"), MISSING)
def test_what_is_missing_is_named_in_one_line_with_what_it_is_for(process: str, name: str, tmp_path: Path) -> None:
    given = {one: ALL[one] for one in NEEDED[process] if one != name}
    asked = fieldlog(process, **given, DATA=str(tmp_path), seconds=8)
    assert (asked.returncode, asked.stdout) == (2, "")
    [line] = asked.stderr.splitlines()
    no_database = not [one for one in given if one.endswith("_URL")]
    assert line.startswith("no FIELDLOG_*_URL is set" if no_database else f"{variable(name.lower())} is not set: ")
    assert "swordfish" not in line


@pytest.mark.parametrize("url", [AWAY, "swordfish", "postgresql://somebody:swordfish@[::1/fieldlog"])
def test_a_database_that_is_not_there_is_told_in_one_line_without_its_password(url: str, tmp_path: Path) -> None:
    asked = fieldlog("status", **{**ALL, "PROJECTOR_URL": url, "DATA": str(tmp_path)})
    assert asked.returncode != 0
    assert "swordfish" not in asked.stdout + asked.stderr
    assert len(asked.stderr.splitlines()) == 1, asked.stderr


@pytest.mark.parametrize("process", APIS)
@pytest.mark.parametrize("source", ["http://keys.example/jwks", "none.json", "http://127.0.0.1:1/jwks"])
def test_an_api_does_not_start_without_the_keys_of_tokens_and_says_so(
    process: str, source: str, tmp_path: Path
) -> None:
    """An address that is not safe, a file that is not there, and a source that is away."""
    asked = fieldlog(process, **{**ALL, "JWKS": source, "DATA": str(tmp_path)}, seconds=15)
    assert asked.returncode != 0
    assert "swordfish" not in asked.stdout + asked.stderr
    assert "FIELDLOG_JWKS" in asked.stderr
    assert source in asked.stderr


def test_without_any_setting_it_says_how_to_begin(tmp_path: Path) -> None:
    [line] = fieldlog("status", DATA=str(tmp_path / "none")).stderr.splitlines()
    assert "fieldlog up" in line
    assert not (tmp_path / "none").exists()


def test_every_secret_is_hidden_where_settings_are_shown() -> None:
    settings = Settings.from_environment({f"FIELDLOG_{name}": value for name, value in ALL.items()})
    shown = f"{settings!r} {settings} {settings.model_dump()}"
    assert "swordfish" not in shown
    assert KEY not in shown
    assert repr(bytes(32)) not in shown


def startup(port: int, running: subprocess.Popen[str]) -> object:
    """Return what an API says of its start, once it listens."""

    def said() -> object | None:
        assert running.poll() is None, "it ended"
        with suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{port}/startupz").json()
        return None

    return until(said)


@pytest.mark.parametrize("process", APIS)
def test_an_api_starts_with_the_settings_that_the_readme_says_it_needs(
    process: str, database: Database, keys: dict[str, str], tmp_path: Path
) -> None:
    known = {name.removeprefix("FIELDLOG_"): value for name, value in keys.items()}
    known |= {"WRITER_URL": database.writer, "READER_URL": database.reader}
    port = free_port()
    given = {name: known[name] for name in NEEDED[process]} | {"DATA": str(tmp_path)}
    with started(process, **given, WRITE_PORT=str(port), READ_PORT=str(port)) as running:
        assert startup(port, running) == {"status": "started"}


@pytest.mark.parametrize("process", APIS)
def test_an_api_by_itself_uses_the_local_set_up_where_no_database_is_set(
    process: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = Home(tmp_path_factory.mktemp("local") / "data")
    home.postgres.start()
    try:
        home.postgres.make_database()
        settings = {name.removeprefix("FIELDLOG_"): value for name, value in home.environment().items()}
        assert fieldlog("migrate", **settings).returncode == 0
        port = free_port()
        given = {"DATA": str(home.directory), "WRITE_PORT": str(port), "READ_PORT": str(port)}
        with started(process, **given) as running:
            assert startup(port, running) == {"status": "started"}
    finally:
        home.postgres.stop()
