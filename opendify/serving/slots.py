"""A bulkhead: so many chats at once in each worker that some threads stay free for probes.

A chat takes a slot when its request was read and found good, since a body that drips
in must not hold one; the slot is free again when the answer's last byte left.
"""

import threading
import time
from typing import Final

from opendify.errors import WorkerBusy
from opendify.records import Client, Clock
from opendify.telemetry.instruments import CAPACITY, CHATS
from opendify.waiting import WaitingLine

SLOTS: Final = "opendify-slots"
"""Where the app keeps its slots, among its extensions."""

_SMALLEST_RESERVE: Final = 2
_CHATS_PER_RESERVED: Final = 16


class Slots:
    """The slots of one process: as many as are asked for, until `limit` is called."""

    def __init__(self, *, queue_length: int, queue_seconds: float, clock: Clock = time.monotonic) -> None:
        """At most so many wait for a slot, each for so long, and never in all threads that are kept free."""
        self._queue_length = queue_length
        self._queue_seconds = queue_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._most: int | None = None
        self._taken = 0
        self._line = self._line_of(queue_length)

    @property
    def taken(self) -> int:
        """How many chats go on."""
        return self._taken

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._line)

    def limit(self, capacity: int) -> None:
        """Keep some of the `capacity` requests that this process can serve at once free of chats."""
        reserve = min(max(_SMALLEST_RESERVE, capacity // _CHATS_PER_RESERVED), capacity // 2)
        self._most = capacity - reserve
        CAPACITY.set(self._most)
        self._line = self._line_of(min(self._queue_length, reserve // 2))

    def enter(self, client: Client) -> None:
        """Take a slot, until `leave`.

        Raises:
            WorkerBusy: None became free in time.
            ClientLeft: Nobody waits for the answer any more.
        """
        refusal = WorkerBusy("The server is answering as many requests as it can; please try again.")
        self._line.get(self._take, client, refusal)

    def leave(self) -> None:
        """Free a slot that was entered."""
        with self._lock:
            self._taken -= 1
        CHATS.add(by=-1)
        self._line.nudge()

    def _take(self) -> bool | None:
        with self._lock:
            if self._most is not None and self._taken >= self._most:
                return None
            self._taken += 1
        CHATS.add()
        return True

    def _line_of(self, length: int) -> WaitingLine:
        return WaitingLine(length=length, seconds=self._queue_seconds, clock=self._clock)
