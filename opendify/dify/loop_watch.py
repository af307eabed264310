"""A stream's waiting in gevent's loop; imported only where gevent is at work.

gevent's own `poll` makes new watchers and a timer for each wait, and has the kernel told of
all. These live as long as their stream; the kernel hears of them where something changes.
"""

import select
import time
from typing import TYPE_CHECKING, Final

from gevent import get_hub
from greenlet import getcurrent

from opendify.kernel import is_ready

if TYPE_CHECKING:
    from gevent._types import _IoWatcher, _TimerWatcher
    from greenlet import greenlet

_READ: Final = 1
_WRITE: Final = 2


class LoopWatch:
    """See `Watch`.

    A watcher whose event nobody waits for is stopped then, not before: otherwise it would be
    started and stopped for each piece; and left alone it would fire on and on.
    """

    def __init__(self, client_socket: int) -> None:
        self._hub = get_hub()
        self._waiting: greenlet | None = None
        self._file_number = -1
        self._events = 0
        self._dify: _IoWatcher | None = None
        self._dify_is_watched = self._dify_is_ready = False
        self._client: _IoWatcher | None = None
        self._client_moved = False
        self._timer: _TimerWatcher | None = None
        self._timer_is_due_at = 0.0
        if client_socket >= 0:
            self._client = self._hub.loop.io(client_socket, _READ)
            self._client.start(self._on_client)

    def watch(self, file_number: int, events: int) -> None:
        """See `Watch.watch`."""
        if file_number == self._file_number and events == self._events:
            return
        self.unwatch()
        self._file_number, self._events = file_number, events
        bits = (_READ if events & select.POLLIN else 0) | (_WRITE if events & select.POLLOUT else 0)
        self._dify = self._hub.loop.io(file_number, bits)

    def unwatch(self) -> None:
        """See `Watch.unwatch`."""
        if self._dify is not None:
            self._dify.close()
        if self._timer is not None:
            self._timer.close()
        self._dify = self._timer = None
        self._file_number = -1
        self._dify_is_watched = False

    def forget_client(self) -> None:
        """See `Watch.forget_client`."""
        if self._client is not None:
            self._client.close()
            self._client = None
        self._client_moved = False

    def wait(self, seconds: float) -> bool:
        """See `Watch.wait`."""
        if seconds <= 0:
            return self._file_number >= 0 and is_ready(self._file_number, self._events)
        until = time.monotonic() + seconds
        self._dify_is_ready = False
        if self._dify is not None and not self._dify_is_watched:
            self._dify.start(self._on_dify)
            self._dify_is_watched = True
        self._waiting = getcurrent()
        try:
            while not (self._dify_is_ready or self._client_moved) and self._is_woken_by(until):
                self._hub.switch()
        finally:
            self._waiting = None
        self._client_moved = False
        return self._dify_is_ready

    def _is_woken_by(self, until: float) -> bool:
        """Have the loop look up at `until` or earlier; False if that has passed."""
        seconds_left = until - time.monotonic()
        if seconds_left > 0 and (self._timer is None or until < self._timer_is_due_at):
            if self._timer is not None:
                self._timer.close()
            self._timer = self._hub.loop.timer(seconds_left)
            self._timer.start(self._on_time)
            self._timer_is_due_at = until
        return seconds_left > 0

    # What the loop calls:

    def _on_dify(self) -> None:
        self._dify_is_ready = True
        if self._waiting is None and self._dify is not None:
            self._dify.stop()
            self._dify_is_watched = False
        self._wake()

    def _on_client(self) -> None:
        """It left; or it sends what nobody reads now, and is looked at now and then from here on."""
        self.forget_client()
        self._client_moved = True
        self._wake()

    def _on_time(self) -> None:
        self._timer = None
        self._wake()

    def _wake(self) -> None:
        if self._waiting is not None:
            self._waiting.switch()
