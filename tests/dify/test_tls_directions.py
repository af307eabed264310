"""TLS may have to write before it can read on, and to read before it can write: each wait looks that way."""

import select
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
import trustme

from opendify.dify.connections import ConnectionPool, Origin
from opendify.dify.exchange import Head
from opendify.dify.sockets import SocketExchange

REQUEST = b"POST /v1/chat-messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
# Far less than the exchange would wait.
_EARLIER_SECONDS = 0.3


class WritesBeforeItReads(ssl.SSLSocket):
    """As in a handshake in mid-connection: what was read is not for us, and has to be answered first."""

    _held: bytes | None = None

    def recv(self, *told: Any) -> bytes:
        if self._held is None:
            self._held = super().recv(*told)
            raise ssl.SSLWantWriteError
        held, self._held = self._held, None
        return held


class ReadsBeforeItWrites(ssl.SSLSocket):
    """`tries` counts the calls of `send`."""

    tries = 0

    def send(self, *told: Any) -> int:
        type(self).tries += 1
        poll = select.poll()
        poll.register(self, select.POLLIN)
        if not poll.poll(0):
            raise ssl.SSLWantReadError
        return super().send(*told)


@contextmanager
def tls_server(authority: trustme.CA, *, answers_first: bool) -> Iterator[int]:
    """Its port; it takes one connection, and answers the request, or a moment before it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # They would be something to read.
    context.num_tickets = 0
    authority.issue_cert("localhost").configure_cert(context)
    is_over = threading.Event()

    def serve(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with context.wrap_socket(accepted, server_side=True) as connection:
            if answers_first:
                is_over.wait(_EARLIER_SECONDS)
            else:
                connection.recv(65_536)
            connection.sendall(ANSWER)
            is_over.wait(20)

    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            is_over.set()
            thread.join(20)


@pytest.mark.parametrize("kind", [WritesBeforeItReads, ReadsBeforeItWrites])
def test_an_exchange_over_tls_waits_for_what_tls_needs(kind: type[ssl.SSLSocket]) -> None:
    authority = trustme.CA()
    trust = ssl.create_default_context()
    authority.configure_trust(trust)
    trust.sslsocket_class = kind
    pool = ConnectionPool(idle_seconds=1, connect_seconds=5)
    with tls_server(authority, answers_first=kind is ReadsBeforeItWrites) as port, closing(pool):
        exchange = SocketExchange(pool, Origin("localhost", port, trust), REQUEST)
        arrivals = exchange.take(10)
        exchange.abort()

    assert isinstance(arrivals[0], Head)
    assert arrivals[0].status == 200
    assert ReadsBeforeItWrites.tries < 10, "it asked again and again, instead of waiting"
