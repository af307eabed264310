"""A Dify on a real socket whose answers a test writes byte by byte, or breaks."""

import contextlib
import json
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opendify.settings import DifyTransport
from tests.fakes.frames import WHOLE, Shape


@dataclass(frozen=True)
class Asked:
    """A request that came; `connection` counts from 1, over all of them."""

    path: str
    headers: Mapping[str, str]
    body: Shape
    connection: int


class Wire:
    """One answer. What a script leaves without `end` is cut off when it returns."""

    def __init__(self, connection: socket.socket, closing: threading.Event) -> None:
        self._connection = connection
        self._closing = closing
        self.is_whole = False

    def head(
        self, status: int = 200, content_type: str = "text/event-stream; charset=utf-8", **headers: str
    ) -> None:
        """Status and headers of a chunked answer."""
        named = {"Content-Type": content_type, "Transfer-Encoding": "chunked", **headers}
        lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
        self.send(f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode("latin-1"))

    def chunk(self, content: bytes) -> None:
        self.send(b"%x\r\n%s\r\n" % (len(content), content))

    def end(self) -> None:
        self.send(b"0\r\n\r\n")
        self.is_whole = True

    def send(self, content: bytes) -> None:
        self._connection.sendall(content)

    def reset(self) -> None:
        """Break off with RST."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._connection.close()

    def hold(self, seconds: float = 10.0) -> bool:
        """Stay silent until the other side leaves; False where it did not, in that time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not self._closing.is_set():
            readable, _, _ = select.select([self._connection], [], [], 0.02)
            if readable and self._has_left():
                return True
        return False

    def _has_left(self) -> bool:
        try:
            return not self._connection.recv(1, socket.MSG_PEEK)
        except OSError:
            return True


Script = Callable[[Wire], object]


def whole(wire: Wire) -> None:
    """A good answer."""
    wire.head()
    wire.chunk(WHOLE)
    wire.end()


@dataclass
class LiveDify:
    """`base_url` ends in `/v1`; `answer` writes the next runs; `reached_by` is how tests shall come."""

    base_url: str
    answer: Script = whole
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    breaks_stops: bool = False
    reached_by: DifyTransport = "sockets"
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def runs(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.body and not asked.path.endswith("/stop")]

    @property
    def stops(self) -> list[Asked]:
        return [asked for asked in self.asked if asked.path.endswith("/stop")]


@contextmanager
def live_dify(tls: ssl.SSLContext | None = None) -> Iterator[LiveDify]:
    """Serve on a free loopback port until the block ends."""
    dify = LiveDify("")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(dify))
    server.daemon_threads = True
    # The default is 5, and hundreds of streams may begin at once.
    server.socket.listen(1_024)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    dify.base_url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield dify
    finally:
        dify.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(dify: LiveDify) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            dify.connections += 1
            self._number = dify.connections

        def handle(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().handle()

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().finish()

        def do_GET(self) -> None:
            self._note(b"{}")
            self._answer_json({"name": "live", "user_input_form": []})

        def do_POST(self) -> None:
            self._note(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            if self.path.endswith("/stop"):
                if dify.breaks_stops:
                    self.close_connection = True
                    return
                self._answer_json({"result": "success"})
                return
            wire = Wire(self.connection, dify.closing)
            dify.answer(wire)
            self.close_connection = not wire.is_whole

        def _note(self, body: bytes) -> None:
            is_form = self.headers.get("Content-Type", "").startswith("multipart/")
            shape = {} if is_form else json.loads(body or b"{}")
            dify.asked.append(Asked(self.path, dict(self.headers), shape, self._number))

        def _answer_json(self, shape: object) -> None:
            body = json.dumps(shape).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - The library's name.
            return

    return Handler
