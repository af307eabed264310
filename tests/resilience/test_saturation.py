"""More chats than the server has slots: who is answered, who is refused, and that probes never wait."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest

from tests.fakes.frames import END, message
from tests.fakes.live_dify import LiveDify, Wire, live_dify
from tests.resilience.probing import probing
from tests.resilience.server import BareClient, RunningServer, running_server

# In practice they take some milliseconds; a loaded machine may take its time.
PROBE_SECONDS = 0.5


class PatientDify:
    """A Dify whose answers end when the test says so."""

    def __init__(self, dify: LiveDify) -> None:
        self.dify = dify
        self.finish = threading.Event()
        dify.answer = self._answer

    def _answer(self, wire: Wire) -> None:
        wire.head()
        wire.chunk(message("Hel"))
        self.finish.wait(30)
        wire.chunk(message("lo") + END)
        wire.end()


@pytest.fixture
def patient() -> Iterator[PatientDify]:
    with live_dify() as dify:
        yield PatientDify(dify)


@contextmanager
def asking(server: RunningServer, count: int) -> Iterator[list[BareClient]]:
    """So many clients at once, each with a stream."""
    with ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(count)]
        for client in clients:
            client.ask()
        yield clients


def status_of(client: BareClient) -> int:
    """Its answer's status; one that was refused hangs up, as clients do."""
    status = int(client.read_until(b"\r\n\r\n").split()[1])
    if status != 200:
        client.read_to_end()
        client.leave()
    return status


def statuses(clients: Sequence[BareClient]) -> Counter[int]:
    with ThreadPoolExecutor(len(clients)) as pool:
        return Counter(pool.map(status_of, clients))


def answered_with(status: int, clients: Sequence[BareClient]) -> list[BareClient]:
    return [client for client in clients if client.received.split()[1] == b"%d" % status]


def assert_all_whole(clients: Sequence[BareClient]) -> None:
    for client in clients:
        assert client.read_until(b"data: [DONE]")


def test_one_worker_answers_as_many_as_it_has_slots_and_refuses_the_others_at_once(
    patient: PatientDify,
) -> None:
    told = {"GUNICORN_WORKERS": "1", "GUNICORN_THREADS": "16", "QUEUE_SECONDS": "0"}
    with running_server(patient.dify, **told) as server:
        with probing(server.port) as probes, asking(server, 3 * 14) as clients:
            assert statuses(clients) == {200: 14, 429: 28}
            for client in answered_with(429, clients):
                head = client.received.partition(b"\r\n\r\n")[0].lower()
                assert b"\r\nconnection: close" in head
                assert b"\r\nretry-after: " in head
            patient.finish.set()
            assert_all_whole(answered_with(200, clients))
        assert probes.failures == []
        assert probes.percentile(0.99) < PROBE_SECONDS, probes
        assert len(patient.dify.runs) == 14
        patient.finish.clear()
        with asking(server, 14) as clients:
            assert statuses(clients) == {200: 14}, "a slot was lost"
            patient.finish.set()
            assert_all_whole(clients)
