"""The benchmark's mock Dify: it answers as it is told, and knows what became of its runs."""

import json
import socket
import time
from collections.abc import Iterator

import pytest

from benchmarks.answers import Answer
from benchmarks.dialects import DIFY, build_request
from benchmarks.directive import Directive, StampReader
from benchmarks.load import ask_for_runs
from benchmarks.mock_dify import Runs
from benchmarks.targets import Served, mock_dify
from tests.fakes.waiting import wait_until

PACED = Directive(pieces=1_000, least_gap_ms=20, most_gap_ms=20)


@pytest.fixture
def mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with mock_dify(tmp_path_factory.mktemp("mock")) as served:
        yield served


def connect(mock: Served) -> socket.socket:
    return socket.create_connection(("127.0.0.1", mock.door.port), timeout=20)


def begin(mock: Served, connection: socket.socket, directive: Directive) -> bytes:
    """Ask; what comes first."""
    connection.sendall(build_request(mock.door, directive, whole=False))
    return connection.recv(65_536)


def read_on(connection: socket.socket, received: bytes) -> Answer:
    answer = Answer(kept=True)
    answer.feed(received)
    while not answer.is_whole:
        answer.feed(connection.recv(65_536))
    return answer


def test_one_connection_carries_one_answer_after_another(mock: Served) -> None:
    with connect(mock) as connection:
        for pieces in (1, 3_000, 2):
            answer = read_on(connection, begin(mock, connection, Directive(pieces)))
            answer.check(DIFY, whole=False, pieces=pieces)

    assert ask_for_runs(mock.door.port) == Runs(begun=3, whole=3)


def test_a_stopped_run_ends_where_it_is(mock: Served) -> None:
    with connect(mock) as connection, connect(mock) as other:
        received = begin(mock, connection, PACED)
        event = received.partition(b"data: ")[2].partition(b"\n")[0]
        task_id = json.loads(event)["task_id"]

        other.sendall(f"POST {DIFY.path}/{task_id}/stop HTTP/1.1\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        answer = read_on(connection, received)

    assert 1 <= answer.pieces < 1_000
    answer.check(DIFY, whole=False, pieces=answer.pieces)
    assert ask_for_runs(mock.door.port) == Runs(begun=1, stopped=1)


def test_a_run_whose_connection_is_closed_was_aborted(mock: Served) -> None:
    with connect(mock) as connection:
        begin(mock, connection, PACED)
        assert ask_for_runs(mock.door.port).live == 1

    assert wait_until(lambda: ask_for_runs(mock.door.port).live == 0, seconds=10)
    assert ask_for_runs(mock.door.port) == Runs(begun=1, aborted=1)


def test_a_client_that_does_not_read_stops_the_writing(mock: Served) -> None:
    with connect(mock) as connection:
        received = begin(mock, connection, Directive(60_000))
        assert ask_for_runs(mock.door.port).live == 1

        answer = read_on(connection, received)

    answer.check(DIFY, whole=False, pieces=60_000)


def test_stamps_tell_when_a_piece_was_written(mock: Served) -> None:
    with connect(mock) as connection:
        received = begin(mock, connection, Directive(1, stamped=True))

    (age,) = StampReader().feed(received, time.monotonic_ns())
    assert 0 <= age < 5
