"""Gunicorn's gevent worker with the deadlines that its own lacks.

To be imported only where everything was patched before; see `gunicorn_config.py`.
"""

import warnings
from typing import Any

from gevent.monkey import MonkeyPatchWarning
from gunicorn.http.message import Request
from gunicorn.workers.ggevent import GeventWorker as GunicornsGeventWorker

from opendify.serving.base_worker import BaseWorker
from opendify.serving.client_socket import PacedSocket


class GeventWorker(BaseWorker, GunicornsGeventWorker):
    """Lets no client take for ever over its request or its answer."""

    def patch(self) -> None:
        """As in the base class; the master has patched all but what it needs itself."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MonkeyPatchWarning)
            super().patch()

    def handle(self, listener: Any, client: Any, addr: Any) -> None:
        """As in the base class."""
        if not self.cfg.is_ssl:
            client = PacedSocket.around(client, write_seconds=self.limits.write_seconds)
            client.waits_until = self.waits_until
            client.expect_head(self.limits.head_seconds, self.limits.head_seconds)
        super().handle(listener, client, addr)

    def handle_request(self, listener_name: Any, req: Request, sock: Any, addr: Any) -> bool:
        """As in the base class."""
        if not isinstance(sock, PacedSocket):
            return super().handle_request(listener_name, req, sock, addr)
        sock.expect_body(self.limits.body_seconds)
        try:
            goes_on = super().handle_request(listener_name, req, sock, addr)
        finally:
            sock.expect_head(self.cfg.keepalive, self.limits.head_seconds)
        if not self.alive:
            # An answer that hung was broken off, and Gunicorn would wait for a next request.
            raise StopIteration
        return goes_on
