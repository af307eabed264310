"""Signals, crashes and recycling with answers in flight: they end whole or say why not; nothing hangs."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from opendify.stores.opening import open_store
from tests.fakes.frames import read_frames
from tests.fakes.live_dify import LiveDify, live_dify
from tests.fakes.openai_errors import assert_error_object
from tests.fakes.programs import environment_of
from tests.fakes.waiting import wait_until
from tests.resilience.answers import lasting, until_stopped
from tests.resilience.server import BareClient, RunningServer, running_server

THREADED: Mapping[str, str] = {}
PLAIN = {"GUNICORN_THREADS": "1", "GUNICORN_WORKERS": "3"}
GEVENT = {"GUNICORN_WORKER_CLASS": "gevent"}
KINDS = pytest.mark.parametrize(
    "kind",
    [
        pytest.param(THREADED, id="threaded"),
        pytest.param(PLAIN, id="plain"),
        pytest.param(GEVENT, id="gevent"),
    ],
)
# Answers may go on for three quarters of it.
SHORT = {"GUNICORN_GRACEFUL_TIMEOUT": "4"}


@pytest.fixture
def dify() -> Iterator[LiveDify]:
    with live_dify() as dify:
        yield dify


def begin_stream(server: RunningServer, stack: ExitStack) -> BareClient:
    """A client that has heard the first words of its answer."""
    client = stack.enter_context(server.client())
    client.ask()
    client.read_until(b"la ")
    return client


def body_of(response: bytes) -> bytes:
    """A chunked response's body."""
    _, _, rest = response.partition(b"\r\n\r\n")
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body, rest = body + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return body


def assert_was_cut_short(client: BareClient) -> None:
    """Its stream ended in order, with an error and without `[DONE]`."""
    frames = read_frames([body_of(client.read_until(b"\r\n0\r\n\r\n"))])
    assert_error_object(frames[-1], 503, "draining")
    assert "[DONE]" not in frames


def ends_whole(client: BareClient) -> bool:
    """Whether its stream comes to the end of an answer, or just breaks off."""
    try:
        while not client.received.endswith(b"\r\n0\r\n\r\n"):
            piece = client.socket.recv(65_536)
            if not piece:
                return False
            client.received += piece
    except ConnectionResetError:
        return False
    return b"data: [DONE]" in client.received


def conversations_are_free(server: RunningServer) -> bool:
    """Whether no turn holds a conversation any more."""
    store = open_store("sqlite:///data/conversations.db", server.data_dir)
    try:
        now = time.time()
        return all(
            store.claim(each.id, claim="looking", now=now, until=now + 1) is not None
            for each in store.recent(100)
        )
    finally:
        store.close()


def tell_to(command: str, server: RunningServer) -> None:
    """As an operator does, beside the server."""
    told = {
        "DATA_DIR": str(server.data_dir),
        "DIFY_API_BASE": "http://127.0.0.1:9/v1",
        "MODEL_CONFIG": '{"bot": "app-bot"}',
    }
    program = Path(sys.executable).with_name("opendify")
    subprocess.run([program, command], env=environment_of(told), check=True, capture_output=True, timeout=60)


def accepts(server: RunningServer) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), 5).close()
    except ConnectionError:
        return False
    return True


@KINDS
def test_an_answer_that_ends_in_time_is_whole(kind: Mapping[str, str], dify: LiveDify) -> None:
    dify.answer = lasting(2.0)
    with ExitStack() as stack, running_server(dify, **kind) as server:
        before_hup = begin_stream(server, stack)
        server.program.signal(signal.SIGHUP)
        assert wait_until(lambda: "Booting" in server.log.partition("hup")[2], 10)
        server.probe_seconds()
        before_term = begin_stream(server, stack)

        server.program.signal(signal.SIGTERM)

        for client in (before_hup, before_term):
            assert b"data: [DONE]" in client.read_until(b"\r\n0\r\n\r\n")
            client.leave()
        assert server.program.exit_code(20) == 0, server.log
        assert dify.stops == []
        assert conversations_are_free(server)


@KINDS
def test_an_answer_that_cannot_end_in_time_says_so_and_is_stopped_at_dify(
    kind: Mapping[str, str], dify: LiveDify
) -> None:
    dify.answer = until_stopped(dify, stops=2)
    with ExitStack() as stack, running_server(dify, **kind, **SHORT) as server:
        streamed = begin_stream(server, stack)
        whole = stack.enter_context(server.client())
        whole.ask(streams=False)
        assert wait_until(lambda: len(dify.runs) == 2, 10)

        server.program.signal(signal.SIGTERM)

        assert_was_cut_short(streamed)
        answer = whole.read_until(b'"draining"')
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"x-should-retry: false" in answer, "a retry would pay for a second run"
        streamed.leave()
        whole.leave()
        assert server.program.exit_code(20) == 0, server.log
        assert len(dify.stops) == 2
        assert "SIGKILL" not in server.log
        assert conversations_are_free(server)


