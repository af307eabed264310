"""Answers that outlive the worker's timeout, on every kind of worker; and a worker that hangs is replaced."""

import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final

import psutil
import pytest

from tests.fakes.frames import END, message
from tests.fakes.live_dify import LiveDify, Script, Wire, live_dify
from tests.fakes.waiting import wait_until
from tests.resilience.server import CHAT_PATH, RunningServer, chat_shape, running_server

# On a machine that is busy with other things a worker may get no turn for seconds.
TIMEOUT: Final = 4
# A worker that says nothing is aborted after the timeout, and killed a second later.
LONGER: Final = 7.0


def _talks_now_and_then(wire: Wire) -> None:
    wire.head()
    for _ in range(10):
        wire.hold(LONGER / 10)
        wire.chunk(message("la "))
    _end(wire)


def _is_silent_before_its_first_byte(wire: Wire) -> None:
    wire.hold(LONGER)
    wire.head()
    _end(wire)


def _is_silent_in_the_middle(wire: Wire) -> None:
    wire.head()
    wire.chunk(message("la "))
    wire.hold(LONGER)
    _end(wire)


def _end(wire: Wire) -> None:
    wire.chunk(message("fine") + END)
    wire.end()


SCRIPTS: Final[tuple[Script, ...]] = (
    _talks_now_and_then,
    _is_silent_before_its_first_byte,
    _is_silent_in_the_middle,
)
# A plain worker serves one client at a time, so each has its own.
KINDS: Final[Mapping[str, Mapping[str, str]]] = {
    "plain": {"GUNICORN_THREADS": "1", "GUNICORN_WORKERS": str(2 * len(SCRIPTS) + 1)},
    "threaded": {"GUNICORN_THREADS": "8", "GUNICORN_WORKERS": "1"},
    "gevent": {"GUNICORN_WORKER_CLASS": "gevent", "GUNICORN_WORKERS": "1"},
}
APP: Final = "tests.fakes.hanging_app:app"
Servers = Mapping[str, tuple[RunningServer, LiveDify]]


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """One of each kind, at work at the same time."""
    with ExitStack() as stack:
        started = {}
        for kind, told in KINDS.items():
            dify = stack.enter_context(live_dify())
            server = stack.enter_context(running_server(dify, app=APP, GUNICORN_TIMEOUT=str(TIMEOUT), **told))
            started[kind] = server, dify
        yield started


def _streams_whole(server: RunningServer) -> bool:
    with server.client() as client:
        client.ask()
        answer = client.read_until(b"\r\n0\r\n\r\n")
    return b"fine" in answer and b"data: [DONE]" in answer


def _answers_whole(server: RunningServer) -> bool:
    return "fine" in server.chat().text


def _takes_a_body_that_drips(server: RunningServer) -> bool:
    body = json.dumps(chat_shape(model="unknown")).encode().ljust(200)
    with server.client() as client:
        client.send(
            f"POST {CHAT_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        for start in range(len(body)):
            client.send(body[start : start + 1])
            time.sleep(LONGER / len(body))
        return b"model_not_found" in client.read_until(b"}}")


def _each_script_once(count: int) -> Script:
    scripts = iter(SCRIPTS * count)
    return lambda wire: next(scripts)(wire)


def test_answers_outlive_the_timeout(servers: Servers) -> None:
    asks: list[tuple[str, Callable[[RunningServer], bool]]] = [
        (kind, ask) for kind in servers for ask in (_streams_whole, _answers_whole) for _ in SCRIPTS
    ]
    asks += [(kind, _takes_a_body_that_drips) for kind in servers]
    before = {kind: server.program.workers() for kind, (server, _) in servers.items()}
    for _, dify in servers.values():
        dify.answer = _each_script_once(2)

    with ThreadPoolExecutor(len(asks)) as pool:
        answered = pool.map(lambda asked: asked[1](servers[asked[0]][0]), asks)

        assert list(zip((kind for kind, _ in asks), answered, strict=True)) == [
            (kind, True) for kind, _ in asks
        ]
    logs = [server.log for server, _ in servers.values()]
    assert {kind: server.program.workers() for kind, (server, _) in servers.items()} == before, logs


# In which ways a request can stop all others of its worker.
HANGS: Final = [("plain", "sleep"), ("plain", "work"), ("threaded", "hold"), ("gevent", "work")]


def test_a_worker_that_hangs_in_a_request_is_replaced(servers: Servers) -> None:
    before = {kind: set(server.program.workers()) for kind, (server, _) in servers.items()}
    wanted = {kind: sum(each == kind for each, _ in HANGS) for kind in servers}

    with ExitStack() as stack:
        for kind, how in HANGS:
            stack.enter_context(servers[kind][0].client()).get(f"/hang/{how}")

        assert wait_until(lambda: _replaced(servers, before) == wanted, 30), _replaced(servers, before)
    for server, _ in servers.values():
        assert server.probe_seconds() < 5


def _replaced(servers: Servers, before: Mapping[str, set[psutil.Process]]) -> dict[str, int]:
    """How many of the workers that were there `before` have a successor."""
    now = {kind: set(server.program.workers()) for kind, (server, _) in servers.items()}
    return {kind: len(now[kind] - before[kind]) for kind in servers if len(now[kind]) == len(before[kind])}


def test_a_thread_that_hangs_takes_no_other_with_it(servers: Servers) -> None:
    server, dify = servers["threaded"]
    dify.answer = _is_silent_in_the_middle
    before = server.program.workers()
    with server.client() as sleeper, server.client() as busy:
        sleeper.get("/hang/sleep")
        busy.get("/hang/work")

        assert _streams_whole(server)
    assert server.program.workers() == before


def test_a_worker_that_is_stopped_is_replaced(servers: Servers) -> None:
    hung = {kind: server.program.workers()[0] for kind, (server, _) in servers.items()}

    for worker in hung.values():
        worker.send_signal(signal.SIGSTOP)

    assert wait_until(lambda: all(_is_replaced(servers[kind][0], hung[kind]) for kind in servers), 20)
    for server, _ in servers.values():
        assert server.probe_seconds() < 5


def _is_replaced(server: RunningServer, hung: psutil.Process) -> bool:
    workers = server.program.workers()
    return bool(workers) and hung not in workers


def test_a_server_of_plain_workers_says_at_start_that_probes_wait(servers: Servers) -> None:
    said = {kind: "probes wait" in server.log for kind, (server, _) in servers.items()}

    assert said == {"plain": True, "threaded": False, "gevent": False}
