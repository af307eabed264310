"""When a stream's opening leaves although nothing was said yet: one moment for all who go by it."""

import math

from opendify.records import Clock


class Opening:
    """Due so many seconds after `begin`.

    From then on a failure is no HTTP status any more, and no other model may take over.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self.due_at = math.inf
        """When it leaves, on the clock; never before `begin`."""

    def begin(self) -> None:
        """Somebody is there who could send it."""
        self.due_at = self._clock() + self._seconds

    @property
    def is_due(self) -> bool:
        """Whether it left, or leaves now."""
        return self.due_at <= self._clock()
