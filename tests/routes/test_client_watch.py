"""Whether the client is still there, asked of its socket."""

import socket
from collections.abc import Iterator

import pytest

from opendify.serving.client_watch import client_of
from tests.fakes.waiting import wait_until


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Our end, and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
        with client, ours:
            yield ours, client


@pytest.mark.parametrize("key", ["gunicorn.socket", "werkzeug.socket"])
def test_a_client_that_waits_is_there_and_one_that_closed_is_not(
    pair: tuple[socket.socket, socket.socket], key: str
) -> None:
    ours, client = pair
    is_gone = client_of({key: ours}).is_gone
    assert not is_gone()

    client.close()

    assert wait_until(is_gone)


def test_bytes_of_a_next_request_are_no_leaving(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, client = pair

    client.sendall(b"GET / HTTP/1.1\r\n")

    assert not wait_until(client_of({"gunicorn.socket": ours}).is_gone, 0.05)


def test_a_client_that_left_behind_unread_bytes_is_gone_too(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, client = pair
    client.sendall(b"GET / HTTP/1.1\r\n")

    client.close()

    assert wait_until(client_of({"gunicorn.socket": ours}).is_gone)


def test_a_socket_that_we_closed_has_no_client(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, _ = pair
    is_gone = client_of({"gunicorn.socket": ours}).is_gone

    ours.close()

    assert is_gone()


@pytest.mark.parametrize("environ", [{}, {"gunicorn.socket": None}, {"werkzeug.socket": "no socket"}])
def test_a_server_that_shows_no_socket_is_believed_to_have_a_client(environ: dict[str, object]) -> None:
    assert not client_of(environ).is_gone()
