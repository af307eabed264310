"""Many large requests at once: some are answered, the others told to come again; memory is bounded."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress

from tests.fakes.waiting import wait_until
from tests.resilience.crowds import PatientDify
from tests.resilience.probing import probing
from tests.resilience.server import CHAT_PATH, RunningServer, chat_shape, running_server

MOST_MB = 8
CLIENTS = 40
# Four of the largest are held, each several times over while it is read and sent on; all would be 1,600 MB.
MOST_GROWTH_MB = 500
BODY = json.dumps(chat_shape("x" * (MOST_MB * 900_000))).encode()
HEAD = f"POST {CHAT_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()


def test_large_bodies_are_bounded_in_memory_and_refused_with_words(patient: PatientDify) -> None:
    told = {"GUNICORN_WORKERS": "1", "GUNICORN_THREADS": "64", "MAX_REQUEST_BYTES": str(MOST_MB * 2**20)}
    with running_server(patient.dify, **told) as server:
        with growth_of_memory(server) as growth, probing(server.port) as probes:
            counted = upload_at_once(server, patient)
        is_free_again = upload(server) == 200

    assert set(counted) == {200, 429}
    assert 4 <= counted[200] < CLIENTS // 2
    assert max(growth) < MOST_GROWTH_MB
    assert probes.failures == []
    assert is_free_again, "what was held is still held"


def upload_at_once(server: RunningServer, patient: PatientDify) -> Counter[int]:
    """The statuses; nothing that is held is free before those who are refused know."""
    with ThreadPoolExecutor(CLIENTS) as pool:
        uploads = [pool.submit(upload, server) for _ in range(CLIENTS)]
        wait_until(lambda: sum(map(Future.done, uploads)) + patient.going_on == CLIENTS, 30)
        patient.finish.set()
        return Counter(each.result() for each in uploads)


def upload(server: RunningServer) -> int:
    """The status of a large request, once its answer is over."""
    with server.client() as client:
        # It may be refused before all of it was sent.
        with suppress(OSError):
            client.send(HEAD + BODY)
        status = int(client.read_until(b"\r\n\r\n").split()[1])
        if status == 200:
            assert client.read_until(b"data: [DONE]")
        else:
            assert b"\r\nretry-after: " in client.received.lower()
            assert b'"rate_limit_exceeded"' in client.read_until(b"}}")
        return status


@contextmanager
def growth_of_memory(server: RunningServer) -> Iterator[list[float]]:
    """By how many MB its worker has grown, looked at again and again while the block runs."""
    (worker,) = server.program.workers()
    before = worker.memory_info().rss
    growth: list[float] = []
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(0.02):
            growth.append((worker.memory_info().rss - before) / 1e6)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield growth
    finally:
        is_over.set()
        looking.join()
