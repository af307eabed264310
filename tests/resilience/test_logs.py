"""The real server's lines: one form for all, and another level without a restart."""

import json
import signal
from pathlib import Path

from tests.fakes.waiting import wait_until
from tests.resilience.checkouts import checked_out

DIFY = "http://127.0.0.1:9/v1"
MODELS = '{"first": "app-one"}'


def test_hup_changes_what_is_logged_and_every_line_is_of_one_form(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "opendify.log"
    told = {"LOG_FORMAT": "json", "LOG_FILE": str(file), "DIFY_API_BASE": DIFY, "MODEL_CONFIG": MODELS}
    with checked_out(tmp_path, AUTH_MODE="open", GUNICORN_WORKERS="2", ENVIRONMENT="production") as checkout:
        checkout.write_env(**told, LOG_LEVEL="warning")
        checkout.program.start()
        checkout.models()
        assert not file.exists() or "request ended" not in file.read_text()

        old = {worker.pid for worker in checkout.program.workers()}
        checkout.write_env(**told, LOG_LEVEL="info")
        checkout.program.signal(signal.SIGHUP)
        assert wait_until(lambda: not old & {worker.pid for worker in checkout.program.workers()}, 40)
        checkout.models()

        assert wait_until(lambda: "request ended" in file.read_text(), 10)
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert {"opendify.requests", "gunicorn.error"} <= {line["logger"] for line in lines}
    ended = [line for line in lines if line["message"] == "request ended" and line["route"] == "/v1/models"]
    assert {line["status"] for line in ended} == {200}
