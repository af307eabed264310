"""Clients that have nothing to say hold no restart up, whatever kind of worker they are connected to."""

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack

import pytest

from tests.fakes.live_dify import LiveDify, live_dify
from tests.fakes.waiting import wait_until
from tests.resilience.server import CHAT_PATH, RunningServer, running_server

# Far beyond what a loaded machine takes to end a worker.
LONG = {"GUNICORN_KEEPALIVE": "90", "REQUEST_HEAD_TIMEOUT": "90", "REQUEST_BODY_TIMEOUT": "90"}
SOON_SECONDS = 30.0
HALF_A_HEAD = f"POST {CHAT_PATH} HTTP/1.1\r\nHost: loc".encode()
HALF_A_BODY = f"POST {CHAT_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{{".encode()
KINDS = pytest.mark.parametrize(
    "kind",
    [
        pytest.param({}, id="threaded"),
        pytest.param({"GUNICORN_THREADS": "1"}, id="plain"),
        pytest.param({"GUNICORN_WORKER_CLASS": "gevent"}, id="gevent"),
    ],
)


@pytest.fixture(scope="module")
def dify() -> Iterator[LiveDify]:
    with live_dify() as dify:
        yield dify


def idle_clients(server: RunningServer, stack: ExitStack) -> None:
    """One between two requests, one that has not said a word, and one in the middle of a head."""
    kept, _silent, halting = (stack.enter_context(server.client()) for _ in range(3))
    kept.get("/v1/models")
    kept.read_until(b'"list"')
    halting.send(HALF_A_HEAD)


@KINDS
def test_idle_clients_are_let_go_at_a_restart_and_at_the_end(kind: Mapping[str, str], dify: LiveDify) -> None:
    with ExitStack() as stack, running_server(dify, **kind, **LONG) as server:
        idle_clients(server, stack)
        old = set(server.program.workers())

        server.program.signal(signal.SIGHUP)

        assert wait_until(lambda: not old & set(server.program.workers()), SOON_SECONDS), server.log
        idle_clients(server, stack)

        server.program.signal(signal.SIGTERM)

        assert server.program.exit_code(SOON_SECONDS) == 0, server.log
        assert "SIGKILL" not in server.log


@KINDS
def test_a_body_that_stops_coming_holds_the_end_up_no_longer_than_answers_may(
    kind: Mapping[str, str], dify: LiveDify
) -> None:
    told = {**kind, **LONG, "DRAIN_SECONDS": "1"}
    with running_server(dify, **told) as server, server.client() as client:
        client.send(HALF_A_BODY)
        time.sleep(0.5)  # Nothing shows that a worker has it.

        server.program.signal(signal.SIGTERM)

        assert server.program.exit_code(SOON_SECONDS) == 0, server.log
        assert "SIGKILL" not in server.log


@pytest.mark.parametrize("kind", [{}, {"GUNICORN_WORKER_CLASS": "gevent"}], ids=["threaded", "gevent"])
def test_a_worker_that_has_served_its_last_request_does_not_wait_for_idle_clients(
    kind: Mapping[str, str], dify: LiveDify
) -> None:
    told = {"GUNICORN_WORKERS": "1", "GUNICORN_MAX_REQUESTS": "3", "GUNICORN_MAX_REQUESTS_JITTER": "0"}
    with ExitStack() as stack, running_server(dify, **kind, **told, **LONG) as server:
        old = set(server.program.workers())
        idle_clients(server, stack)
        while "Autorestarting" not in server.log:
            server.probe_seconds()

        assert wait_until(lambda: not old & set(server.program.workers()), SOON_SECONDS), server.log
