"""The greenlets of a worker that answer requests; imported only where gevent is at work."""

from collections import deque

import gevent

from opendify.serving.threads import Work


class AnsweringGreenlets:
    """One for each piece of work, for as long as it lasts: to begin one costs next to nothing."""

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: deque[Work] = deque()

    def submit(self, work: Work) -> None:
        """See `AnsweringThreads.submit`."""
        if self._free:
            self._free -= 1
            # A whole `Greenlet`, with the stack that began it, takes 3 KB more.
            gevent.spawn_raw(self._serve, work)
        else:
            self._waiting.append(work)

    @property
    def are_wanted(self) -> bool:
        """See `AnsweringThreads.are_wanted`."""
        return bool(self._waiting)

    def _serve(self, work: Work) -> None:
        work()
        while self._waiting:
            self._waiting.popleft()()
        self._free += 1
