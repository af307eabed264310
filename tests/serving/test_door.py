"""A client is left to the least busy worker; of a crowd each takes its share at once."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing

import pytest

from opendify.serving.connection import waiting_at
from opendify.serving.door import Door
from opendify.serving.spread import LoadBoard, Place

THREADS = 16
THEIR_SHARE = 2
CROWD = 40


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=100)) as listener:
        listener.setblocking(False)
        yield listener


@pytest.fixture
def places() -> tuple[Place, Place]:
    """Of a worker, and of one that has nothing to do."""
    board = LoadBoard(2)
    mine, other = board.take_place(), board.take_place()
    assert mine
    assert other
    mine.show(0, 0)
    other.show(0, 0)
    return mine, other


def come(listener: socket.socket, count: int, stack: ExitStack) -> None:
    for _ in range(count):
        stack.enter_context(closing(socket.create_connection(listener.getsockname())))


def let_in(door: Door, listener: socket.socket, place: Place | None, stack: ExitStack) -> int:
    """How many it lets in at once; each is a request more."""
    count = 0
    for _ in door.clients_at(listener):
        client, _ = listener.accept()
        stack.enter_context(closing(client))
        count += 1
        if place:
            place.show(count, 0)
    return count


def test_the_least_busy_worker_takes_one_client_at_a_time(
    listener: socket.socket, places: tuple[Place, Place]
) -> None:
    with ExitStack() as stack:
        come(listener, 3, stack)

        assert let_in(Door(places[0], THREADS), listener, places[0], stack) == 1


def test_a_client_whom_another_worker_takes_is_left_to_it(
    listener: socket.socket, places: tuple[Place, Place]
) -> None:
    mine, _ = places
    mine.show(1, 0)

    # Nobody is there any more when it looks.
    assert list(Door(mine, THREADS).clients_at(listener)) == []


def test_a_client_whom_nobody_else_takes_is_taken_in_the_end(
    listener: socket.socket, places: tuple[Place, Place]
) -> None:
    mine, _ = places
    mine.show(1, 0)
    with ExitStack() as stack:
        come(listener, 1, stack)

        assert let_in(Door(mine, THREADS), listener, None, stack) == 1


def test_of_a_crowd_a_worker_takes_its_share_at_once(
    listener: socket.socket, places: tuple[Place, Place]
) -> None:
    with ExitStack() as stack:
        come(listener, CROWD, stack)

        # One more than its share, and one that nobody else takes.
        assert let_in(Door(places[0], THREADS), listener, places[0], stack) == THEIR_SHARE + 2


def test_who_does_not_know_the_others_takes_a_crowd_until_it_is_none(listener: socket.socket) -> None:
    with ExitStack() as stack:
        come(listener, CROWD, stack)

        assert let_in(Door(None, THREADS), listener, None, stack) == CROWD - 32 + 1


def test_it_is_known_how_many_wait_to_be_accepted(listener: socket.socket) -> None:
    with ExitStack() as stack:
        come(listener, 3, stack)
        listener.accept()[0].close()

        assert waiting_at(listener) == 2
