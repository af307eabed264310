"""Gunicorn's threaded worker, made so that a thread never waits for a client that is slow to ask."""

import atexit
import selectors
import socket
import time
from collections.abc import Iterable
from functools import partial
from itertools import chain
from typing import Final

from opendify.serving.base_worker import LINGER_SECONDS
from opendify.serving.connection import Connection, is_writable
from opendify.serving.pipelining import PipelineLine
from opendify.serving.receiving_worker import RECEIVE_BYTES, SWEEP_SECONDS, ReceivingWorker
from opendify.serving.threads import Answerers, AnsweringThreads
from opendify.serving.turnstile import Turnstile

# Of the requests that bring a body; all others are answered at once.
_MOST_BEGINNING: Final = 1
# Of so many threads one serves clients that ask on before they were answered.
_THREADS_A_TURN: Final = 64


class ThreadedWorker(ReceivingWorker):
    """Receives requests in its main loop, and gives each to a thread once all of it is there."""

    def init_process(self) -> None:
        """As in the base class."""
        self._answering: set[Connection] = set()
        self._line: PipelineLine[Connection] = PipelineLine(max(1, self.cfg.threads // _THREADS_A_TURN))
        self._turnstile: Turnstile[Connection] = Turnstile(_MOST_BEGINNING, self._wake_to_begin)
        self._threads = self.answering_threads()
        super().init_process()

    def requests_at_hand(self) -> Iterable[Connection]:
        """As in the base class."""
        return chain(self._line, self._answering)

    def requests_at_hand_count(self) -> int:
        """How many those are."""
        return len(self._answering) + len(self._line)

    def answering_threads(self) -> Answerers:
        """Those that serve connections of ours; Gunicorn's own executor serves the others."""
        threads = AnsweringThreads(self.cfg.threads)
        atexit.register(threads.end)
        return threads

    def wait_for_and_dispatch_events(self, timeout: float | None) -> None:
        """As in the base class; those who wait to begin are looked after more often."""
        super().wait_for_and_dispatch_events(SWEEP_SECONDS if self._turnstile else timeout)

    def begin_answer(self, connection: Connection) -> None:
        """As in the base class."""
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
        self.begin_answer(connection)

    def _hand_over(self, connection: Connection) -> None:
        self._answering.add(connection)
        self._show_load()
        # Nothing of it is missing, or it will be refused: nobody is to be told to send a body any more.
        connection.parser.note_consent()
        if connection.parser.brings_body:
            self._turnstile.join(connection)
            self.begin_next()
        else:
            self._begin(connection)

    def _wake_to_begin(self) -> None:
        # A thread that let the next begin itself would have the main loop, and probes, wait longer.
        self.method_queue.defer(self.begin_next)

    def begin_next(self) -> None:
        """As in the base class."""
        while connection := self._turnstile.next():
            self._begin(connection)

    def end_turn(self, connection: Connection) -> None:
        """As in the base class."""
        self._turnstile.end(connection)

    def _begin(self, connection: Connection) -> None:
        self._threads.submit(partial(self._answer, connection))

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
            conn.parser.feed(conn.sock.recv(RECEIVE_BYTES))
        except OSError:
            return False  # Nothing came yet, or the main loop will find out what is the matter.
        if conn.parser.is_ready:
            conn.parser.note_consent()
        return conn.parser.is_ready

    def _finish(self, conn: Connection, keeps: bool) -> None:
        """A thread is done with `conn`, which may serve another request where it `keeps`."""
        self._answering.discard(conn)
        self._line.leave(conn)
        self.end_turn(conn)
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

    def _keep(self, connection: Connection) -> None:
        if connection.parser.received_bytes:
            if connection.parser.is_ready:
                self.begin_answer(connection)
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
        if not connection.sock.recv(RECEIVE_BYTES):
            self._drop(connection)
