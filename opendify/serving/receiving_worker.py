"""The main loop of the threaded worker: clients are let in, and waited for until a whole request is there."""

import errno
import selectors
import socket
import time
from abc import abstractmethod
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from typing import Final

from opendify.errors import WorkerBusy
from opendify.serving.answering_worker import AnsweringWorker
from opendify.serving.connection import Connection
from opendify.serving.door import Door

RECEIVE_BYTES: Final = 65_536
SWEEP_SECONDS: Final = 0.25
_BEAT_SECONDS: Final = 0.25
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
# A worker holds as much as so many of the largest bodies, on their way or of requests that it answers.
_LARGEST_BODIES: Final = 4
_TOO_MANY_BYTES: Final = "The server holds as many large requests as it can; please try again."


class ReceivingWorker(AnsweringWorker):
    """Clients that say nothing, or say it byte by byte, cost a connection and no thread.

    Each of their waits ends at a deadline, and earlier where connections run short. New clients
    are left to whichever worker is least busy.
    """

    def init_process(self) -> None:
        """As in the base class."""
        self._door = Door(self.place, self.cfg.threads)
        self._waiting: dict[Connection, None] = {}
        self._sweep_at = self._beat_at = 0.0
        super().init_process()

    @property
    def max_keepalived(self) -> int:
        """None while it is busier than others: kept connections bring their requests here all the same.

        So clients shall come anew then.
        """
        is_busier = self.place and self.place.requests_above_least > self.cfg.threads // 4
        return 0 if is_busier else self._most_kept

    @max_keepalived.setter
    def max_keepalived(self, most: int) -> None:
        self._most_kept = most

    @abstractmethod
    def begin_answer(self, connection: Connection) -> None:
        """All of a request is there, and its connection is waited for no more."""

    @abstractmethod
    def begin_next(self) -> None:
        """Let those begin for whom it is time."""

    @abstractmethod
    def end_turn(self, connection: Connection) -> None:
        """Its request waits for somebody, or was answered; any thread may say so."""

    @abstractmethod
    def requests_at_hand(self) -> Iterable[Connection]:
        """Whose requests are there, answered or not yet."""

    @abstractmethod
    def requests_at_hand_count(self) -> int:
        """How many those are."""

    def run(self) -> None:
        """As in the base class."""
        self._show_load()
        super().run()

    def notify(self) -> None:
        """As in the base class, which changes a file; the main loop calls it for each request."""
        now = time.monotonic()
        if now >= self._beat_at:
            self._beat_at = now + _BEAT_SECONDS
            super().notify()

    def set_accept_enabled(self, enabled: bool | None) -> None:
        """Once it leaves, close the door: at an open one new clients would wait for nothing."""
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                listener.close()

    def accept(self, listener: socket.socket) -> None:
        """Take a client, unless another worker should."""
        if self._speaks_more_than_http():
            super().accept(listener)
            return
        for _ in self._door.clients_at(listener):
            if not self._accept_one(listener):
                return

    def murder_pending(self) -> None:
        """Let go of every client that took too long; also the place for whatever is due now and then."""
        super().murder_pending()
        now = time.monotonic()
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_SECONDS
            for connection in [each for each in self._waiting if self._deadline_of(each) <= now]:
                self._drop(connection)
            self.begin_next()
            self._show_load()

    def _deadline_of(self, connection: Connection) -> float:
        return min(connection.deadline, self.waits_until(has_head=connection.parser.has_head))

    def _speaks_more_than_http(self) -> bool:
        """Whether there is a handshake before the first head, for which a thread must wait after all."""
        return bool(self.cfg.is_ssl or self.cfg.proxy_protocol != "off" or "h2" in self.cfg.http_protocols)

    def _accept_one(self, listener: socket.socket) -> bool:
        try:
            connection = Connection.accepted(self.cfg, listener, self.limits, self.end_turn)
        except OSError as error:
            self._forgive(error)
            return False
        if self.nr_conns >= self.worker_connections - 1:
            self._drop_oldest()
        self.nr_conns += 1
        self._await_request(connection)
        return True

    def _forgive(self, error: OSError) -> None:
        if error.errno in {errno.EMFILE, errno.ENFILE}:
            self._drop_oldest()
        elif error.errno not in {errno.EAGAIN, errno.ECONNABORTED, errno.EINTR}:
            raise error

    def _await_request(self, connection: Connection) -> None:
        connection.deadline = time.monotonic() + self.limits.head_seconds
        self._waiting[connection] = None
        self._watch(connection)
        self._show_load()

    def _await_body(self, connection: Connection) -> None:
        connection.deadline = time.monotonic() + self.limits.body_seconds
        if connection.parser.awaits_consent:
            connection.sock.send(_CONTINUE)
            connection.parser.note_consent()

    def _watch(self, connection: Connection) -> None:
        """Hear of what the client sends."""
        if not connection.is_watched:
            connection.is_watched = True
            readable = partial(self._on_readable, connection)
            self.poller.register(connection.sock, selectors.EVENT_READ, readable)

    def _unwatch(self, connection: Connection) -> None:
        if connection.is_watched:
            connection.is_watched = False
            self.poller.unregister(connection.sock)

    def _wait(self, connection: Connection, event: int, callback: Callable[[Connection], None]) -> None:
        """For something else than a request."""
        connection.is_watched = True
        self._waiting[connection] = None
        self.poller.register(connection.sock, event, partial(self._wake, connection, callback))
        self._show_load()

    def _wake(self, connection: Connection, callback: Callable[[Connection], None], _: object) -> None:
        # Another event of the same batch may have ended it.
        if connection not in self._waiting:
            return
        try:
            callback(connection)
        except OSError:
            self._drop(connection)
        except Exception:
            self.log.exception("A connection failed by a fault of ours")
            self._drop(connection)

    def _stop_waiting(self, connection: Connection) -> None:
        del self._waiting[connection]
        self._unwatch(connection)

    def _on_readable(self, connection: Connection, _: object) -> None:
        """A client sends, or leaves."""
        if connection.is_kept:
            connection.is_kept = False
            self.keepalived_conns.remove(connection)
            connection.deadline = time.monotonic() + self.limits.head_seconds
            self._waiting[connection] = None
        self._wake(connection, self._receive, None)

    def _receive(self, connection: Connection) -> None:
        try:
            piece = connection.sock.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        if not piece:
            self._drop(connection)
            return
        had_head = connection.parser.has_head
        connection.parser.feed(piece)
        if connection.parser.is_ready:
            self._stop_waiting(connection)
            self.begin_answer(connection)
            return
        if connection.parser.has_head and not had_head:
            self._await_body(connection)
        elif connection.parser.passed_a_step():
            connection.deadline = time.monotonic() + self.limits.body_seconds
        self._bound_bodies(connection)

    def _bound_bodies(self, latest: Connection) -> None:
        """Where all bodies together are too much, the oldest large one that is on its way is refused."""
        self._bound(latest, self.limits.most_body_bytes, _bytes_in_memory)
        self._bound(latest, self.limits.most_form_bytes, _bytes_on_disk)

    def _bound(self, latest: Connection, largest: int, measure: Callable[[Connection], int]) -> None:
        share = largest // self.worker_connections
        if measure(latest) <= share:
            return
        everybody = chain(self._waiting, self.requests_at_hand())
        if sum(map(measure, everybody)) > _LARGEST_BODIES * largest:
            victim = next(each for each in self._waiting if measure(each) > share)
            self._stop_waiting(victim)
            victim.parser.refuse(WorkerBusy(_TOO_MANY_BYTES))
            self.begin_answer(victim)

    def _drop_oldest(self) -> None:
        """Make room: who has been waited for longest goes, or who has nothing to ask."""
        if self._waiting:
            self._drop(next(iter(self._waiting)))
        elif self.keepalived_conns:
            kept = self.keepalived_conns.popleft()
            if isinstance(kept, Connection):
                kept.is_kept = False
                self._close(kept)

    def _drop(self, connection: Connection) -> None:
        self._stop_waiting(connection)
        self._close(connection)

    def _close(self, connection: Connection) -> None:
        self.nr_conns -= 1
        self._unwatch(connection)
        connection.close()
        self._show_load()

    def _show_load(self) -> None:
        if self.place is None:
            return
        if not self.alive:
            self.place.hide()
            return
        requests = self.requests_at_hand_count() + len(self._waiting)
        self.place.show(requests, len(self.keepalived_conns))


def _bytes_in_memory(connection: Connection) -> int:
    return connection.parser.received_bytes - connection.parser.bytes_on_disk


def _bytes_on_disk(connection: Connection) -> int:
    return connection.parser.bytes_on_disk
