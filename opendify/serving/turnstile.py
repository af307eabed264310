"""Few requests at once begin their work, so that whoever asks for little is answered between them."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from opendify.records import Clock

_Request = TypeVar("_Request")

# Who takes longer to begin waits for something that nobody hears of, and not for the processor.
_BEGINNING_SECONDS: Final = 0.1
_LONGEST_WAIT_SECONDS: Final = 3.0


class Turnstile(Generic[_Request]):
    """Lets requests through in their order, a few at once, until each waits for somebody or is answered.

    A hundred threads that begin at once take turns at the interpreter, and everybody else's turn
    comes after all of theirs.
    """

    def __init__(
        self, most_at_once: int, on_free: Callable[[], object], clock: Clock = time.monotonic
    ) -> None:
        """`on_free` is called, by whichever thread ends its turn, when there may be a `next`."""
        self._most_at_once = most_at_once
        self._on_free = on_free
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: deque[tuple[float, _Request]] = deque()
        self._beginning: dict[_Request, float] = {}

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def join(self, request: _Request) -> None:
        """Wait behind all others."""
        self._waiting.append((self._clock(), request))

    def next(self) -> _Request | None:
        """Who may begin now; None while nobody waits, or enough begin. Asked by one thread only."""
        if not self._waiting:
            return None
        with self._lock:
            now = self._clock()
            if self._beginning:
                self._forget_slow(now)
            joined_at, request = self._waiting[0]
            if len(self._beginning) >= self._most_at_once and now < joined_at + _LONGEST_WAIT_SECONDS:
                return None
            self._waiting.popleft()
            self._beginning[request] = now
            return request

    def _forget_slow(self, now: float) -> None:
        for request, began_at in list(self._beginning.items()):
            if now < began_at + _BEGINNING_SECONDS:
                return
            del self._beginning[request]

    def end(self, request: _Request) -> None:
        """It does not take the processor's time any more; any thread may say so, and again."""
        if request not in self._beginning:
            return
        with self._lock:
            was_beginning = self._beginning.pop(request, None) is not None
        if was_beginning and self._waiting:
            self._on_free()
