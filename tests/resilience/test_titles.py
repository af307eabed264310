"""Anybody on the machine may read the titles of processes and threads; nothing in them is a secret."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.fakes.live_dify import LiveDify, live_dify
from tests.resilience.answers import until_stopped
from tests.resilience.server import RunningServer, chat_shape, running_server

KEY: Final = "sk-canary-key-00000000"
ADMIN: Final = "sk-canary-admin-000000"
APP: Final = "app-canary"
PROMPT: Final = "canary-prompt"


@pytest.fixture
def dify() -> Iterator[LiveDify]:
    with live_dify() as dify:
        yield dify


def _titles(server: RunningServer) -> list[bytes]:
    family = [psutil.Process(server.program.pid), *server.program.workers()]
    folders = [Path(f"/proc/{process.pid}") for process in family]
    files = [file for folder in folders for file in (folder / "cmdline", *folder.glob("task/*/comm"))]
    return [file.read_bytes() for file in files]


@pytest.mark.parametrize("kind", [{}, {"GUNICORN_THREADS": "1"}, {"GUNICORN_WORKER_CLASS": "gevent"}])
def test_no_canary_is_in_a_title(dify: LiveDify, kind: dict[str, str]) -> None:
    dify.answer = until_stopped(dify)
    secrets = {"AUTH_MODE": "keys", "API_KEYS": f"anna:{KEY}", "ADMIN_API_KEY": ADMIN}
    table = json.dumps({"bot": {"api_key": APP, "mode": "chat"}})
    with running_server(dify, MODEL_CONFIG=table, **secrets, **kind) as server, server.client() as client:
        body = json.dumps(chat_shape(PROMPT))
        client.send(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {KEY}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        client.read_until(b"la ")

        titles = _titles(server)

    assert sum(b"gunicorn" in title for title in titles) >= 3
    assert not [title for title in titles if b"canary" in title]
