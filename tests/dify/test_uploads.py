"""An upload on a real socket: sent piece by piece, and given up when nobody waits for it."""

import io
import socket
from collections.abc import Callable
from contextlib import closing

import pytest

from opendify.dify.client import DifyClient
from opendify.dify.uploads import Content
from opendify.errors import ClientLeftEarly, DifyTimeout, InternalError
from tests.fakes.clocks import FakeClock
from tests.fakes.files import SentFile
from tests.fakes.listener import Listener, client_of, listening, stall, swallow

CREATED = b'HTTP/1.1 201 CREATED\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{"id":"a"}'


def upload(client: DifyClient, content: bytes, while_waiting: Callable[[], None]) -> str:
    app = client._settings.models[0]
    return client.upload(app, SentFile("a.bin", "text/plain", content), "u", while_waiting=while_waiting)


def test_a_large_file_is_sent_piece_by_piece_with_its_length() -> None:
    pieces: list[int] = []
    heads: list[bytes] = []

    class Counted(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            piece = super().read(size)
            pieces.append(len(piece))
            return piece

    class File(SentFile):
        @property
        def open(self) -> Callable[[], Content]:
            return lambda: Counted(self.content)

    def take_all(listener: Listener, connection: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += connection.recv(65_536)
        heads.append(head)
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        left = length - len(head.partition(b"\r\n\r\n")[2])
        while left:
            left -= len(connection.recv(min(left, 65_536)))
        connection.sendall(CREATED)

    with listening(take_all) as listener, closing(client_of(listener, FakeClock())) as client:
        app = client._settings.models[0]
        assert client.upload(app, File("a.bin", "text/plain", bytes(1_000_000)), "u") == "a"

    assert max(pieces) == 65_536
    assert b"transfer-encoding" not in heads[0].lower()


@pytest.mark.parametrize("dify", [swallow, stall], ids=["while Dify is silent", "while Dify does not read"])
def test_a_client_that_leaves_ends_its_upload(dify: Callable[[Listener, socket.socket], None]) -> None:
    looked_up: list[None] = []

    def leave() -> None:
        looked_up.append(None)
        if len(looked_up) > 2:
            raise ClientLeftEarly("gone")

    with listening(dify) as listener, closing(client_of(listener, FakeClock())) as client:
        with pytest.raises(ClientLeftEarly):
            upload(client, bytes(30_000_000), leave)
        listener.given_up.set()

    assert listener.was_left


def test_a_dify_that_never_answers_is_given_up() -> None:
    clock = FakeClock()

    with listening(swallow) as listener, closing(client_of(listener, clock)) as client:
        with pytest.raises(DifyTimeout):
            upload(client, b"Hi", lambda: clock.advance(1_000))
        listener.given_up.set()

    assert listener.was_left


def test_a_file_that_is_shorter_than_it_said_is_a_failure_and_no_half_file() -> None:
    class Shrunk(SentFile):
        @property
        def bytes(self) -> int:
            return 100

    with listening(swallow) as listener, closing(client_of(listener, FakeClock())) as client:
        app = client._settings.models[0]
        with pytest.raises(InternalError):
            client.upload(app, Shrunk("a.bin", "text/plain", b"Hi"), "u")
