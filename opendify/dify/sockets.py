"""Requests to Dify over plain sockets, which wake up for Dify and for the client at once.

httpx's own transport takes four times as long for an event, and its reads block, so
that each stream would need a second thread. Nothing in here blocks but its `Watch`,
and the system's resolver.
"""

import contextlib
import math
import select
import socket
import ssl
import time
from collections.abc import Generator

from opendify.dify.connections import Connection, ConnectionPool, Origin, can_be_read
from opendify.dify.exchange import Arrival
from opendify.dify.watches import PolledWatch, Watch
from opendify.errors import DifyError, DifyUnreachable, GatewayError
from opendify.kernel import KernelSocket

_READ_BYTES = 1 << 16
_WOULD_BLOCK = (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

Steps = Generator[int, None, None]
"""Work that waits now and then: it yields what `poll` is to wait for on the connection."""


class SocketExchange:
    """Sends one request and receives its answer; see `Exchange`."""

    def __init__(
        self, pool: ConnectionPool, origin: Origin, request: bytes, watch: Watch | None = None
    ) -> None:
        """`request` is all of it, head and body; `watch` knows the client already.

        What can be done at once is done; nothing is waited for.
        """
        self._pool = pool
        self._watch = watch or PolledWatch(-1)
        self._socket: socket.socket | None = None
        self._connection: Connection | None = None
        self._failure: GatewayError | None = None
        self._connected_until = math.inf
        self._was_sent_whole = False
        self.was_sent = False
        self._steps: Steps | None = self._send(origin, memoryview(request))
        self._go_on()

    def take(self, timeout_seconds: float) -> list[Arrival]:
        """See `Exchange.take`."""
        deadline = time.monotonic() + timeout_seconds
        while self._steps:
            seconds_left = min(deadline, self._connected_until) - time.monotonic()
            if not self._watch.wait(seconds_left) and not self._connecting_took_too_long():
                return []
            self._go_on()
            timeout_seconds = deadline - time.monotonic()
        if self._failure:
            raise self._failure
        return self._receive(self._connection, timeout_seconds, deadline) if self._connection else []

    def forget_client(self) -> None:
        """See `Exchange.forget_client`."""
        self._watch.forget_client()

    def abort(self) -> None:
        """See `Exchange.abort`."""
        self._fail(DifyError("The connection was broken off"))

    def _go_on(self) -> None:
        """Do of the beginning what can be done without waiting."""
        if self._steps is None:
            return
        try:
            events = next(self._steps)
        except StopIteration:
            self._steps = None
            self._wait_for(select.POLLIN)
        except GatewayError as error:
            self._fail(error)
        else:
            self._wait_for(events)

    def _send(self, origin: Origin, request: memoryview) -> Steps:
        connection = self._pool.take(origin)
        if connection:
            self._socket = connection.socket
            try:
                request = request[self._send_some(connection.socket, request) :]
            except _WOULD_BLOCK:
                pass
            except OSError:
                # Dify closed it just now, and nothing went out: a new one is no second try.
                connection.socket.close()
                connection = None
        if connection is None:
            connection = Connection(origin, (yield from self._connect(origin)))
        connection.answer.expect()
        self._connection = connection
        yield from self._send_rest(connection.socket, request)

    def _send_rest(self, stream: socket.socket, request: memoryview) -> Steps:
        # Over TLS also what is no answer can be read, such as session tickets.
        refusal = 0 if isinstance(stream, ssl.SSLSocket) else select.POLLIN
        while request:
            try:
                request = request[self._send_some(stream, request) :]
            except _WOULD_BLOCK as reason:
                yield _awaited(reason, select.POLLOUT) | refusal
                if refusal and can_be_read(stream):
                    return  # It answers already, so it will not listen any more.
            except OSError:
                return  # Why Dify did not want to hear the rest, its answer may say.
        self._was_sent_whole = True

    def _send_some(self, stream: socket.socket, request: memoryview) -> int:
        sent = stream.send(request)
        self.was_sent = True
        return sent

    def _connect(self, origin: Origin) -> Generator[int, None, socket.socket]:
        """A connected socket, from the first address that takes the connection."""
        cause: Exception | None = None
        try:
            addresses = self._pool.look_up(origin)
            until = time.monotonic() + self._pool.connect_seconds
            for number, (family, kind, protocol, _, address) in enumerate(addresses):
                self._socket = KernelSocket(family, kind, protocol)
                # One that says nothing must leave time for the others.
                now = time.monotonic()
                self._connected_until = now + (until - now) / (len(addresses) - number)
                try:
                    yield from self._connect_to(address, origin)
                except OSError as error:
                    self._close()
                    cause = error
                else:
                    self._connected_until = math.inf
                    return self._socket
        except (OSError, UnicodeError) as error:
            cause = error
        raise DifyUnreachable("The app behind this model cannot be reached at the moment") from cause

    def _connect_to(self, address: tuple[object, ...], origin: Origin) -> Steps:
        stream = self._socket
        if stream is None:
            return
        stream.setblocking(False)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(BlockingIOError):
            stream.connect(address)
        yield from self._until_connected(select.POLLOUT)
        if error := stream.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(error, "connect")
        if origin.tls:
            encrypted = origin.tls.wrap_socket(
                stream, server_hostname=origin.host, do_handshake_on_connect=False
            )
            self._socket = encrypted
            yield from self._shake_hands(encrypted)

    def _shake_hands(self, encrypted: ssl.SSLSocket) -> Steps:
        while True:
            try:
                return encrypted.do_handshake()
            except _WOULD_BLOCK as reason:
                yield from self._until_connected(_awaited(reason, select.POLLIN))

    def _until_connected(self, events: int) -> Steps:
        yield events
        if self._connecting_took_too_long():
            raise TimeoutError

    def _connecting_took_too_long(self) -> bool:
        return time.monotonic() >= self._connected_until

    def _receive(self, connection: Connection, seconds_left: float, deadline: float) -> list[Arrival]:
        """Everything that one read holds; it reads on while that is nothing whole, such as half a head."""
        while _has_buffered(connection.socket) or self._watch.wait(seconds_left):
            try:
                received = connection.socket.recv(_READ_BYTES)
            except _WOULD_BLOCK as reason:
                self._wait_for(_awaited(reason, select.POLLIN))
                seconds_left = deadline - time.monotonic()
                continue
            except OSError as error:
                broken = DifyError("Dify broke off the connection before the answer was whole")
                broken.__cause__ = error
                self._fail(broken)
                raise broken from error
            arrivals = connection.answer.feed(received)
            if connection.answer.failure:
                self._fail(connection.answer.failure)
            elif connection.answer.is_whole:
                self._let_go(connection)
            if arrivals:
                return arrivals
            if self._failure:
                raise self._failure
            seconds_left = deadline - time.monotonic()
        return []

    def _wait_for(self, events: int) -> None:
        """From now on; nothing is waited for yet."""
        if self._socket is not None:
            self._watch.watch(self._socket.fileno(), events)

    def _close(self) -> None:
        """The connection, if there is one."""
        self._watch.unwatch()
        if self._socket is not None:
            self._socket.close()
        self._connection = self._socket = None

    def _let_go(self, connection: Connection) -> None:
        if connection.answer.leaves_connection_usable and self._was_sent_whole:
            self._watch.unwatch()
            self._connection = self._socket = None
            self._pool.give_back(connection)
        else:
            self._close()

    def _fail(self, failure: GatewayError) -> None:
        self._failure = self._failure or failure
        self._steps = None
        self._close()


def _awaited(reason: BaseException, otherwise: int) -> int:
    """What `poll` is to wait for: TLS may have to read before it can write, and the other way round."""
    match reason:
        case ssl.SSLWantReadError():
            return select.POLLIN
        case ssl.SSLWantWriteError():
            return select.POLLOUT
    return otherwise


def _has_buffered(stream: socket.socket) -> bool:
    """Whether TLS holds bytes that `poll` cannot see."""
    return isinstance(stream, ssl.SSLSocket) and stream.pending() > 0
