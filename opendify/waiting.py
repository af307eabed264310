"""Waiting for a place: in the order of coming, not for long, and only as long as the client waits too."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from opendify.errors import ClientLeftEarly, RateLimited
from opendify.records import Client, Clock
from opendify.telemetry.instruments import WAITING

# Other processes give places back without a word, and clients leave without one.
_LOOK_AGAIN_SECONDS = 0.02

_Place = TypeVar("_Place")


class WaitingLine:
    """Those in this process who wait for a place of one kind."""

    def __init__(self, *, length: int, seconds: float, clock: Clock = time.monotonic) -> None:
        """So many may wait at once, each for so long."""
        self._length = length
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._line: deque[threading.Event] = deque()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._line)

    def get(self, take: Callable[[], _Place | None], client: Client, refusal: RateLimited) -> _Place:
        """What `take` gives, which must not block; nobody overtakes those who came before.

        Raises:
            RateLimited: `refusal`: too many wait already, or the time is over.
            ClientLeftEarly: Nobody waits for the answer any more.
        """
        if not self._line and (place := take()) is not None:
            return place
        with self._joined(refusal) as turn, _counted():
            until = self._clock() + self._seconds
            while True:
                if client.is_gone():
                    raise ClientLeftEarly("The client closed the connection before its turn came")
                if self._line[0] is turn and (place := take()) is not None:
                    return place
                seconds_left = until - self._clock()
                if seconds_left <= 0:
                    raise refusal
                turn.wait(min(_LOOK_AGAIN_SECONDS, seconds_left))
                turn.clear()

    def nudge(self) -> None:
        """A place may be free: whoever is first looks at once."""
        with self._lock:
            if self._line:
                self._line[0].set()

    @contextmanager
    def _joined(self, refusal: RateLimited) -> Iterator[threading.Event]:
        # Made here and not before: gevent gives threading's classes a new meaning after the fork.
        turn = threading.Event()
        with self._lock:
            if len(self._line) >= self._length:
                raise refusal
            self._line.append(turn)
        try:
            yield turn
        finally:
            with self._lock:
                self._line.remove(turn)
            self.nudge()


@contextmanager
def _counted() -> Iterator[None]:
    WAITING.add()
    try:
        yield
    finally:
        WAITING.add(by=-1)
