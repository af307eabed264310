"""Each alert fires when it should, and keeps still just short of that."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from opendify.settings import PROJECT_FOLDER

MONITORING = PROJECT_FOLDER / "deploy/monitoring"
RULES = sorted((MONITORING / "rules").glob("*.yml"))

pytestmark = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")

Series = Mapping[str, str]
"""What Prometheus would have scraped once a minute, in promtool's notation."""

UP = 'up{job="opendify", instance="one"}'
GOOD = 'opendify_requests_total{route="/v1/chat/completions", status="200"}'
BAD = 'opendify_requests_total{route="/v1/chat/completions", status="502"}'
SLOW = 'opendify_time_to_first_token_seconds_bucket{model="bot", le="%s"}'
WHOLE = 'opendify_upstream_requests_total{model="bot", outcome="whole"}'
FAILED = 'opendify_upstream_requests_total{model="bot", outcome="upstream_error"}'
DAY = 86_400


@dataclass(frozen=True)
class Case:
    """`fires` makes the alert fire at `minute`, `quiet` does not."""

    alert: str
    fires: Series
    quiet: Series
    minute: int = 30


def first_tokens(slow: int) -> Series:
    """A hundred streams a minute, `slow` of which take longer than 5 s."""
    fast = f"0+{100 - slow}x60"
    return {SLOW % "5.0": fast, SLOW % "10.0": "0+100x60", SLOW % "+Inf": "0+100x60"}


def requests(bad: int, good: int) -> Series:
    """So many a minute, for four days."""
    return {BAD: f"0+{bad}x6000", GOOD: f"0+{good}x6000"}


def host_memory(available: int) -> Series:
    return {
        'node_memory_MemAvailable_bytes{instance="one"}': f"{available}x60",
        'node_memory_MemTotal_bytes{instance="one"}': "100x60",
    }


CASES = (
    Case("OpenDifyDown", {UP: "0x60"}, {UP: "1x60"}),
    Case("OpenDifyDown", {}, {UP: "1x60"}),
    Case("OpenDifyErrors", requests(6, 94), requests(4, 96)),
    Case("OpenDifyErrors", requests(6, 94), {BAD: "0+1x60", GOOD: "0+1x60"}),
    Case("OpenDifyBudgetBurnsFast", requests(15, 985), requests(14, 986), minute=90),
    Case("OpenDifyBudgetBurns", requests(7, 993), requests(5, 995), minute=420),
    Case("OpenDifyBudgetShrinks", requests(2, 998), {BAD: "0x6000", GOOD: "0+100x6000"}, minute=4_500),
    Case("OpenDifySlowFirstToken", first_tokens(6), first_tokens(4)),
    Case(
        "OpenDifyChatsNearCapacity",
        {"opendify_chats_in_flight": "81x60", "opendify_bulkhead_capacity": "100x60"},
        {"opendify_chats_in_flight": "79x60", "opendify_bulkhead_capacity": "100x60"},
    ),
    Case(
        "OpenDifyTurnsAway",
        {'opendify_rejected_total{reason="worker_busy"}': "0+1x60"},
        {
            'opendify_rejected_total{reason="worker_busy"}': "7x60",
            'opendify_rejected_total{reason="wrong_keys"}': "0+9x60",
            'opendify_rejected_total{reason="key_limit"}': "0+9x60",
        },
    ),
    Case(
        "OpenDifyCircuitOpen",
        {'opendify_circuit_state{server="dify"}': "1x60"},
        {'opendify_circuit_state{server="dify"}': "0x60"},
    ),
    Case(
        "OpenDifyUpstreamErrors", {WHOLE: "0+88x60", FAILED: "0+12x60"}, {WHOLE: "0+92x60", FAILED: "0+8x60"}
    ),
    Case(
        "OpenDifyTokensUnusual",
        {'opendify_tokens_total{type="prompt"}': f"0+6000x{7 * 1440} 60480000+30000x300"},
        {'opendify_tokens_total{type="prompt"}': f"0+6000x{8 * 1440}"},
        minute=7 * 1440 + 200,
    ),
    Case(
        "OpenDifyAuthFailures",
        {'opendify_auth_failures_total{reason="invalid_api_key"}': "0+11x60"},
        {'opendify_auth_failures_total{reason="invalid_api_key"}': "0+9x60"},
    ),
    # A guesser who is slowed is answered 429.
    Case(
        "OpenDifyAuthFailures",
        {
            'opendify_auth_failures_total{reason="invalid_api_key"}': "20x60",
            'opendify_refused_keys_total{reason="too_many_failures"}': "0+11x60",
        },
        {'opendify_refused_keys_total{reason="wrong_key"}': "0+11x60"},
    ),
    Case(
        "OpenDifyStoreErrors",
        {'opendify_store_errors_total{store="conversations"}': "0+1x60"},
        {'opendify_store_errors_total{store="conversations"}': "3x60"},
    ),
    # promtool's clock begins at 0.
    Case(
        "OpenDifyBackupOld",
        {"opendify_backup_last_success_timestamp_seconds": f"0x{DAY // 30}"},
        {"opendify_backup_last_success_timestamp_seconds": f"18000x{DAY // 30}"},
        minute=27 * 60,
    ),
    Case(
        "OpenDifyWorkersDie",
        {'opendify_worker_exits_total{cause="unasked"}': "0+1x60"},
        {'opendify_worker_exits_total{cause="unasked"}': "0x25 2x35"},
    ),
    Case(
        "OpenDifyReloadFailed",
        {"opendify_config_reload_success": "0x60"},
        {"opendify_config_reload_success": "1x60"},
    ),
    Case(
        "OpenDifyMemoryLost",
        {'opendify_conversations_total{event="memory_lost"}': "0+1x60"},
        {'opendify_conversations_total{event="new"}': "0+100x60"},
    ),
    Case(
        "HostCpuHigh",
        {'node_cpu_seconds_total{instance="one", mode="idle"}': "0+11.4x60"},
        {'node_cpu_seconds_total{instance="one", mode="idle"}': "0+12.6x60"},
    ),
    Case("HostMemoryHigh", host_memory(14), host_memory(16)),
    Case("HostMemoryFull", host_memory(9), host_memory(11)),
    Case(
        "HostDiskFull",
        {
            'node_filesystem_avail_bytes{mountpoint="/"}': "9x60",
            'node_filesystem_size_bytes{mountpoint="/"}': "100x60",
        },
        {
            'node_filesystem_avail_bytes{mountpoint="/"}': "11x60",
            'node_filesystem_size_bytes{mountpoint="/"}': "100x60",
        },
    ),
    Case(
        "CertificateExpires",
        {"probe_ssl_earliest_cert_expiry": f"{14 * DAY}x120"},
        {"probe_ssl_earliest_cert_expiry": f"{15 * DAY}x120"},
        minute=90,
    ),
)


