"""A file of Dify's on a real socket: read piece by piece, and given up when nobody waits for it."""

import socket
from collections.abc import Callable
from contextlib import closing

import pytest

from opendify.dify.client import DifyClient
from opendify.errors import ClientLeftEarly, DifyError, DifyTimeout
from tests.fakes.clocks import FakeClock
from tests.fakes.listener import Listener, client_of, listening, swallow

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 10\r\n\r\n"


def sending(answer: bytes) -> Callable[[Listener, socket.socket], None]:
    def serve(listener: Listener, connection: socket.socket) -> None:
        connection.sendall(answer)
        swallow(listener, connection)

    return serve


def download(client: DifyClient, while_waiting: Callable[[], None] = lambda: None) -> tuple[str, bytes]:
    content = bytearray()
    kind = client.download(client._settings.models[0], "/files/a?sign=s", content.extend, while_waiting)
    return kind, bytes(content)


def test_a_file_comes_with_the_type_that_dify_says() -> None:
    with listening(sending(HEAD + b"0123456789")) as dify, closing(client_of(dify, FakeClock())) as client:
        assert download(client) == ("image/png", b"0123456789")


@pytest.mark.parametrize("answer", [b"", HEAD, HEAD + b"012"], ids=["silence", "no content", "half of it"])
def test_a_client_that_leaves_ends_its_download(answer: bytes) -> None:
    def leave() -> None:
        raise ClientLeftEarly("gone")

    with (
        listening(sending(answer)) as dify,
        closing(client_of(dify, FakeClock())) as client,
        pytest.raises(ClientLeftEarly),
    ):
        download(client, leave)

    assert dify.was_left


def test_a_dify_that_falls_silent_is_given_up() -> None:
    clock = FakeClock()

    with (
        listening(sending(HEAD)) as dify,
        closing(client_of(dify, clock)) as client,
        pytest.raises(DifyTimeout),
    ):
        download(client, lambda: clock.advance(20))

    assert dify.was_left


def test_what_is_not_there_is_a_failure() -> None:
    missing = b"HTTP/1.1 404 NOT FOUND\r\nContent-Length: 0\r\n\r\n"

    with (
        listening(sending(missing)) as dify,
        closing(client_of(dify, FakeClock())) as client,
        pytest.raises(DifyError),
    ):
        download(client)
