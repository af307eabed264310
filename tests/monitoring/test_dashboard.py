"""The dashboard and the rules ask only for what the service shows."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from opendify.app import create_app
from opendify.settings import PROJECT_FOLDER
from opendify.telemetry.metrics import METRICS
from tests.fakes.settings import make_settings

MONITORING = PROJECT_FOLDER / "deploy/monitoring"
DASHBOARD = json.loads((MONITORING / "grafana/opendify.json").read_text())
NAME = re.compile(r"\bopendify_\w+")
SELECTED = re.compile(r"\b(?P<name>opendify_\w+)\{(?P<labels>[^}]*)\}")


def panel_expressions() -> Iterator[str]:
    """As Prometheus gets them, with every variable at `All`."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "5m")
            yield re.sub(r"\$(instance|model)\b", ".*", expression)


def rule_expressions() -> Iterator[str]:
    for file in (MONITORING / "rules").glob("*.yml"):
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from (rule["expr"] for rule in group["rules"])


def recorded() -> set[str]:
    text = (MONITORING / "rules/recording.yml").read_text()
    return {rule["record"] for group in yaml.safe_load(text)["groups"] for rule in group["rules"]}


def shown() -> dict[str, set[str]]:
    """The name of every series, and its labels."""
    page = create_app(make_settings()).test_client().get("/metrics").get_data(as_text=True)
    series = {name: set[str]() for name in re.findall(r"^# TYPE (opendify_\w+)", page, re.MULTILINE)}
    for line in page.splitlines():
        if found := re.match(r"(opendify_\w+)\{(.*)\}", line):
            series[found[1]] = set(re.findall(r"(\w+)=", found[2]))
    for each in METRICS.instruments:
        parts = ("_bucket", "_sum", "_count") if each.name.endswith("_seconds") else ("",)
        for part in parts:
            series[each.name + part] = {*each.labels, *({"le"} if part == "_bucket" else ())}
    # Prometheus adds these itself, and tells of a backup only where one was made.
    series["opendify_backup_last_success_timestamp_seconds"] = set()
    return {name: labels | {"instance", "job"} for name, labels in series.items()}


def test_every_name_and_label_is_one_that_the_service_shows() -> None:
    series = shown()

    for expression in (*panel_expressions(), *rule_expressions()):
        for name in NAME.findall(expression):
            assert name in series, expression
        for selector in SELECTED.finditer(expression):
            labels = set(re.findall(r"(\w+)(?:=~|!~|!=|=)", selector["labels"]))
            assert labels <= series[selector["name"]], expression
        for name in re.findall(r"\bopendify:[\w:]+", expression):
            assert name in recorded(), expression


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_every_expression_is_one_that_prometheus_understands(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(panel_expressions())]
    file = tmp_path / "panels.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))

    done = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_the_dashboard_s_panels_stand_apart_and_follow_the_datasource() -> None:
    panels = DASHBOARD["panels"]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}) == len(panels)
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}
    assert len({panel["title"] for panel in panels}) == len(panels)


def test_everything_that_is_counted_is_asked_for() -> None:
    asked = " ".join((*panel_expressions(), *rule_expressions()))

    unasked = {each.name for each in METRICS.instruments if each.name not in asked}
    # Too fine for a picture; for those who ask for them by hand.
    assert unasked <= {
        "opendify_key_tokens_total",
        "opendify_config_reload_timestamp_seconds",
        "opendify_worker_gc_collections",
    } | {name for name in unasked if not name.startswith("opendify_")}
