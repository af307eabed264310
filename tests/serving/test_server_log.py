"""Gunicorn's access log: what it tells, and how far strangers can write into it."""

import base64
import json
import logging
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config

from opendify.serving.server_log import JsonServerLog, ServerLog

FORMAT = '%(h)s %(l)s %(u)s "%(m)s %(U)s %(H)s" %(s)s "%(f)s" "%(a)s"'

REQUEST: Any = SimpleNamespace(headers=[])
RESPONSE: Any = SimpleNamespace(status="200 OK", sent=7, headers=[("x-request-id", "req_1")])
ENVIRON = {
    "REQUEST_METHOD": "GET",
    "PATH_INFO": "/v1/models",
    "RAW_URI": "/v1/models?key=sk-secret",
    "SERVER_PROTOCOL": "HTTP/1.1",
}


def line_of(**environ: str) -> str:
    return FORMAT % dict(ServerLog(Config()).atoms(RESPONSE, REQUEST, {**ENVIRON, **environ}, timedelta(0)))


def json_line_of(capsys: pytest.CaptureFixture[str], **environ: str) -> str:
    config = Config()
    config.set("accesslog", "-")
    log = JsonServerLog(config)
    log.access(RESPONSE, REQUEST, {**ENVIRON, **environ}, timedelta(seconds=1.5))
    log.setup(Config())  # Its handler is gone with the log.
    return capsys.readouterr().out


def test_a_line_names_who_asked_for_what() -> None:
    line = line_of(REMOTE_ADDR="10.0.0.1", HTTP_USER_AGENT="curl/8")

    assert line == '10.0.0.1 - - "GET /v1/models HTTP/1.1" 200 "-" "curl/8"'


@pytest.mark.parametrize("where", ["PATH_INFO", "HTTP_USER_AGENT", "HTTP_REFERER"])
def test_nobody_begins_a_line_of_his_own(where: str) -> None:
    line = line_of(**{where: "/x\n10.0.0.9 - - \x1b[31m\x85"})

    assert line.isprintable()
    assert r"/x\n10.0.0.9" in line


def test_who_sends_a_key_as_a_user_finds_it_in_no_log() -> None:
    sent = base64.b64encode(b"sk-secret\nforged:x").decode()

    line = line_of(HTTP_AUTHORIZATION=f"Basic {sent}")

    assert "sk-secret" not in line
    assert "forged" not in line


def test_where_lines_are_json_so_is_this_log(capsys: pytest.CaptureFixture[str]) -> None:
    agent = "curl/8\n{}"

    line = json_line_of(capsys, REMOTE_ADDR="10.0.0.1", HTTP_USER_AGENT=agent, HTTP_AUTHORIZATION="Bearer k")

    assert line.count("\n") == 1
    told = json.loads(line)
    assert told.pop("time").endswith("Z")
    assert told == {
        "level": "info",
        "logger": "gunicorn.access",
        "message": "request served",
        "request_id": "req_1",
        "client": "10.0.0.1",
        "method": "GET",
        "path": "/v1/models",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes": 7,
        "user_agent": r"curl/8\n{}",
        "seconds": 1.5,
    }


def test_without_an_access_log_nothing_is_written(caplog: pytest.LogCaptureFixture) -> None:
    log = JsonServerLog(Config())

    with caplog.at_level(logging.INFO):
        log.access(RESPONSE, REQUEST, ENVIRON, timedelta(0))

    assert not caplog.records
