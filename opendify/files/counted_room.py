"""How much room files take where counting them costs time."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from opendify.files.drafts import NoRoom
from opendify.records import Clock

_COUNT_HOLDS_SECONDS: Final = 60.0


class CountedRoom:
    """Counts at most once a minute, and anew before it refuses.

    What other processes add within that minute may exceed a limit; what this one adds
    never does. `clock` is a monotonic one.
    """

    def __init__(self, count: Callable[[float], int], clock: Clock, refusal: type[NoRoom] = NoRoom) -> None:
        """`count` gives the bytes of all files that have not expired at a Unix time."""
        self._refusal = refusal
        self._count = count
        self._clock = clock
        self._lock = threading.Lock()
        self._counted_at = float("-inf")
        self._counted_bytes = 0
        self._pending_bytes = 0

    @contextmanager
    def taken(self, size: int, *, most_bytes: int, now: float) -> Iterator[None]:
        """So many bytes are added within; if that fails, they were not.

        Raises:
            NoRoom: All files together would be more than `most_bytes`.
        """
        with self._lock:
            self._take(size, most_bytes, now)
        try:
            yield
        except BaseException:
            self._settle(size, 0)
            raise
        self._settle(size, size)

    def _take(self, size: int, most_bytes: int, now: float) -> None:
        is_old = self._clock() >= self._counted_at + _COUNT_HOLDS_SECONDS
        if is_old or self._total(size) > most_bytes:
            self._counted_bytes = self._count(now)
            self._counted_at = self._clock()
        if self._total(size) > most_bytes:
            raise self._refusal(f"{self._total(0)} of {most_bytes} bytes are taken")
        self._pending_bytes += size

    def _total(self, size: int) -> int:
        return self._counted_bytes + self._pending_bytes + size

    def _settle(self, pending_bytes: int, added_bytes: int) -> None:
        with self._lock:
            self._pending_bytes -= pending_bytes
            self._counted_bytes += added_bytes
