"""How one stream waits for Dify and for its client at once."""

import select
from typing import Protocol

from opendify.kernel import KernelPoll, waits_in_gevent

# A client that closed, or shut its sending side down.
_CLIENT_LEFT = select.POLLHUP | select.POLLERR | getattr(select, "POLLRDHUP", 0)


class Watch(Protocol):
    """Knows a connection to Dify and a client's; used by one thread at a time."""

    def watch(self, file_number: int, events: int) -> None:
        """From now on wait for `events`, those of `poll`, of this connection to Dify alone."""
        ...

    def unwatch(self) -> None:
        """Forget the connection to Dify; to be called before it is closed, or given to others."""
        ...

    def forget_client(self) -> None:
        """Forget the client's connection."""
        ...

    def wait(self, seconds: float) -> bool:
        """Whether Dify's is ready; False after silence, or because the client may have left."""
        ...


class MakeWatch(Protocol):
    """Makes the watch of a client; `client_socket` is a file number, or -1 for none."""

    def __call__(self, client_socket: int) -> Watch: ...


class PolledWatch:
    """Waits in `poll`, as suits threads."""

    def __init__(self, client_socket: int) -> None:
        self._poll = KernelPoll()
        self._dify = -1
        self._client = client_socket
        if client_socket >= 0:
            self._poll.register(client_socket, _CLIENT_LEFT)

    def watch(self, file_number: int, events: int) -> None:
        """See `Watch.watch`."""
        if self._dify != file_number:
            self.unwatch()
        self._dify = file_number
        self._poll.register(file_number, events)

    def unwatch(self) -> None:
        """See `Watch.unwatch`."""
        if self._dify >= 0:
            self._poll.unregister(self._dify)
            self._dify = -1

    def forget_client(self) -> None:
        """See `Watch.forget_client`."""
        if self._client >= 0:
            self._poll.unregister(self._client)
            self._client = -1

    def wait(self, seconds: float) -> bool:
        """See `Watch.wait`."""
        # Without the fraction of a millisecond it would be asked again and again at the end.
        ready = self._poll.poll(int(seconds * 1000) + 1 if seconds > 0 else 0)
        return bool(ready) and (len(ready) > 1 or ready[0][0] != self._client)


def watch_maker() -> MakeWatch:
    """What makes watches that wait as all else in this process does."""
    if waits_in_gevent():
        from opendify.dify.loop_watch import LoopWatch

        return LoopWatch
    return PolledWatch
