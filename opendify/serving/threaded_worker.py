"""Gunicorn's threaded worker, made so that a thread never waits for a client that is slow to ask."""

import atexit
import errno
import selectors
import socket
import time
from collections.abc import Callable
from functools import partial
from itertools import chain
from typing import Final

from opendify.errors import WorkerBusy
from opendify.serving.answering_worker import AnsweringWorker
from opendify.serving.base_worker import LINGER_SECONDS
from opendify.serving.connection import Connection, is_writable
from opendify.serving.door import Door
from opendify.serving.pipelining import PipelineLine
from opendify.serving.threads import AnsweringThreads
from opendify.serving.turnstile import Turnstile

_RECEIVE_BYTES: Final = 65_536
_SWEEP_SECONDS: Final = 0.25
# Of the requests that bring a body; all others are answered at once.
_MOST_BEGINNING: Final = 1
_BEAT_SECONDS: Final = 0.25
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
# Of so many threads one serves clients that ask on before they were answered.
_THREADS_A_TURN: Final = 64
# A worker holds as much as so many of the largest bodies, on their way or of requests that it answers.
_LARGEST_BODIES: Final = 4
_TOO_MANY_BYTES: Final = "The server holds as many large requests as it can; please try again."


class ThreadedWorker(AnsweringWorker):
    """Receives requests in its main loop, and gives each to a thread once all of it is there.

    So clients that say nothing, or say it byte by byte, cost a connection and no
    thread; each of their waits ends at a deadline, and earlier where connections
    run short. New clients are left to whichever worker is least busy.
    """

    def init_process(self) -> None:
        """As in the base class."""
        self._most_kept = self.max_keepalived
        self._answering: set[Connection] = set()
        self._line: PipelineLine[Connection] = PipelineLine(max(1, self.cfg.threads // _THREADS_A_TURN))
        self._door = Door(self.place, self.cfg.threads)
        self._turnstile: Turnstile[Connection] = Turnstile(_MOST_BEGINNING, self._wake_to_begin)
        self._waiting: dict[Connection, None] = {}
        self._sweep_at = self._beat_at = 0.0
        self._threads = self.answering_threads()
        super().init_process()

    def answering_threads(self) -> AnsweringThreads:
        """Those that serve connections of ours; Gunicorn's own executor serves the others."""
        threads = AnsweringThreads(self.cfg.threads)
        atexit.register(threads.end)
        return threads

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

    def _on_readable(self, connection: Connection, _: object) -> None:
        """A client sends, or leaves."""
        if connection.is_kept:
            connection.is_kept = False
            self.keepalived_conns.remove(connection)
            connection.deadline = time.monotonic() + self.limits.head_seconds
            self._waiting[connection] = None
        self._wake(connection, self._receive, None)

    def _answer(self, conn: Connection) -> None:
        """In a thread: answer a request, and on and on where the client asks again at once."""
        try:
            keeps = bool(self.handle(conn))
            while keeps and self._asks_again(conn):
                keeps = bool(self.handle(conn))
        except BaseException:
            self.log.exception("A connection failed by a fault of ours")
            keeps = False
        self.method_queue.defer(self._finish, conn, keeps)

    def _asks_again(self, conn: Connection) -> bool:
        """Whether the next request is there as a whole, and nobody else waits for the thread."""
        conn.parser.begin_next()
        if conn.parser.received_bytes:
            conn.pipelines = True
        if conn.pipelines or self._threads.are_wanted or not self.alive:
            return False
        try:
            conn.parser.feed(conn.sock.recv(_RECEIVE_BYTES))
        except OSError:
            return False  # Nothing came yet, or the main loop will find out what is the matter.
        if conn.parser.is_ready:
            conn.parser.note_consent()
        return conn.parser.is_ready

    def _finish(self, conn: Connection, keeps: bool) -> None:
        """A thread is done with `conn`, which may serve another request where it `keeps`."""
        self._answering.discard(conn)
        self._line.leave(conn)
        conn.end_turn()
        try:
            if conn.sock.fileno() < 0:
                # Gunicorn closes it where an answer broke off.
                self._close(conn)
                return
            if keeps:
                self._keep(conn)
            else:
                self._linger(conn)
        except Exception:
            self.log.exception("A connection failed by a fault of ours")
            self._close(conn)
        self._answer_next_in_line()

    def wait_for_and_dispatch_events(self, timeout: float | None) -> None:
        """As in the base class; those who wait to begin are looked after more often."""
        super().wait_for_and_dispatch_events(_SWEEP_SECONDS if self._turnstile else timeout)

    def murder_pending(self) -> None:
        """Let go of every client that took too long; also the place for whatever is due now and then."""
        super().murder_pending()
        now = time.monotonic()
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_SECONDS
            for connection in [each for each in self._waiting if self._deadline_of(each) <= now]:
                self._drop(connection)
            self._begin_next()
            self._show_load()

    def _deadline_of(self, connection: Connection) -> float:
        return min(connection.deadline, self.waits_until(has_head=connection.parser.has_head))

    def _speaks_more_than_http(self) -> bool:
        """Whether there is a handshake before the first head, for which a thread must wait after all."""
        return bool(self.cfg.is_ssl or self.cfg.proxy_protocol != "off" or "h2" in self.cfg.http_protocols)

    def _accept_one(self, listener: socket.socket) -> bool:
        try:
            connection = Connection.accepted(self.cfg, listener, self.limits)
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

    def _receive(self, connection: Connection) -> None:
        try:
            piece = connection.sock.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        if not piece:
            self._drop(connection)
            return
        had_head = connection.parser.has_head
        connection.parser.feed(piece)
        if connection.parser.is_ready:
            self._stop_waiting(connection)
            self._begin_answer(connection)
        elif connection.parser.has_head and not had_head:
            self._await_body(connection)
        elif connection.parser.passed_a_step():
            connection.deadline = time.monotonic() + self.limits.body_seconds
        self._bound_bodies(connection)

    def _await_body(self, connection: Connection) -> None:
        connection.deadline = time.monotonic() + self.limits.body_seconds
        if connection.parser.awaits_consent:
            connection.sock.send(_CONTINUE)
            connection.parser.note_consent()

    def _begin_answer(self, connection: Connection) -> None:
        if connection.pipelines:
            self._line.join(connection)
            self._answer_next_in_line()
        else:
            self._hand_over(connection)

    def _answer_next_in_line(self) -> None:
        while connection := self._line.next():
            if is_writable(connection.sock):
                self._hand_over(connection)
                continue
            # It asks and asks, and reads no answer.
            self._line.leave(connection)
            connection.deadline = time.monotonic() + self.limits.write_seconds
            self._wait(connection, selectors.EVENT_WRITE, self._rejoin)

    def _rejoin(self, connection: Connection) -> None:
        self._stop_waiting(connection)
        self._begin_answer(connection)

    def _hand_over(self, connection: Connection) -> None:
        self._answering.add(connection)
        self._show_load()
        # Nothing of it is missing, or it will be refused: nobody is to be told to send a body any more.
        connection.parser.note_consent()
        if connection.parser.brings_body:
            connection.take_turn(self._turnstile.join(connection))
            self._begin_next()
        else:
            self._begin(connection)

    def _wake_to_begin(self) -> None:
        self.method_queue.defer(self._begin_next)

    def _begin_next(self) -> None:
        while connection := self._turnstile.next():
            self._begin(connection)

    def _begin(self, connection: Connection) -> None:
        self._threads.submit(partial(self._answer, connection))

    def _keep(self, connection: Connection) -> None:
        if connection.parser.received_bytes:
            if connection.parser.is_ready:
                self._begin_answer(connection)
            else:
                self._await_request(connection)
                if connection.parser.has_head:
                    self._await_body(connection)
            return
        connection.set_timeout()
        if not self.alive and connection.timeout is not None:
            connection.timeout = min(connection.timeout, time.monotonic() + LINGER_SECONDS)
        connection.is_kept = True
        self.keepalived_conns.append(connection)
        self._watch(connection)
        self._show_load()

    def _linger(self, connection: Connection) -> None:
        """Close so that the client can read its answer even while it still sends (RFC 9112, section 9.6)."""
        try:
            connection.sock.shutdown(socket.SHUT_WR)
        except OSError:
            # The client closed first.
            self._close(connection)
            return
        connection.deadline = time.monotonic() + LINGER_SECONDS
        self._wait(connection, selectors.EVENT_READ, self._discard)

    def _discard(self, connection: Connection) -> None:
        if not connection.sock.recv(_RECEIVE_BYTES):
            self._drop(connection)

    def _bound_bodies(self, latest: Connection) -> None:
        """Where all bodies together are too much, the oldest large one that is on its way is refused."""
        self._bound(latest, self.limits.most_body_bytes, _bytes_in_memory)
        self._bound(latest, self.limits.most_form_bytes, _bytes_on_disk)

    def _bound(self, latest: Connection, largest: int, measure: Callable[[Connection], int]) -> None:
        share = largest // self.worker_connections
        if measure(latest) <= share or latest not in self._waiting:
            return
        everybody = chain(self._waiting, self._line, self._answering)
        if sum(map(measure, everybody)) > _LARGEST_BODIES * largest:
            victim = next(each for each in self._waiting if measure(each) > share)
            self._stop_waiting(victim)
            victim.parser.refuse(WorkerBusy(_TOO_MANY_BYTES))
            self._hand_over(victim)

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
        requests = len(self._answering) + len(self._line) + len(self._waiting)
        self.place.show(requests, len(self.keepalived_conns))
        # Kept connections bring their requests here, however busy it is; so now clients shall come anew.
        too_many = self.place.requests_above_least > self.cfg.threads // 4
        self.max_keepalived = 0 if too_many else self._most_kept


def _bytes_in_memory(connection: Connection) -> int:
    return connection.parser.received_bytes - connection.parser.bytes_on_disk


def _bytes_on_disk(connection: Connection) -> int:
    return connection.parser.bytes_on_disk
