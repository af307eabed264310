"""Whether a store answers, asked seldom and never waited for long: what readiness probes need."""

import threading
import time

from opendify.records import Clock
from opendify.stores.base import ConversationStore, StoreUnavailable

WAIT_SECONDS = 1.5
_KEEP_SECONDS = 1.0


class StoreProbe:
    """Asks in a thread of its own, one at a time, and keeps the answer for a second.

    A store may need many seconds to find out that it is down; whoever asks meanwhile
    waits for the rest of `wait_seconds` and then takes it for unreachable. `clock` is
    a monotonic one.
    """

    def __init__(
        self, store: ConversationStore, *, clock: Clock = time.monotonic, wait_seconds: float = WAIT_SECONDS
    ) -> None:
        self._store = store
        self._clock = clock
        self._wait_seconds = wait_seconds
        self._lock = threading.Lock()
        self._asked: _Question | None = None

    def is_reachable(self) -> bool:
        """Whether the store answered, now or a moment ago."""
        with self._lock:
            asked, now = self._asked, self._clock()
            if asked is None or (asked.answered.is_set() and now >= asked.answered_at + _KEEP_SECONDS):
                self._asked = asked = _Question(self._store, self._clock)
                threading.Thread(target=asked.ask, name="store-probe", daemon=True).start()
        asked.answered.wait(max(0.0, asked.began_at + self._wait_seconds - now))
        return asked.is_reachable


class _Question:
    def __init__(self, store: ConversationStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self.began_at = clock()
        self.answered_at = 0.0
        self.answered = threading.Event()
        self.is_reachable = False

    def ask(self) -> None:
        try:
            self._store.ping()
            self.is_reachable = True
        except StoreUnavailable:
            self.is_reachable = False
        finally:
            self.answered_at = self._clock()
            self.answered.set()
