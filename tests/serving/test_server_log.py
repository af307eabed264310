"""Gunicorn's access log, as far as strangers can write into it."""

import base64
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.config import Config

from opendify.serving.server_log import ServerLog

FORMAT = '%(h)s %(l)s %(u)s "%(m)s %(U)s %(H)s" %(s)s "%(f)s" "%(a)s"'


def line_of(**environ: str) -> str:
    log = ServerLog(Config())
    request: Any = SimpleNamespace(headers=[])
    response: Any = SimpleNamespace(status="200 OK", sent=7, headers=[])
    shown = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/v1/models",
        "RAW_URI": "/v1/models",
        "SERVER_PROTOCOL": "HTTP/1.1",
        **environ,
    }
    return FORMAT % dict(log.atoms(response, request, shown, timedelta(0)))


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
