"""Gunicorn's plain worker, one request at a time, which outlives answers longer than its timeout."""

import socket
import time
from collections.abc import Callable, Iterable, MutableMapping
from typing import Any

from gunicorn.http.message import Request
from gunicorn.workers.sync import SyncWorker

from opendify.records import Clock
from opendify.serving.base_worker import BaseWorker
from opendify.serving.client_socket import PacedSocket
from opendify.serving.client_watch import HEARTBEAT

_BEAT_SECONDS = 1.0


class PlainWorker(BaseWorker, SyncWorker):
    """Shows that it lives whenever the app, or the client, lets it wait.

    A worker that hangs elsewhere says nothing, and is replaced.
    """

    def load_wsgi(self) -> None:
        """As in the base class."""
        super().load_wsgi()
        self._beat = rarely(self.notify)
        app = self.wsgi

        def beating(environ: MutableMapping[str, Any], start_response: Any) -> Iterable[bytes]:
            environ[HEARTBEAT] = self._beat
            return app(environ, start_response)

        self.wsgi = beating

    def accept(self, listener: socket.socket) -> None:
        """As in the base class."""
        sock, address = listener.accept()
        if self.cfg.is_ssl:
            sock.setblocking(True)
            self.handle(listener, sock, address)
            return
        client = PacedSocket.around(sock, write_seconds=self.limits.write_seconds, beat=self._beat)
        client.waits_until = self.waits_until
        client.expect_head(self.limits.head_seconds, self.limits.head_seconds)
        self.handle(listener, client, address)

    def handle_request(
        self, listener: socket.socket, req: Request, client: socket.socket, addr: tuple[str, int]
    ) -> bool:
        """As in the base class."""
        if isinstance(client, PacedSocket):
            client.expect_body(self.limits.body_seconds)
        return super().handle_request(listener, req, client, addr)


def rarely(beat: Callable[[], object], clock: Clock = time.monotonic) -> Callable[[], None]:
    """`beat`, for whoever calls it many times a second: a beat changes a file."""
    beaten_at = clock()

    def beat_if_due() -> None:
        nonlocal beaten_at
        now = clock()
        if now >= beaten_at + _BEAT_SECONDS:
            beaten_at = now
            beat()

    return beat_if_due
