"""A client's connection on which nothing lasts, or grows, for ever."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from opendify.serving.client_socket import ClientSocket, PromptSocket

MEGABYTES = b"x" * (8 << 20)


@pytest.fixture(params=[ClientSocket, PromptSocket], ids=["blocks", "never blocks"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[ClientSocket, socket.socket]]:
    """The server's side, and a client with buffers as systems give them."""
    kind: type[ClientSocket] = request.param
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        with closing(client), closing(kind.around(accepted, write_seconds=1.0)) as ours:
            yield ours, client


def test_the_kernel_holds_little_for_a_client_that_does_not_read(
    pair: tuple[ClientSocket, socket.socket],
) -> None:
    ours, _ = pair
    ours.setblocking(False)

    # Without a bound it is megabytes.
    assert 0 < _taken_by(ours) < 800_000


def test_a_client_that_reads_later_gets_all(pair: tuple[ClientSocket, socket.socket]) -> None:
    ours, client = pair
    sender = threading.Thread(target=ours.sendall, args=(MEGABYTES,))
    sender.start()

    with client.makefile("rb") as received:
        assert received.read(len(MEGABYTES)) == MEGABYTES

    sender.join()


def test_a_client_that_never_reads_is_given_up(pair: tuple[ClientSocket, socket.socket]) -> None:
    ours, _ = pair

    with pytest.raises(ConnectionResetError):
        ours.sendall(MEGABYTES)


def _taken_by(sock: socket.socket) -> int:
    """How many bytes it takes before it would block."""
    taken = 0
    with suppress(BlockingIOError):
        while True:
            taken += sock.send(b"x" * 4_096)
    return taken
