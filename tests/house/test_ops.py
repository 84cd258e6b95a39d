"""What operators get (compose.yml, the image, rules, dashboard, proxy), against the code and against each other."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import prometheus_client
import pytest
import typer
import yaml

from infra.__main__ import LOCAL_WHEELS, app
from infra.settings import Settings, variable
from tests.compose import FILE, OPS, VARIABLE, document, env_file, environment_of, ours, services
from tests.house.source import ROOT, sources

PROMETHEUS = OPS / "prometheus"
WORDS = {"by", "le", "or", "and", "for", "rate", "sum", "max", "absent", "topk", "count", "histogram_quantile"}
# Of others: Prometheus itself, its node exporter, and what every Python process says of itself.
FOREIGN = re.compile(r"up$|node_|process_|ALERTS$")


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((OPS / "grafana" / "dashboards" / "fieldlog.json").read_text())
    return found


def expressions() -> dict[str, str]:
    panels = {panel["title"]: target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])}
    return {str(rule.get("alert") or rule.get("record")): rule["expr"] for rule in rules()} | panels


def named_metrics(expression: str) -> set[str]:
    """Return the names of metrics in an expression: words outside of quotes, labels and functions."""
    bare = re.sub(r'"[^"]*"', '""', expression)
    bare = re.sub(r"\b(by|without)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", " ", bare)
    return set(re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?!\s*\()\b", bare)) - WORDS


@pytest.fixture(scope="module")
def told() -> set[str]:
    """Every sample that our processes tell, by name."""
    for source in sources():
        if "prometheus_client" in source.text:
            importlib.import_module(source.name)
    names: set[str] = set()
    for metric in prometheus_client.REGISTRY.collect():
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(metric.type, [""])
        names |= {metric.name + ending for ending in endings}
    return names


def test_every_metric_of_rules_and_dashboard_is_told_by_our_processes(told: set[str]) -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    unknown = {
        (where, name)
        for where, expression in expressions().items()
        for name in named_metrics(expression) - told - recorded
        if not FOREIGN.match(name)
    }
    assert unknown == set()
    assert len({name for one in expressions().values() for name in named_metrics(one)} & told) > 15


def test_every_rule_says_what_is_wrong_and_what_to_do() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert [one["alert"] for one in alerts if not one["annotations"]["summary"].endswith(".")] == []
    assert [one["alert"] for one in alerts if len(one["annotations"]["description"]) < 40] == []
    assert {one["labels"]["severity"] for one in alerts} == {"warning", "critical"}
    assert len(alerts) == len({one["alert"] for one in alerts}) >= 15


def test_rules_keep_to_the_service_levels() -> None:
    """The numbers of the service levels: 500 ms, 0.1 %, 5 %, 60 %, 500 live streams, 100 ms of the database."""
    limits = {str(rule.get("alert")): rule["expr"] for rule in rules()}
    assert limits["AnswersSlow"].endswith("> 0.5")
    assert limits["ErrorsTooMany"].endswith("> 0.001")
    assert limits["QueriesFail"].endswith("> 0.05")
    assert "< 0.6 " in limits["CacheMisses"]
    assert limits["LiveStreamsMany"].endswith("> 500")
    assert limits["QueriesSlow"].endswith("> 0.1")


def test_rules_are_told_when_they_should_be() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (Debian: prometheus) is not here; the rules were read, but not run")
    for arguments in (["check", "rules", "alerts.yml"], ["test", "rules", "alerts_test.yml"]):
        ran = subprocess.run([promtool, *arguments], cwd=PROMETHEUS, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_is_run_in_the_test_of_the_rules() -> None:
    tested = set(re.findall(r'alertname(?:=|: )"?(\w+)', (PROMETHEUS / "alerts_test.yml").read_text()))
    assert tested == {rule["alert"] for rule in rules() if "alert" in rule}


def test_the_dashboard_can_be_shown() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels) > 20
    datasource = yaml.safe_load((OPS / "grafana" / "datasources.yml").read_text())["datasources"][0]
    assert {panel["datasource"]["uid"] for panel in panels if panel["type"] != "row"} == {datasource["uid"]}
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)


def test_every_service_of_ours_runs_a_command_with_settings_that_exist() -> None:
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    settings = {variable(name) for name in Settings.model_fields}
    assert {name: one["command"] for name, one in ours().items() if not {one["command"][0]} <= commands} == {}
    assert {name: wrong for name, one in ours().items() if (wrong := set(one["environment"]) - settings)} == {}
    assert len(ours()) >= 8


@pytest.mark.parametrize("name", sorted(ours()))
def test_the_settings_of_a_service_are_right_with_the_secrets_that_are_made(name: str) -> None:
    given = env_file(FIELDLOG_JWKS="https://id.example/jwks")
    environment = environment_of(ours()[name], given)
    Settings.from_environment(environment)
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" not in environment


def test_every_variable_is_made_or_has_a_default_or_is_said_to_be_needed() -> None:
    text = FILE.read_text()
    needed = {name for name, how, _ in VARIABLE.findall(text) if how != "-"}
    assert needed - set(env_file()) == {"FIELDLOG_JWKS"}
    assert set(env_file()) <= needed, "a secret that nobody uses"
    assert "FIELDLOG_JWKS" in text.partition("name:")[0]


def test_no_secret_is_made_twice() -> None:
    assert not set(env_file().values()) & set(env_file().values())


def test_whoever_is_waited_for_says_when_it_is_healthy() -> None:
    wrong = []
    for name, one in services().items():
        for other, how in (one.get("depends_on") or {}).items():
            if how["condition"] == "service_healthy" and "healthcheck" not in services()[other]:
                wrong.append(f"{name} waits for {other}")
            if how["condition"] == "service_completed_successfully" and services()[other]["restart"] != "no":
                wrong.append(f"{name} waits for the end of {other}, which is started again")
    assert wrong == []


def test_images_are_pinned_and_processes_have_no_more_than_they_need() -> None:
    for name, one in services().items():
        tag = one["image"].rpartition(":")[2]
        assert re.search(r"\d+\.\d+", tag), f"{name}: {one['image']}"
        assert one["mem_limit"], name
        assert one["restart"] in ("unless-stopped", "no"), name
    assert [name for name, one in ours().items() if not (one["read_only"] and one["cap_drop"] == ["ALL"])] == []


def test_what_is_mounted_is_there() -> None:
    mounted = [one.split(":")[0] for service in services().values() for one in service.get("volumes", [])]
    assert [one for one in mounted if one.startswith("./") and not (ROOT / one).exists()] == []
    volumes = [one for one in mounted if not one.startswith((".", "/"))]
    assert sorted(set(volumes)) == sorted(document()["volumes"])


def test_the_proxy_and_prometheus_look_for_processes_where_they_are() -> None:
    ports = {
        variable(name): str(field.default) for name, field in Settings.model_fields.items() if name.endswith("_port")
    }
    commands = {name: one["command"][0].replace("-api", "") for name, one in ours().items() if name != "migrate"}
    listening = {f"{name}:{ports[variable(f'{command}_port')]}" for name, command in commands.items()}
    scraped = {
        target
        for job in yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())["scrape_configs"]
        for static in job["static_configs"]
        for target in static["targets"]
    }
    assert scraped - {"node-exporter:9100"} == listening
    proxied = set(re.findall(r"server ([\w-]+:\d+)", (OPS / "nginx" / "nginx.conf").read_text()))
    assert proxied == {one for one in listening if "-api-" in one}
    checked = {name: f":{one.partition(':')[2]}/readyz" for one in listening for name in [one.partition(":")[0]]}
    assert [name for name, port in checked.items() if port not in " ".join(ours()[name]["healthcheck"]["test"])] == []


def test_a_process_that_ends_goes_on_for_longer_than_the_proxy_keeps_connections_to_it() -> None:
    kept = re.findall(r"keepalive_timeout (\d+)s", (OPS / "nginx" / "nginx.conf").read_text())
    for name, one in ours().items():
        if "FIELDLOG_DRAIN_SECONDS" in one["environment"]:
            drain, grace = (
                float(one["environment"]["FIELDLOG_DRAIN_SECONDS"]),
                float(one["stop_grace_period"].rstrip("s")),
            )
            assert drain > max(map(float, kept)), name
            assert grace > drain + 10, name


def test_the_image_is_small_and_nobodys_root() -> None:
    text = (ROOT / "Dockerfile").read_text()
    stages = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(stages) == 2
    assert all(re.search(r":\d+\.\d+\.\d+", one) for one in stages)
    last = text.rpartition("FROM")[2]
    assert re.search(r"^USER 10001", last, re.MULTILINE)
    assert "pip install ." in text
    ignored = (ROOT / ".dockerignore").read_text().split()
    copied = [path for line in re.findall(r"^COPY (?!--)(.*) \S+$", text, re.MULTILINE) for path in line.split()]
    assert ignored[0] == "*"
    assert [path for path in copied if f"!{path}" not in ignored or not (ROOT / path).exists()] == []


def test_what_runs_in_the_image_needs_no_wheel_of_local_set_ups(tmp_path: Path) -> None:
    modules = [
        "infra.__main__",
        "infra.views.projector",
        "infra.reactor",
        "infra.operate",
        "write_api.app",
        "read_api.app",
    ]
    blocked = "".join(f"sys.modules[{name!r}] = None; " for name in LOCAL_WHEELS)
    code = f"import sys; {blocked}import {', '.join(modules)}; from infra.__main__ import main; main()"

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(
            command,
            env={"PYTHONPATH": str(ROOT), **environment},
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )

    assert run("describe", "--json").returncode == 0
    assert run("projector", FIELDLOG_WRITER_URL="postgresql://x@y/z").stderr.startswith(
        "FIELDLOG_PROJECTOR_URL is not set"
    )
    local = run("status")
    assert (local.returncode, len(local.stderr.splitlines())) == (2, 1)
    assert "fieldlog[local]" in local.stderr


def test_secrets_are_printed_as_an_environment_file() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "infra", "secrets"], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert {line.partition("=")[0] for line in ran.stdout.splitlines()} == set(env_file())
