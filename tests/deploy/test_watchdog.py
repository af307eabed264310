"""The watchdog restarts what hangs, and does not storm what stays away."""

import json
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import pairwise
from pathlib import Path

import httpx
import pytest

from tests.deploy.supervisor import Supervisor, restarting
from tests.fakes.programs import PROJECT
from tests.fakes.waiting import wait_until
from tests.stores.servers import free_port

SCRIPT = PROJECT / "deploy/scripts/watchdog.sh"


class Webhook:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                hook.messages.append(told["text"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()


@contextmanager
def watched(url: str, environment: Mapping[str, str], **variables: str) -> Iterator[subprocess.Popen[str]]:
    """The watchdog looks after `url`, with little patience."""
    told = {"WATCHDOG_INTERVAL": "0.3", "WATCHDOG_TIMEOUT": "2", "WATCHDOG_FAILURES": "2", **variables}
    with subprocess.Popen(
        [SCRIPT, "opendify", url], env={**environment, **told}, stdout=subprocess.PIPE, text=True
    ) as watchdog:
        try:
            yield watchdog
        finally:
            watchdog.terminate()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_a_hung_server_is_restarted_once_and_one_message_is_sent(tmp_path: Path) -> None:
    supervisor, hook = Supervisor(PROJECT, tmp_path), Webhook()
    with restarting(supervisor, tmp_path) as environment:
        supervisor.start()
        assert wait_until(lambda: answers(supervisor.url), 40), supervisor.log
        with watched(supervisor.url, environment, WATCHDOG_WEBHOOK=hook.url, WATCHDOG_PAUSE="60"):
            for process in supervisor.family():
                process.send_signal(signal.SIGSTOP)

            assert wait_until(lambda: len(hook.messages) == 2, 60), (hook.messages, supervisor.log)

        assert hook.messages == [
            "opendify does not answer and is restarted",
            "opendify answers again after 1 restart(s)",
        ]
        assert (supervisor.restarts, answers(supervisor.url)) == (1, True)
    hook.server.shutdown()
    hook.server.server_close()


def test_pauses_grow_while_restarts_do_not_help(tmp_path: Path) -> None:
    (tmp_path / "restart.sh").write_text(f'#!/bin/sh\ndate +%s.%N >>"{tmp_path}/moments"\n')
    (tmp_path / "restart.sh").chmod(0o755)
    moments = tmp_path / "moments"
    environment = {"PATH": "/usr/bin:/bin", "OPENDIFY_RESTART": str(tmp_path / "restart.sh")}

    with watched(f"http://127.0.0.1:{free_port()}", environment, WATCHDOG_PAUSE="1", WATCHDOG_MOST_PAUSE="4"):
        assert wait_until(lambda: moments.exists() and len(moments.read_text().split()) == 4, 60)

    _, second, third = (
        later - earlier for earlier, later in pairwise(map(float, moments.read_text().split()))
    )
    # Up to a whole second is missing, since the shell counts whole ones; the looks in between are more.
    assert second > 1.5
    assert third > 3.5
