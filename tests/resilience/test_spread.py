"""Streams are shared out evenly: no worker runs out of threads while another is idle."""

import contextlib
import threading
from collections.abc import Iterator

import httpx
import psutil
import pytest

from tests.fakes.frames import END, message
from tests.fakes.live_dify import LiveDify, Wire, live_dify
from tests.fakes.waiting import wait_until
from tests.resilience.server import RunningServer, running_server


@pytest.fixture
def enough() -> threading.Event:
    return threading.Event()


@pytest.fixture
def dify(enough: threading.Event) -> Iterator[LiveDify]:
    """One that holds every stream after its first word until it is `enough`."""

    def answer(wire: Wire) -> None:
        wire.head()
        wire.chunk(message("Hello"))
        enough.wait(30)
        wire.chunk(END)
        wire.end()

    with live_dify() as dify:
        dify.answer = answer
        yield dify
        enough.set()


@contextlib.contextmanager
def streams(server: RunningServer, count: int) -> Iterator[None]:
    """So many streams that have begun, and go on."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(count)]
        for client in clients:
            client.ask()
        for client in clients:
            client.read_until(b"Hello")
        yield


def _split(server: RunningServer) -> list[int]:
    """Each worker's clients, fewest first."""
    return sorted(
        sum(each.laddr.port == server.port and bool(each.raddr) for each in worker.net_connections())
        for worker in server.program.workers()
    )


def test_nearly_as_many_streams_as_there_are_threads_all_begin_at_once(dify: LiveDify) -> None:
    with (
        running_server(dify, GUNICORN_WORKERS="4", GUNICORN_THREADS="16") as server,
        streams(server, 44),
    ):
        assert max(server.probe_seconds() for _ in range(20)) < 0.5


def test_a_stock_machine_holds_three_hundred_streams(dify: LiveDify, enough: threading.Event) -> None:
    with running_server(dify, GUNICORN_WORKERS="5", GUNICORN_THREADS="128") as server:
        with streams(server, 300):
            split = _split(server)
            assert sum(split) == 300
            # An even one is 60 each; a worker that gets no processor for a while misses some.
            assert split[-1] - split[0] <= 40, split
            assert max(server.probe_seconds() for _ in range(20)) < 0.5
            enough.set()
        assert wait_until(lambda: not sum(_split(server)), 10)


def takes_connections(worker: psutil.Process, server: RunningServer) -> bool:
    """Whether one that comes now is this worker's; it is kept alive for as long as it is looked for."""
    with httpx.Client(base_url=server.origin) as client:
        client.get("/health/live")
        return len(worker.net_connections()) > 1


def test_a_worker_that_died_is_not_waited_for_and_its_successor_gets_its_share(dify: LiveDify) -> None:
    with running_server(dify, GUNICORN_WORKERS="2", GUNICORN_THREADS="32") as server:
        old, other = server.program.workers()
        with streams(server, 10):
            old.kill()
            assert wait_until(lambda: old not in server.program.workers(), 10)
            assert wait_until(lambda: len(server.program.workers()) == 2, 10)
            successor = server.program.workers()[-1]
            assert wait_until(lambda: takes_connections(successor, server), 20)
            with streams(server, 10):
                assert len(successor.net_connections()) > len(other.net_connections()) / 3
