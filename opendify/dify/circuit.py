"""Whether a Dify server is worth a try: after several failures in a row it is left alone for a while.

The breakers on PyPI wrap one call each. Ours begins in one place and turns out in another,
since a run is a stream; and of the many that wait only one may try a server that was away.
"""

import math
import threading
from typing import Literal

from opendify.errors import DifyCircuitOpen, GatewayError
from opendify.records import Clock

# While one tries, its answer is near, whatever it will be.
_PROBE_SECONDS = 1.0

Pass = Literal["ordinary", "probe"]
"""On what grounds a call goes out: because all is well, or to find out whether it is again."""


class Circuit:
    """One server's, as this process knows it. It is closed while calls may pass."""

    def __init__(self, *, most_failures: int, open_seconds: float, clock: Clock) -> None:
        """With `most_failures` of 0 it stays closed for ever."""
        self._most_failures = most_failures
        self._open_seconds = open_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._open_until: float | None = None
        self._is_probed = False

    @property
    def is_closed(self) -> bool:
        """Whether everybody may pass."""
        return self._open_until is None

    @property
    def is_untroubled(self) -> bool:
        """Whether nothing is left to be learned from a call that went well."""
        return self._open_until is None and not self._failures

    def enter(self) -> Pass:
        """Let a call pass; of those that come after the time is over, one is the probe.

        Raises:
            DifyCircuitOpen: Not yet, or another one is trying.
        """
        with self._lock:
            if self._open_until is None:
                return "ordinary"
            now = self._clock()
            if now < self._open_until:
                raise self._refusal_until(self._open_until)
            # A probe that never reports back is followed by another.
            self._open_until, self._is_probed = now + self._open_seconds, True
            return "probe"

    def refuse_while_open(self) -> None:
        """Let everybody pass but while calls are refused anyway.

        Raises:
            DifyCircuitOpen: The time is not over.
        """
        with self._lock:
            if self._open_until is not None and self._clock() < self._open_until:
                raise self._refusal_until(self._open_until)

    def report(self, outage: GatewayError | None, by: Pass = "ordinary") -> bool:
        """Learn how a call went that passed; True where that opened the circuit.

        None says that Dify answered, whatever it said. What is neither that nor an
        outage proves nothing. While the circuit is open only the probe counts.
        """
        with self._lock:
            if self._open_until is not None and by != "probe":
                return False
            self._is_probed = self._is_probed and by != "probe"
            if outage is None:
                self._failures, self._open_until = 0, None
            elif outage.is_outage:
                return self._count_failure()
            return False

    def _count_failure(self) -> bool:
        was_closed = self._open_until is None
        self._failures += 1
        if was_closed and not 0 < self._most_failures <= self._failures:
            return False
        self._open_until = self._clock() + self._open_seconds
        return was_closed

    def _refusal_until(self, open_until: float) -> DifyCircuitOpen:
        seconds_left = _PROBE_SECONDS if self._is_probed else open_until - self._clock()
        return DifyCircuitOpen(
            "The app behind this model could not be reached lately; it will be tried again in a moment",
            retry_after_seconds=math.ceil(seconds_left),
        )
