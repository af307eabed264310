"""A client that goes away, on real sockets: Dify is told to stop, and nothing goes on."""

import contextlib
import json
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from opendify.app import create_app
from tests.fakes.frames import END, IDS, PING, message
from tests.fakes.live_dify import LiveDify, Script, Wire, live_dify
from tests.fakes.served_app import served
from tests.fakes.settings import make_settings
from tests.fakes.transports import real_transports
from tests.fakes.waiting import NewThreads, wait_until


class Client:
    """A client on a bare socket, which can leave without a word."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self._socket = socket.create_connection((address.hostname, address.port), 5)

    def ask(self, *, streams: bool) -> None:
        shape = {
            "model": "bot",
            "stream": streams,
            "messages": [{"role": "user", "content": "Hi"}],
            "user": "anna",
        }
        body = json.dumps(shape).encode()
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        self._socket.sendall(head % len(body) + body)

    def read_until(self, text: bytes) -> None:
        seen = b""
        while text not in seen:
            piece = self._socket.recv(65_536)
            assert piece, seen
            seen += piece

    def leave(self) -> None:
        self._socket.close()


@pytest.fixture
def dify() -> Iterator[LiveDify]:
    with live_dify() as dify:
        yield dify


@contextlib.contextmanager
def visiting(dify: LiveDify, new_run_threads: NewThreads) -> Iterator[Client]:
    """A client of the app; when it has gone, nothing may still work for it."""
    table = {"bot": {"api_key": "app-bot", "api_base": dify.base_url, "mode": "chat"}}
    with real_transports() as transport:
        app = create_app(make_settings(table), transport=transport)
        with served(app) as url:
            client = Client(url)
            try:
                yield client
            finally:
                client.leave()
                assert wait_until(lambda: not new_run_threads()), (
                    "something still works for a run that was left"
                )


def _talks_until_it_is_stopped(dify: LiveDify) -> Script:
    def script(wire: Wire) -> None:
        wire.head()
        while not dify.stops and not wire.hold(0.05):
            wire.chunk(message("la "))
        wire.chunk(END)
        wire.end()

    return script


def _goes_silent_for_a_while(wire: Wire) -> None:
    wire.head()
    wire.chunk(message("Hel"))
    wire.hold(1.0)
    wire.chunk(END)
    wire.end()


def test_a_stream_that_is_left_while_dify_talks_is_stopped(
    dify: LiveDify, new_run_threads: NewThreads
) -> None:
    dify.answer = _talks_until_it_is_stopped(dify)
    with visiting(dify, new_run_threads) as client:
        client.ask(streams=True)
        client.read_until(b"la ")

        client.leave()

        assert wait_until(lambda: dify.stops, 1.0)
        assert dify.stops[0].path == f"/v1/chat-messages/{IDS['task_id']}/stop"
        assert dify.stops[0].body == {"user": dify.runs[0].body["user"]}
        assert "anna" in dify.stops[0].body["user"]
    assert len(dify.stops) == 1


def test_a_stream_that_is_left_while_dify_is_silent_is_stopped_within_half_a_second(
    dify: LiveDify, new_run_threads: NewThreads
) -> None:
    dify.answer = _goes_silent_for_a_while
    with visiting(dify, new_run_threads) as client:
        client.ask(streams=True)
        client.read_until(b"Hel")

        client.leave()

        assert wait_until(lambda: dify.stops, 0.75)


def test_a_whole_answer_that_nobody_waits_for_is_stopped(dify: LiveDify, new_run_threads: NewThreads) -> None:
    dify.answer = _talks_until_it_is_stopped(dify)
    with visiting(dify, new_run_threads) as client:
        client.ask(streams=False)
        assert wait_until(lambda: dify.runs)

        client.leave()

        assert wait_until(lambda: dify.stops, 0.75)


def test_a_stream_that_was_read_to_its_end_is_not_stopped(
    dify: LiveDify, new_run_threads: NewThreads
) -> None:
    def answer(wire: Wire) -> None:
        wire.head()
        wire.chunk(PING + message("Hel"))
        wire.chunk(message("lo") + END)
        wire.end()

    dify.answer = answer
    with visiting(dify, new_run_threads) as client:
        client.ask(streams=True)
        client.read_until(b"[DONE]")
        client.leave()
    assert dify.stops == []
