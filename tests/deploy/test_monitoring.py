"""What watches a service: Prometheus scrapes a real one and has our rules, the dashboard asks for what is there."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from support import PATIENCE, ROOT, HttpService, packed, random_windows, wait_until

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
GRAFANA = DEPLOY / "grafana"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
DASHBOARD = orjson.loads((GRAFANA / "dashboards" / "vinocast.json").read_bytes())
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
NAME = re.compile(r"\b(?:vinocast|process)_[a-z_]+\b")
# Whether of a selector or of an aggregation.
LABEL = re.compile(r'(\w+)\s*(?:=~?|!=|!~)\s*"')
LABELS = re.compile(r"\bby \(([^)]*)\)")
ALERT_TESTS = ROOT / "tests" / "deploy" / "alerts_test.yml"
(WINDOW,) = random_windows(1)


def alerts() -> list[dict[str, Any]]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    rules: list[dict[str, Any]] = group["rules"]
    return rules


def questions() -> Iterator[str]:
    """Every expression of the rules and of the dashboard."""
    yield from (rule["expr"] for rule in alerts())
    yield from (target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"])
    yield from (each["query"]["query"] for each in DASHBOARD["templating"]["list"])


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
def test_promtool_finds_no_fault_in_the_configuration_and_its_rules() -> None:
    done = subprocess.run(["promtool", "check", "config", CONFIG], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"{len(alerts())} rules found" in done.stdout


@pytest.mark.skipif(shutil.which("promtool") is None, reason="needs promtool")
def test_each_alert_fires_on_the_series_that_it_is_for_and_on_no_others() -> None:
    tested = [
        each["alertname"]
        for group in yaml.safe_load(ALERT_TESTS.read_text())["tests"]
        for each in group["alert_rule_test"]
        if each.get("exp_alerts")
    ]
    assert sorted(tested) == sorted(rule["alert"] for rule in alerts())
    done = subprocess.run(["promtool", "test", "rules", ALERT_TESTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_rules_and_dashboard_ask_for_metrics_and_labels_that_a_service_has() -> None:
    with HttpService() as service:
        assert httpx.post(f"{service.url}/forecast", json=packed(WINDOW)).status_code == 200
        page = httpx.get(f"{service.url}/metrics").text
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    labels: dict[str, set[str]] = {}
    for sample in samples:
        labels.setdefault(sample.name, {"job", "instance"}).update(sample.labels)
    asked = {name for question in questions() for name in NAME.findall(question)}
    assert len(asked) > 10
    assert asked - labels.keys() == set()
    for question in questions():
        wanted = {*LABEL.findall(question), *re.findall(r"\w+", " ".join(LABELS.findall(question)))}
        names = NAME.findall(question)
        assert names or "up{" in question
        assert not names or wanted <= set.intersection(*(labels[name] for name in names)), question


def test_every_alert_has_a_heading_that_says_what_to_do_and_every_heading_an_alert() -> None:
    _, _, after = OPERATIONS.partition("\n## Alerts\n")
    text, _, _ = after.partition("\n## ")
    headings = re.findall(r"^### (\w+)$", text, re.MULTILINE)
    assert headings == [rule["alert"] for rule in alerts()]
    for rule in alerts():
        assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert rule["annotations"]["summary"].endswith(".")
        assert rule["labels"]["severity"] in {"warning", "critical"}


def test_alerts_name_codes_and_limits_that_there_are() -> None:
    expressions = {rule["alert"]: rule["expr"] for rule in alerts()}
    protocol = (ROOT / "docs" / "protocol.md").read_text()
    for name in ("VinocastErrors", "VinocastOverloaded"):
        for code in re.findall(r'code=~?"([^"]+)"', expressions[name])[0].split("|"):
            assert f"| `{code}` |" in protocol
    (limit,) = re.findall(r"\d{6,}", expressions["VinocastMemory"])
    assert int(limit) == 1 << 30
    assert COMPOSE["services"]["vinocast"]["mem_limit"] == "1g"
    assert "MemoryMax=1G" in (DEPLOY / "systemd" / "vinocast.service").read_text()


def test_compose_starts_what_watches_only_where_it_is_asked_for_and_confines_it() -> None:
    services = COMPOSE["services"]
    assert "profiles" not in services["vinocast"]
    for name in ("prometheus", "grafana"):
        service = services[name]
        assert service["profiles"] == ["monitoring"]
        assert re.fullmatch(r"[a-z]+/[a-z]+:v?\d+\.\d+\.\d+", service["image"])
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["mem_limit"]
        for source, *_, mode in (volume.split(":") for volume in service["volumes"]):
            assert (DEPLOY / source).is_dir() if source.startswith("./") else source in COMPOSE["volumes"]
            assert (mode == "ro") is source.startswith("./")


def test_grafana_is_given_prometheus_and_the_dashboard_where_compose_has_them() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning/datasources/prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((GRAFANA / "provisioning/dashboards/vinocast.yml").read_text())["providers"]
    grafana = COMPOSE["services"]["grafana"]
    assert source["url"] == "http://$PROMETHEUS"
    assert grafana["environment"]["PROMETHEUS"] == "prometheus:9090"
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in grafana["volumes"]
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["uid"]}


needs_prometheus = pytest.mark.skipif(shutil.which("prometheus") is None, reason="needs prometheus")


def configured(folder: Path, port: int, **job: object) -> Path:
    """Write our configuration into a folder, quicker and of a service on the loopback; return the folder."""
    config = yaml.safe_load(CONFIG.read_text())
    config["global"] = dict.fromkeys(("scrape_interval", "scrape_timeout", "evaluation_interval"), "1s")
    config["rule_files"] = [str(RULES)]
    (scraped,) = config["scrape_configs"]
    scraped.update({"static_configs": [{"targets": [f"127.0.0.1:{port}"]}], **job})
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    return folder


@pytest.mark.slow
@needs_prometheus
def test_prometheus_scrapes_a_service_and_evaluates_the_rules_and_the_dashboard(tmp_path: Path) -> None:
    with HttpService(env={"VINOCAST_TOKEN": "sixteen-characters"}) as service:
        bearer = {"Authorization": "Bearer sixteen-characters"}
        for _ in range(3):
            assert httpx.post(f"{service.url}/forecast", json=packed(WINDOW), headers=bearer).status_code == 200
        (tmp_path / "token").write_text("sixteen-characters\n")
        access = {"credentials_file": str(tmp_path / "token")}
        with Prometheus(configured(tmp_path, service.port, authorization=access)) as url:
            check(url)


@pytest.mark.slow
@needs_prometheus
def test_an_alert_fires_in_prometheus_while_a_service_refuses_a_model(tmp_path: Path) -> None:
    models = tmp_path / "models"
    shutil.copytree(ROOT / "models" / "patchtst-etth1", models / "whole")
    shutil.copytree(models / "whole", models / "damaged")
    with (models / "damaged" / "model.bin").open("r+b") as weights:
        weights.write(b"damaged")
    with (
        HttpService("--models", models, "--default-model", "whole") as service,
        Prometheus(configured(tmp_path, service.port)) as url,
    ):
        firing = 'ALERTS{alertstate="firing", alertname="VinocastModelRefused"}'
        wait_until(lambda: bool(ask(url, firing)), "the alert fires")
        assert [found["metric"]["model"] for found in ask(url, firing)] == ["damaged"]
        told = httpx.get(f"{url}/api/v1/alerts").json()["data"]["alerts"]
        (alert,) = (each for each in told if each["state"] == "firing")
        assert alert["annotations"]["summary"] == f"127.0.0.1:{service.port} does not serve the model damaged."


class Prometheus:
    """A Prometheus of its own on the loopback; its address."""

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "log").open("wb+")
        self._folder = folder

    def __enter__(self) -> str:
        # Of port 0 it takes a free one, and says in its log which.
        options = {
            "config.file": self._folder / "prometheus.yml",
            "storage.tsdb.path": self._folder / "data",
            "web.listen-address": "127.0.0.1:0",
        }
        command = ["prometheus", *(f"--{name}={value}" for name, value in options.items())]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, cwd=self._folder)
        try:
            wait_until(self._address, "Prometheus listens")
        except BaseException:
            self.__exit__()
            raise
        return f"http://{self._address()}"

    def __exit__(self, *_: object) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

    def _address(self) -> str:
        text = (self._folder / "log").read_text()
        assert self._process.poll() is None, text
        found = re.search(r'msg="Listening on" address=(\S+)', text)
        return found[1] if found else ""


def ask(url: str, expression: str) -> list[dict[str, Any]]:
    reply = httpx.get(f"{url}/api/v1/query", params={"query": expression}).json()
    assert reply["status"] == "success", (expression, reply)
    results: list[dict[str, Any]] = reply["data"]["result"]
    return results


def check(url: str) -> None:
    def counted() -> bool:
        found = ask(url, 'sum(vinocast_requests_total{job="vinocast", op="forecast", code=""})')
        return bool(found) and found[0]["value"][1] == "3"

    wait_until(counted, "Prometheus has our counter")

    def up() -> bool:  # on a busy machine a scrape may take longer than it may
        (target,) = httpx.get(f"{url}/api/v1/targets").json()["data"]["activeTargets"]
        assert target["labels"]["job"] == "vinocast"
        return (target["health"], target["lastError"]) == ("up", "") and ask(url, "up")[0]["value"][1] == "1"

    wait_until(up, "the target is up")

    def evaluated() -> bool:
        (group,) = httpx.get(f"{url}/api/v1/rules").json()["data"]["groups"]
        health = {rule["name"]: rule["health"] for rule in group["rules"]}
        assert list(health) == [rule["alert"] for rule in alerts()]
        assert "err" not in health.values(), group
        return set(health.values()) == {"ok"}

    wait_until(evaluated, "every rule is evaluated")
    # A rate needs a second scrape.
    drawn = [
        target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
        for panel in DASHBOARD["panels"]
        for target in panel["targets"]
    ]
    wait_until(lambda: all(ask(url, expression) for expression in drawn), "every panel has something to draw")
    assert ask(url, 'ALERTS{alertstate="firing"}') == []
