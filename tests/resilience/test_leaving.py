"""Clients that go away, in every way that they can: the slot is free at once, and Dify is told to stop."""

import json
import time
from collections.abc import Callable, Iterator

import pytest

from tests.fakes.frames import END, IDS, PING, message
from tests.fakes.live_dify import LiveDify, Script, Wire, live_dify, whole
from tests.fakes.waiting import wait_until
from tests.resilience.server import BareClient, RunningServer, running_server

# The rule is half a second; a loaded machine may take its time.
AT_ONCE_SECONDS = 1.0

Way = Callable[[LiveDify], Script]


def talks(dify: LiveDify) -> Script:
    """A Dify that talks until it is stopped."""

    def script(wire: Wire) -> None:
        stops_before = len(dify.stops)
        wire.head()
        while len(dify.stops) == stops_before and not wire.hold(0.05):
            wire.chunk(message("la "))
        wire.chunk(END)
        wire.end()

    return script


def falls_silent(dify: LiveDify) -> Script:
    """A Dify that says one word, and then nothing until it is stopped."""

    def script(wire: Wire) -> None:
        stops_before = len(dify.stops)
        wire.head()
        wire.chunk(message("la "))
        wait_until(lambda: len(dify.stops) > stops_before, 5)
        wire.chunk(END)
        wire.end()

    return script


def thinks_first(dify: LiveDify) -> Script:
    """A Dify that takes its time before the first event, in which it tells the task."""

    def script(wire: Wire) -> None:
        stops_before = len(dify.stops)
        wire.head()
        wire.chunk(PING)
        wire.hold(1.0)
        wire.chunk(message("la "))
        wait_until(lambda: len(dify.stops) > stops_before, 5)
        wire.chunk(END)
        wire.end()

    return script


@pytest.fixture(scope="module")
def dify() -> Iterator[LiveDify]:
    with live_dify() as dify:
        yield dify


# One worker with a slot for one chat: one that is answered tells that the slot was free.
_ONE_SLOT = {"GUNICORN_WORKERS": "1", "GUNICORN_THREADS": "3", "QUEUE_LENGTH": "0"}
KINDS = {
    "sockets": _ONE_SLOT,
    "httpx": {**_ONE_SLOT, "DIFY_TRANSPORT": "httpx"},
    "gevent": {"GUNICORN_WORKERS": "1", "GUNICORN_WORKER_CLASS": "gevent"},
}


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest, dify: LiveDify) -> Iterator[RunningServer]:
    with running_server(dify, **KINDS[request.param]) as server:
        yield server


def leave_a_chat(server: RunningServer, dify: LiveDify, way: Way, *, streams: bool, with_reset: bool) -> None:
    runs_before = len(dify.runs)
    dify.answer = way(dify)
    with server.client() as client:
        client.ask(streams=streams)
        if streams and way is not thinks_first:
            client.read_until(b"la ")
        assert wait_until(lambda: len(dify.runs) > runs_before)
        client.leave(with_reset=with_reset)


def seconds_until_a_slot_is_free(server: RunningServer) -> float:
    began_at = time.monotonic()
    assert wait_until(lambda: server.chat().status_code == 200, 10)
    return time.monotonic() - began_at


@pytest.mark.parametrize("with_reset", [False, True], ids=["closes", "resets"])
@pytest.mark.parametrize("streams", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("way", [talks, falls_silent, thinks_first], ids=lambda way: way.__name__)
def test_a_client_that_leaves_frees_its_slot_and_stops_its_run(
    server: RunningServer, dify: LiveDify, way: Way, streams: bool, with_reset: bool
) -> None:
    stops_before = len(dify.stops)
    leave_a_chat(server, dify, way, streams=streams, with_reset=with_reset)
    left_run = dify.runs[-1]

    dify.answer = whole
    assert seconds_until_a_slot_is_free(server) < AT_ONCE_SECONDS

    until_known = 1.0 if way is thinks_first else 0.0
    assert wait_until(lambda: len(dify.stops) > stops_before, AT_ONCE_SECONDS + until_known)
    stop = dify.stops[stops_before]
    assert stop.path == f"/v1/chat-messages/{IDS['task_id']}/stop"
    assert stop.body == {"user": left_run.body["user"]}


def test_clients_that_leave_in_crowds_leave_nothing_behind(server: RunningServer, dify: LiveDify) -> None:
    def never_ends(wire: Wire) -> None:
        wire.head()
        wire.chunk(message("la "))
        wire.hold(10)

    dify.answer = never_ends
    stops_before = len(dify.stops)
    answered = 0
    for _ in range(30):
        with server.client() as client:
            client.ask()
            if b" 200 " in client.read_until(b"\r\n\r\n"):
                answered += 1
    assert answered
    assert wait_until(lambda: len(dify.stops) == stops_before + answered, 10)

    dify.answer = whole
    assert seconds_until_a_slot_is_free(server) < AT_ONCE_SECONDS


def test_a_client_that_says_more_while_it_waits_has_not_left(server: RunningServer, dify: LiveDify) -> None:
    def slowly(wire: Wire) -> None:
        wire.head()
        wire.hold(0.7)
        wire.chunk(message("Hello") + END)
        wire.end()

    dify.answer = slowly
    stops_before = len(dify.stops)
    with BareClient(server.port) as client:
        client.ask()
        client.get("/v1/models")
        assert b"Hello" in client.read_until(b"[DONE]")
        assert json.loads(client.read_until(b'"object":"list"').split(b"\r\n\r\n")[-1])["data"]
    assert len(dify.stops) == stops_before
