"""One upstream answer over httpx's own transport, read by a thread of its own.

httpx reads block, and giving up on one closes its connection. A proxy must also
wake up while Dify is silent: to keep its client's line open and to watch the
time. So a thread reads, and whoever serves the client waits as long as it likes.
"""

import contextlib
import queue
import socket
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx
from httpcore import NetworkStream

from opendify.dify.exchange import Arrival, Head
from opendify.dify.failures import dify_errors_mapped
from opendify.errors import GatewayError, InternalError

# Back pressure: a client that does not read stops the pump, and so Dify, after this many reads.
_MOST_CHUNKS_HELD = 64
_LONGEST_PUT_SECONDS = 0.5
# A queue cannot be waited for together with the client's connection.
_LONGEST_TAKE_SECONDS = 0.2
_CONNECTED = frozenset({"connection.connect_tcp.complete", "connection.start_tls.complete"})


@dataclass(frozen=True, slots=True)
class _Broken:
    error: GatewayError


_Item = Arrival | _Broken


class _GivenUp(Exception):
    """Nobody waits for the answer any more, and nothing was sent."""


class ResponsePump:
    """Sends `request` and hands out its answer piece by piece."""

    def __init__(self, client: httpx.Client, request: httpx.Request, *, body_read_seconds: float) -> None:
        """`request` bears the timeout up to the head; `body_read_seconds` is that between two reads."""
        self._client = client
        self._body_read_seconds = body_read_seconds
        self._request = request
        self._items: queue.Queue[_Item] = queue.Queue(_MOST_CHUNKS_HELD)
        self._discard = threading.Event()
        self._socket: socket.socket | None = None
        self.was_sent = False
        request.extensions["trace"] = self._follow
        threading.Thread(target=self._run, name="dify-pump", daemon=True).start()

    def take(self, timeout_seconds: float) -> list[Arrival]:
        """See `Exchange.take`."""
        items: list[Arrival] = []
        try:
            item = self._items.get(timeout=min(max(0.0, timeout_seconds), _LONGEST_TAKE_SECONDS))
            while True:
                if isinstance(item, _Broken):
                    return self._broken(items, item)
                items.append(item)
                item = self._items.get_nowait()
        except queue.Empty:
            return items

    def forget_client(self) -> None:
        """See `Exchange.forget_client`; it never looks at the client."""

    def abort(self) -> None:
        """See `Exchange.abort`; on a connection that served before, a wait for the head goes on."""
        self._discard.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _follow(self, step: str, about: Mapping[str, object]) -> None:
        """What httpcore tells of its steps; only of a new connection it says which one it is.

        Source: https://www.python-httpx.org/advanced/extensions/#trace
        """
        if step in _CONNECTED:
            self._know_connection(about.get("return_value"))
        if step == "http11.send_request_headers.started":
            if self._discard.is_set():
                raise _GivenUp
            self.was_sent = True

    def _know_connection(self, stream: object) -> None:
        connection = stream.get_extra_info("socket") if isinstance(stream, NetworkStream) else None
        if isinstance(connection, socket.socket):
            self._socket = connection

    def _broken(self, before: list[Arrival], broken: _Broken) -> list[Arrival]:
        if not before:
            raise broken.error
        self._items.put(broken)
        return before

    def _run(self) -> None:
        try:
            with dify_errors_mapped():
                for item in self._receive():
                    self._put(item)
        except GatewayError as error:
            self._put(_Broken(error))
        except Exception as error:  # noqa: BLE001 - Handed to the thread that serves the client.
            failure = InternalError("The connection to Dify failed")
            failure.__cause__ = error
            self._put(_Broken(failure))

    def _receive(self) -> Iterator[Arrival]:
        response = self._client.send(self._request, stream=True)
        self.was_sent = True
        self._know_connection(response.extensions.get("network_stream"))
        # httpcore looks this up when it begins to read the body.
        self._request.extensions["timeout"]["read"] = self._body_read_seconds
        try:
            if self._discard.is_set():
                return
            headers = response.headers
            yield Head(response.status_code, headers.get("content-type", ""), headers.get("retry-after"))
            for chunk in response.iter_bytes():
                yield chunk
                if self._discard.is_set():
                    return
            yield None
        finally:
            response.close()

    def _put(self, item: _Item) -> None:
        while not self._discard.is_set():
            try:
                self._items.put(item, timeout=_LONGEST_PUT_SECONDS)
            except queue.Full:
                continue
            return