@pytest.mark.parametrize(
    ("order", "kind"),
    [
        pytest.param(signal.SIGINT, THREADED, id="INT-threaded"),
        pytest.param(signal.SIGQUIT, PLAIN, id="QUIT-plain"),
        pytest.param(signal.SIGINT, GEVENT, id="INT-gevent"),
    ],
)
def test_a_quick_end_is_quick_and_still_says_so(
    order: signal.Signals, kind: Mapping[str, str], dify: LiveDify
) -> None:
    dify.answer = until_stopped(dify)
    with ExitStack() as stack, running_server(dify, **kind) as server:
        client = begin_stream(server, stack)
        ordered_at = time.monotonic()

        server.program.signal(order)

        assert_was_cut_short(client)
        assert time.monotonic() - ordered_at < 3, "the graceful timeout is 120 seconds"
        client.leave()
        assert server.program.exit_code(15) == 0, server.log
        assert len(dify.stops) == 1


@KINDS
def test_new_clients_are_refused_at_once_while_the_last_answers_end(
    kind: Mapping[str, str], dify: LiveDify
) -> None:
    dify.answer = until_stopped(dify)
    told = {**kind, "GUNICORN_WORKERS": "1"}
    with ExitStack() as stack, running_server(dify, **told) as server:
        client = begin_stream(server, stack)

        server.program.signal(signal.SIGTERM)

        assert wait_until(lambda: not accepts(server), 5)
        client.received = b""
        client.read_until(b"la ")
        client.leave()
        assert server.program.exit_code(20) == 0, server.log


def test_a_worker_that_is_killed_takes_only_its_own_answers_with_it(dify: LiveDify) -> None:
    dify.answer = lasting(3.0)
    with ExitStack() as stack, running_server(dify) as server:
        clients = [begin_stream(server, stack) for _ in range(6)]
        killed, other = server.program.workers()
        own = len(killed.net_connections("tcp"))

        killed.kill()

        assert wait_until(lambda: len(server.program.workers()) == 2 and not killed.is_running(), 10)
        assert max(server.probe_seconds() for _ in range(10)) < 5
        ends = [ends_whole(client) for client in clients]
        assert ends.count(False) < own, "a listening socket is among its own"
        assert other in server.program.workers()


def test_workers_that_reached_their_most_requests_are_replaced_before_their_answers_end(
    dify: LiveDify,
) -> None:
    dify.answer = until_stopped(dify)
    told = {"GUNICORN_MAX_REQUESTS": "3", "GUNICORN_MAX_REQUESTS_JITTER": "0", **SHORT}
    with ExitStack() as stack, running_server(dify, **told) as server:
        clients = [begin_stream(server, stack) for _ in range(4)]
        waits = [server.probe_seconds() for _ in range(6)]

        assert max(waits) < 3, "no worker was left to accept"
        for client in clients:
            client.leave()
        assert wait_until(lambda: len(server.program.workers()) == 2, 20)


def test_a_worker_that_dies_after_a_hup_is_replaced_while_old_answers_go_on(dify: LiveDify) -> None:
    dify.answer = until_stopped(dify)
    with ExitStack() as stack, running_server(dify, GUNICORN_WORKERS="1") as server:
        client = begin_stream(server, stack)
        (old,) = server.program.workers()
        server.program.signal(signal.SIGHUP)
        assert wait_until(lambda: len(server.program.workers()) == 2, 10)
        (new,) = set(server.program.workers()) - {old}

        new.kill()

        assert wait_until(lambda: len(set(server.program.workers()) - {old, new}) == 1, 10)
        assert server.probe_seconds() < 5
        assert old.is_running()
        client.leave()


def test_an_end_that_follows_a_hup_does_not_wait_for_it(dify: LiveDify) -> None:
    dify.answer = until_stopped(dify)
    with ExitStack() as stack, running_server(dify, GUNICORN_GRACEFUL_TIMEOUT="6") as server:
        client = begin_stream(server, stack)
        server.program.signal(signal.SIGHUP)
        assert wait_until(lambda: len(server.program.workers()) == 4, 10)
        ordered_at = time.monotonic()

        server.program.signal(signal.SIGTERM)

        assert_was_cut_short(client)
        client.leave()
        assert server.program.exit_code(20) == 0, server.log
        assert time.monotonic() - ordered_at < 9


def test_a_drain_file_asks_for_no_more_traffic_and_all_is_served(dify: LiveDify) -> None:
    with running_server(dify) as server:
        ready = f"{server.origin}/health/ready"
        assert httpx.get(ready).status_code == 200

        tell_to("drain", server)

        assert httpx.get(ready).status_code == 503
        assert httpx.get(ready).json() == {"status": "draining"}
        assert httpx.get(f"{server.origin}/health/live").status_code == 200
        assert server.chat("Hello").status_code == 200

        server.program.signal(signal.SIGTERM)
        assert server.program.exit_code() == 0
        server.program.start()

        assert httpx.get(ready).status_code == 200, "a start ends what the last end was prepared with"
        (server.data_dir / "drain").touch()
        tell_to("undrain", server)
        assert httpx.get(ready).status_code == 200
