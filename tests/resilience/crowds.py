"""Many clients at once before a Dify whose answers end when the test says so."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

from tests.fakes.frames import END, message
from tests.fakes.live_dify import LiveDify, Wire
from tests.fakes.waiting import wait_until
from tests.resilience.server import BareClient, RunningServer


class PatientDify:
    """Begins every answer at once, and ends it when `finish` is set.

    `most_at_once` is how many went on at the same time.
    """

    def __init__(self, dify: LiveDify) -> None:
        self.dify = dify
        self.finish = threading.Event()
        self.going_on = self.most_at_once = 0
        self._lock = threading.Lock()
        dify.answer = self._answer

    def begin_anew(self) -> None:
        """Wait until nothing goes on any more, and forget it."""
        self.finish.set()
        assert wait_until(lambda: self.going_on == 0, 10)
        self.finish.clear()
        self.most_at_once = 0
        self.dify.asked.clear()

    def _answer(self, wire: Wire) -> None:
        self._count(1)
        try:
            wire.head()
            wire.chunk(message("Hel"))
            while not self.finish.is_set() and not wire.hold(0.05):
                pass
        finally:
            # Before its end is told: the next run may come at once.
            self._count(-1)
        wire.chunk(message("lo") + END)
        wire.end()

    def _count(self, change: int) -> None:
        with self._lock:
            self.going_on += change
            self.most_at_once = max(self.most_at_once, self.going_on)


@contextmanager
def asking(server: RunningServer, count: int) -> Iterator[list[BareClient]]:
    """So many clients at once, each with a stream."""
    with ExitStack() as stack:
        clients = [stack.enter_context(server.client()) for _ in range(count)]
        for client in clients:
            client.ask()
        yield clients


def idle(server: RunningServer) -> RunningServer:
    """The server, once it has noticed that all whom it served have left."""
    assert wait_until(lambda: server.chats_in_flight() == 0, 20)
    return server


def status_of(client: BareClient) -> int:
    """Its answer's status; one that was refused hangs up, as clients do."""
    status = int(client.read_until(b"\r\n\r\n").split()[1])
    if status != 200:
        client.read_until(b"}}")
        client.leave()
    return status


def statuses(clients: Sequence[BareClient]) -> Counter[int]:
    with ThreadPoolExecutor(len(clients)) as pool:
        return Counter(pool.map(status_of, clients))


def can_serve(server: RunningServer, count: int) -> bool:
    """Whether so many who come together are all served; they leave again."""
    with asking(server, count) as clients:
        return statuses(clients) == {200: count}


def answered_with(status: int, clients: Sequence[BareClient]) -> list[BareClient]:
    return [client for client in clients if client.received.split()[1] == b"%d" % status]


def assert_all_whole(clients: Sequence[BareClient]) -> None:
    for client in clients:
        assert client.read_until(b"data: [DONE]")
