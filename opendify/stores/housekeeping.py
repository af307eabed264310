"""Forgets conversations that are too old or too many, now and then, beside the requests."""

import threading
from collections.abc import Callable

from opendify.records import Clock
from opendify.stores.forgiving import ForgivingStore

_INTERVAL_SECONDS = 600.0


class Housekeeping:
    """Told of every request, it cleans up at most every ten minutes, in a thread of its own."""

    def __init__(
        self,
        store: ForgivingStore,
        *,
        ttl_seconds: float,
        most: int,
        now: Clock,
        more: Callable[[], object] = lambda: None,
    ) -> None:
        """`now` is Unix time; `more` is done on the same occasion."""
        self._store = store
        self._ttl_seconds = ttl_seconds
        self._most = most
        self._now = now
        self._more = more
        self._due_at = now()
        self._lock = threading.Lock()

    def remind(self) -> None:
        """Clean up if it is time; never waits."""
        if self._now() < self._due_at or not self._lock.acquire(blocking=False):
            return
        try:
            if self._now() < self._due_at:
                return
            self._due_at = self._now() + _INTERVAL_SECONDS
        finally:
            self._lock.release()
        threading.Thread(target=self._clean_up, name="housekeeping", daemon=True).start()

    def _clean_up(self) -> None:
        self._store.clean_up(updated_before=self._now() - self._ttl_seconds, most=self._most)
        self._more()
