"""The threads of a worker that answer requests."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

Work = Callable[[], None]


class Answerers(Protocol):
    """Who does a worker's work beside its main loop."""

    def submit(self, work: Work) -> None:
        """Have `work`, which raises nothing, done by whoever is free next."""
        ...

    @property
    def are_wanted(self) -> bool:
        """Whether there is work that waits for somebody to be free."""
        ...


class AnsweringThreads:
    """Threads that are begun as they are needed, and live as long as their worker.

    Who rested last works next, and nobody else wakes up: Python's own executor wakes a second
    thread for each piece of work, to find nothing to do.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._resting: list[_Seat] = []
        self._waiting: deque[Work] = deque()
        self._is_over = False

    def submit(self, work: Work) -> None:
        """Have `work`, which raises nothing, done by a thread: the next one that is free.

        Raises:
            RuntimeError: There is no thread, and the system allows none.
        """
        with self._lock:
            if self._resting:
                self._resting.pop().take(work)
                return
            if len(self._threads) == self._most or not self._begin_thread(work):
                self._waiting.append(work)

    @property
    def are_wanted(self) -> bool:
        """Whether there is work that waits for a free thread."""
        return bool(self._waiting)

    @property
    def resting(self) -> int:
        """How many threads have nothing to do."""
        return len(self._resting)

    def end(self) -> None:
        """Return when all that was submitted is done, and the threads have ended."""
        with self._lock:
            self._is_over = True
            while self._resting:
                self._resting.pop().take(None)
        for thread in self._threads:
            thread.join()

    def _begin_thread(self, work: Work) -> bool:
        # The interpreter would wait for others before `end` could be called.
        thread = threading.Thread(target=self._serve, args=(work,), daemon=True)
        try:
            thread.start()
        except RuntimeError:
            if not self._threads:
                raise
            return False
        self._threads.append(thread)
        return True

    def _serve(self, first: Work) -> None:
        seat, work = _Seat(), first
        while True:
            work()
            del work  # What it holds must not live until the next.
            following = self._next(seat)
            if following is None:
                return
            work = following

    def _next(self, seat: "_Seat") -> Work | None:
        with self._lock:
            if self._waiting:
                return self._waiting.popleft()
            if self._is_over:
                return None
            self._resting.append(seat)
        return seat.rest()


class _Seat:
    """Where one thread rests until it is given work."""

    def __init__(self) -> None:
        self._work: Work | None = None
        self._bell = threading.Lock()
        self._bell.acquire()

    def take(self, work: Work | None) -> None:
        self._work = work
        self._bell.release()

    def rest(self) -> Work | None:
        self._bell.acquire()
        work, self._work = self._work, None
        return work
