"""An upstream answer that arrives by a timetable, in a fake clock's time."""

from collections import deque
from collections.abc import Iterable

from opendify.dify.exchange import Head
from tests.fakes.clocks import FakeClock

STREAM_HEAD = Head(200, "text/event-stream", None)
Arrival = Head | bytes | Exception | None


class ScheduledExchange:
    """Hands out what `arrivals` hold, each at its time, counted from the start; then silence."""

    def __init__(self, clock: FakeClock, arrivals: Iterable[tuple[float, Arrival]] = ()) -> None:
        self._fake_clock = clock
        began_at = clock()
        self._arrivals = deque((began_at + at, item) for at, item in arrivals)
        self.aborted = False
        self.was_sent = True

    def take(self, timeout_seconds: float) -> list[Head | bytes | None]:
        clock, arrivals = self._fake_clock, self._arrivals
        wake_at = clock() + max(0.0, timeout_seconds)
        if not arrivals or arrivals[0][0] > wake_at:
            clock.now = wake_at
            return []
        clock.now = max(clock(), arrivals[0][0])
        items: list[Head | bytes | None] = []
        while arrivals and arrivals[0][0] <= clock():
            item = arrivals[0][1]
            if isinstance(item, Exception):
                if items:
                    return items
                arrivals.popleft()
                raise item
            items.append(item)
            arrivals.popleft()
        return items

    def forget_client(self) -> None:
        return

    def abort(self) -> None:
        self.aborted = True