def promtool_test(alert: str, series: Series, minute: int, count: int) -> dict[str, Any]:
    """One test of promtool's: so many alerts of that name fire then."""
    expected = [{"labels": "{}", "value": count}] if count else []
    expression = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [{"expr": expression, "eval_time": f"{minute}m", "exp_samples": expected}],
    }


@pytest.mark.parametrize(
    ("evaluated_every", "cases"),
    [
        pytest.param("1m", [case for case in CASES if case.minute < DAY // 60], id="within a day"),
        # promtool's time is the number of evaluations; a recorded value is good for five minutes.
        pytest.param("4m", [case for case in CASES if case.minute >= DAY // 60], id="over days"),
    ],
)
def test_alerts_fire_when_they_should_and_only_then(
    tmp_path: Path, evaluated_every: str, cases: Sequence[Case]
) -> None:
    tests = [
        promtool_test(case.alert, series, case.minute, count)
        for case in cases
        for series, count in ((case.fires, 1), (case.quiet, 0))
    ]
    file = tmp_path / "tests.yml"
    told = {
        "rule_files": [str(rules) for rules in RULES],
        "evaluation_interval": evaluated_every,
        "tests": tests,
    }
    file.write_text(yaml.safe_dump(told))

    done = subprocess.run(["promtool", "test", "rules", file], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def _alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load((MONITORING / "rules/alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def test_no_alert_goes_untested() -> None:
    assert {case.alert for case in CASES} == {rule["alert"] for rule in _alerts()}


def test_every_alert_stands_on_the_page_in_its_own_words() -> None:
    page = (PROJECT_FOLDER / "docs/monitoring.md").read_text(encoding="utf-8")

    for rule in _alerts():
        assert f"`{rule['alert']}`" in page
        assert rule["annotations"]["summary"] in page
        assert rule["labels"]["severity"] in {"warning", "critical"}
