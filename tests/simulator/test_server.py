"""The simulator on a real socket, and the command that serves it."""

from __future__ import annotations

import http.client
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from opendify.simulator import SimulatorOptions, create_simulator, serve_in_background

CHAT = "app-demo-chat"


@pytest.fixture
def base_url() -> Iterator[str]:
    options = SimulatorOptions(token_delay_seconds=0.0, naming_delay_seconds=0.0)
    with serve_in_background(create_simulator(options)) as base_url:
        yield base_url


def ask(connection: http.client.HTTPConnection, query: str) -> http.client.HTTPResponse:
    body = {"inputs": {}, "query": query, "response_mode": "streaming", "user": "ann"}
    headers = {"Authorization": f"Bearer {CHAT}", "Content-Type": "application/json"}
    connection.request("POST", "/v1/chat-messages", json.dumps(body), headers)
    return connection.getresponse()


@pytest.fixture
def connection(base_url: str) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(urlsplit(base_url).netloc, timeout=10)
    yield connection
    connection.close()


def test_a_connection_serves_one_stream_after_the_other(connection: http.client.HTTPConnection) -> None:
    first = ask(connection, "Hello").read()
    kept = connection.sock
    second = ask(connection, "Hello").read()

    assert connection.sock is kept
    assert first.count(b"data: ") == second.count(b"data: ")


def test_an_event_is_sent_before_the_next_is_made(connection: http.client.HTTPConnection) -> None:
    answer = ask(connection, "GAP:60 hello")

    assert json.loads(answer.readline().removeprefix(b"data: "))["answer"] == "ECHO"


def test_a_dropped_stream_has_no_last_chunk(connection: http.client.HTTPConnection) -> None:
    answer = ask(connection, "DROP:2 hello")

    with pytest.raises(http.client.IncompleteRead):
        answer.read()


def test_a_chunked_request_body_is_read(connection: http.client.HTTPConnection) -> None:
    body = json.dumps({"inputs": {}, "query": "Hello", "user": "ann", "response_mode": "blocking"}).encode()
    headers = {
        "Authorization": f"Bearer {CHAT}",
        "Content-Type": "application/json",
        "Transfer-Encoding": "chunked",
    }
    connection.request("POST", "/v1/chat-messages", iter([body[:9], body[9:]]), headers, encode_chunked=True)

    assert json.loads(connection.getresponse().read())["answer"] == "ECHO prior=0 images=0 :: Hello"


@pytest.mark.parametrize("stop_signal", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_it_is_told_to_stop(stop_signal: signal.Signals) -> None:
    command = [sys.executable, "-c", "from opendify.cli import main; main()", "simulate", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(stop_signal)

        assert process.wait(timeout=10) == 0
    assert line.startswith("Simulated Dify 1.12.1 at http://127.0.0.1:")
    assert "app-demo-workflow" in line
