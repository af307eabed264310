"""Which worker takes the next client of those who stand before all of them."""

import socket
import time
from collections.abc import Iterator
from typing import Final

from opendify.serving.connection import is_readable, waiting_at
from opendify.serving.spread import Place

_YIELD_SECONDS: Final = 0.0005
_MOST_YIELDS: Final = 8
# When so many stand at the door, nobody waits for the others but who has an eighth of its threads more to do.
_CROWD: Final = 32
_THREADS_A_SHARE: Final = 8
_MOST_AT_ONCE: Final = 32


class Door:
    """Leaves a client to the least busy worker, which the same client woke; of a crowd each takes its share.

    The answers of those who were let in would slow down letting in the others, and a probe may
    stand among these; so a crowd is let in first.
    """

    def __init__(self, place: Place | None, threads: int) -> None:
        """At `place` it sees how busy all are; without one it takes everybody."""
        self._place = place
        self._fair_share = threads // _THREADS_A_SHARE

    def clients_at(self, listener: socket.socket) -> Iterator[None]:
        """One after the other those that this worker is to accept now, if any."""
        for _ in range(_MOST_AT_ONCE):
            is_crowded = waiting_at(listener) > _CROWD and self._has_no_more_than_its_share()
            if not is_crowded and self._others_take_it(listener):
                return
            yield
            if not is_crowded:
                return

    def _has_no_more_than_its_share(self) -> bool:
        return self._place is None or self._place.requests_above_least <= self._fair_share

    def _others_take_it(self, listener: socket.socket) -> bool:
        """Wait a moment for a less busy worker to take it."""
        for _ in range(_MOST_YIELDS):
            if self._place is None or self._place.is_least_busy:
                return False
            time.sleep(_YIELD_SECONDS)
            if not is_readable(listener):
                return True
        # They may hang; nobody waits for ever.
        return False
