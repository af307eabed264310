"""Clients that are slow to ask, or read nothing: they cost a connection, and not for ever."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.fakes.frames import END, message
from tests.fakes.live_dify import LiveDify, Wire, live_dify
from tests.fakes.waiting import wait_until
from tests.resilience.probing import probing
from tests.resilience.server import BareClient, RunningServer, running_server

WORKERS, THREADS = 2, 4
# Twice the threads that there are.
ATTACKERS = 2 * WORKERS * THREADS
HEAD_SECONDS = BODY_SECONDS = WRITE_SECONDS = 1
PROBED = ("/v1/models", "/health/live", "/health/ready")
# Most take some milliseconds; but others may be at work beside the tests.
PROBE_SECONDS = 0.5
GIVEN_UP_SECONDS = 30.0
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"

Attack = Callable[[BareClient, int], None]


@pytest.fixture(scope="module")
def dify() -> Iterator[LiveDify]:
    with live_dify() as dify:
        yield dify


@pytest.fixture(scope="module")
def server(dify: LiveDify) -> Iterator[RunningServer]:
    with running_server(
        dify,
        GUNICORN_WORKERS=str(WORKERS),
        GUNICORN_THREADS=str(THREADS),
        REQUEST_HEAD_TIMEOUT=str(HEAD_SECONDS),
        REQUEST_BODY_TIMEOUT=str(BODY_SECONDS),
        CLIENT_WRITE_TIMEOUT=str(WRITE_SECONDS),
        MAX_REQUEST_BYTES="2000000",
    ) as server:
        yield server


def _clients_of(server: RunningServer) -> int:
    """Connections that its workers hold open for clients."""
    return sum(
        connection.laddr.port == server.port and bool(connection.raddr)
        for worker in server.program.workers()
        for connection in worker.net_connections()
    )


@contextlib.contextmanager
def attackers(server: RunningServer, attack: Attack, count: int = ATTACKERS) -> Iterator[list[BareClient]]:
    """Clients that do `attack` with the number of its step again and again, until they are cut off."""
    is_over = threading.Event()
    clients = [server.client(receive_buffer=4_096) for _ in range(count)]
    alive = list(clients)

    def go_on() -> None:
        step = 0
        while alive and not is_over.is_set():
            for client in list(alive):
                try:
                    attack(client, step)
                except OSError:
                    alive.remove(client)
            step += 1
            is_over.wait(0.1)

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield alive
    finally:
        is_over.set()
        thread.join()
        for client in clients:
            client.leave()


def _says_nothing(client: BareClient, step: int) -> None:
    client.socket.settimeout(0.001)
    with contextlib.suppress(TimeoutError):
        if not client.socket.recv(1):
            raise ConnectionResetError


def _drips_its_head(client: BareClient, step: int) -> None:
    client.send(HEAD[step : step + 1] or b"x")


def _drips_its_body(client: BareClient, step: int) -> None:
    client.send(b"{" if step else HEAD + b"Content-Length: 1000\r\n\r\n")


def _drips_its_chunks(client: BareClient, step: int) -> None:
    client.send(b"1\r\n{\r\n" if step else HEAD + b"Transfer-Encoding: chunked\r\n\r\n")


def _asks_for_consent_and_stays_silent(client: BareClient, step: int) -> None:
    if not step:
        client.send(HEAD + b"Content-Length: 1000\r\nExpect: 100-continue\r\n\r\n")
    _says_nothing(client, step)


def _asks_without_ever_reading(client: BareClient, step: int) -> None:
    client.socket.settimeout(0.01)
    with contextlib.suppress(TimeoutError):
        # The answer repeats the path, so that few of them fill what a connection can hold.
        client.send(b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"a" * 3_500) * 100)


ATTACKS = [
    _says_nothing,
    _drips_its_head,
    _drips_its_body,
    _drips_its_chunks,
    _asks_for_consent_and_stays_silent,
    _asks_without_ever_reading,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__.strip("_"))
def test_probes_do_not_notice_clients_that_are_slow_to_ask_and_these_are_given_up(
    attack: Attack, server: RunningServer
) -> None:
    assert wait_until(lambda: not _clients_of(server), GIVEN_UP_SECONDS)
    with attackers(server, attack) as alive:
        with probing(server.port, PROBED) as probes:
            time.sleep(1.0)
        assert not probes.failures
        assert probes.percentile(0.9) < PROBE_SECONDS, probes
        assert server.chat().status_code == 200
        assert wait_until(lambda: not alive, GIVEN_UP_SECONDS)
    assert wait_until(lambda: not _clients_of(server), GIVEN_UP_SECONDS)


def test_more_silent_clients_than_connections_are_for_shut_nobody_out(server: RunningServer) -> None:
    connections = WORKERS * (THREADS + 256) + 100
    with contextlib.ExitStack() as stack:
        for _ in range(connections):
            stack.enter_context(server.client())
        with probing(server.port, PROBED) as probes:
            time.sleep(0.5)
        assert not probes.failures
        assert probes.percentile(0.9) < PROBE_SECONDS, probes
        assert server.chat().status_code == 200


def test_clients_that_never_read_their_answer_are_given_up_and_their_runs_stopped(
    server: RunningServer, dify: LiveDify
) -> None:
    assert wait_until(lambda: not _clients_of(server), GIVEN_UP_SECONDS)
    dify.answer = _talks_until_it_is_left
    stopped = len(dify.stops)
    clients = [server.client(receive_buffer=4_096) for _ in range(3)]
    try:
        for client in clients:
            client.ask()

        with probing(server.port, PROBED) as probes:
            assert wait_until(
                lambda: len(dify.stops) == stopped + len(clients), WRITE_SECONDS + GIVEN_UP_SECONDS
            )
        assert probes.percentile(0.9) < PROBE_SECONDS, probes
        assert wait_until(lambda: not _clients_of(server), GIVEN_UP_SECONDS)
    finally:
        for client in clients:
            client.leave()


def test_a_client_that_reads_slowly_but_reads_gets_all_of_its_answer(
    server: RunningServer, dify: LiveDify
) -> None:
    words = b"".join(message("la " * 100) for _ in range(2_000))

    def answer(wire: Wire) -> None:
        wire.head()
        wire.chunk(words + END)
        wire.end()

    dify.answer = answer
    with server.client(receive_buffer=4_096) as client:
        client.ask()
        # Longer than the limit on the whole, but never that long without any progress.
        until = time.monotonic() + 2 * WRITE_SECONDS
        while time.monotonic() < until:
            client.received += client.socket.recv(16_384)
            time.sleep(0.1)
        assert b"data: [DONE]" in client.read_until(b"\r\n0\r\n\r\n")


def test_a_body_that_comes_slowly_but_in_time_is_answered(server: RunningServer, dify: LiveDify) -> None:
    dify.answer = _answers_at_once
    body = json.dumps({"model": "bot", "messages": [{"role": "user", "content": "x" * 200_000}]}).encode()
    with server.client() as client:
        client.send(HEAD + b"Content-Length: %d\r\n\r\n" % len(body))
        for start in range(0, len(body), 20_000):
            client.send(body[start : start + 20_000])
            time.sleep(0.05)
        assert client.read_until(b"Hello").startswith(b"HTTP/1.1 200 ")


def _talks_until_it_is_left(wire: Wire) -> None:
    wire.head()
    while not wire.hold(0.001):
        wire.chunk(message("la " * 20_000))


def _answers_at_once(wire: Wire) -> None:
    wire.head()
    wire.chunk(message("Hello") + END)
    wire.end()


def test_probes_do_not_wait_behind_hundreds_who_ask_on_and_read_no_answer(dify: LiveDify) -> None:
    with running_server(dify, GUNICORN_WORKERS="1", GUNICORN_THREADS="64") as server:
        with attackers(server, _asks_on_and_reads_nothing, 200) as alive:
            with probing(server.port, PROBED) as probes:
                time.sleep(2.0)
            assert len(alive) == 200
        assert not probes.failures
        assert probes.percentile(0.9) < PROBE_SECONDS, probes


def _asks_on_and_reads_nothing(client: BareClient, step: int) -> None:
    client.socket.settimeout(0.001)
    with contextlib.suppress(TimeoutError):
        client.socket.send(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
    del step


def test_requests_that_were_sent_ahead_are_all_answered_in_order(server: RunningServer) -> None:
    paths = [b"/v1/models/bot", b"/nowhere", b"/health/live"] * 20
    with server.client() as client:
        client.send(b"".join(b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n" % path for path in paths))
        client.send(b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answers = client.read_to_end().split(b"HTTP/1.1 ")[1:]

    assert [answer[:3] for answer in answers] == [b"200", b"404", b"200"] * 20 + [b"200"]
