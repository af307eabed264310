"""The shipped files with the real programs: numbers are scraped, and an alert is delivered."""

import signal
from pathlib import Path

import httpx
import pytest

from tests.fakes.live_dify import live_dify
from tests.fakes.waiting import wait_until
from tests.monitoring.stand import IS_INSTALLED, watched
from tests.monitoring.test_dashboard import panel_expressions
from tests.resilience.server import CHAT_PATH, chat_shape, running_server

KEY = "sk-metrics-key-00000"

pytestmark = pytest.mark.skipif(not IS_INSTALLED, reason="Prometheus and its Alertmanager are not installed")


def test_what_happens_is_scraped_and_an_alert_reaches_people(tmp_path: Path) -> None:
    services_key, prometheus_key = tmp_path / "key", tmp_path / "credentials"
    services_key.write_text(KEY)
    prometheus_key.write_text(KEY)
    with (
        live_dify() as dify,
        running_server(dify, METRICS_API_KEY_FILE=str(services_key)) as server,
        watched(tmp_path, f"127.0.0.1:{server.port}", prometheus_key) as watch,
    ):
        for _ in range(5):
            assert server.chat().status_code == 200
        stream = httpx.post(server.origin + CHAT_PATH, json=chat_shape(streams=True))
        assert stream.text.endswith("data: [DONE]\n\n")

        asked = 'sum(opendify_requests_total{model="bot", status="200"})'
        assert wait_until(lambda: watch.value(asked) == 6, 60)
        assert watch.value('up{job="opendify"}') == 1
        # Rates are there once a second look was taken.
        assert wait_until(lambda: sum(bool(watch.query(each)) for each in panel_expressions()) >= 10, 60)
        assert watch.firing() == set()

        # The file of a secret is gone when the configuration is read anew.
        services_key.unlink()
        server.program.signal(signal.SIGHUP)

        assert wait_until(lambda: watch.firing() == {"OpenDifyReloadFailed"}, 90), watch.told
