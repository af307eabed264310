"""`python -m opendify.healthcheck` tells a container engine by its exit code whether the server lives."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from opendify.healthcheck import find_fault
from tests.packaging.commands import RunCommand


class AnswersByPath(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(int(self.path.removeprefix("/")))
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Keep the test's output clean."""


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), AnswersByPath) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        listening.shutdown()
        thread.join()


def test_a_server_that_answers_is_well(server: str) -> None:
    assert find_fault(f"{server}/200") is None


def test_a_server_that_answers_with_an_error_is_not_well(server: str) -> None:
    assert find_fault(f"{server}/503") == f"{server}/503: HTTP Error 503: Service Unavailable"


def test_a_server_that_is_not_there_is_not_well(free_port: int) -> None:
    fault = find_fault(f"http://127.0.0.1:{free_port}/health/live")

    assert fault is not None
    assert "refused" in fault


def test_a_configured_proxy_is_not_asked(
    server: str, monkeypatch: pytest.MonkeyPatch, free_port: int
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port}")

    assert find_fault(f"{server}/200") is None


def test_the_exit_code_tells(server: str, tools: Path, run_command: RunCommand) -> None:
    healthy = run_command(tools / "python", "-m", "opendify.healthcheck", f"{server}/200")
    unhealthy = run_command(tools / "python", "-m", "opendify.healthcheck", f"{server}/500")

    assert healthy.returncode == 0
    assert unhealthy.returncode == 1
    assert unhealthy.stderr == f"{server}/500: HTTP Error 500: Internal Server Error\n"
