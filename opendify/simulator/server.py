"""A small threaded HTTP/1.1 server for the simulator: kept-alive connections, each event sent at once.

Werkzeug's development server closes every connection and gunicorn cannot run
inside a test; Dify's own server keeps connections for two seconds.
"""

from __future__ import annotations

import io
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from socketserver import ThreadingTCPServer
from typing import TYPE_CHECKING
from urllib.parse import unquote

from flask import Flask

if TYPE_CHECKING:
    from _typeshed import OptExcInfo
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

KEEP_ALIVE_SECONDS = 2.0
_BODY_SECONDS = 60.0
_MAX_LINE_BYTES = 65536
_LAST_CHUNK = b"0\r\n\r\n"


class SimulatorServer(ThreadingTCPServer):
    """One thread a connection; threads do not outlive the program."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(self, app: Flask, host: str, port: int) -> None:
        self.wsgi_app: WSGIApplication = app.wsgi_app
        super().__init__((host, port), _RequestHandler)

    @property
    def server_port(self) -> int:
        port: int = self.socket.getsockname()[1]
        return port

    def handle_error(self, request: object, client_address: object) -> None:
        # A client may leave at any time; only bugs are worth a word.
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # passed through


class _RequestHandler(BaseHTTPRequestHandler):
    """Serves WSGI over one connection."""

    server: SimulatorServer
    protocol_version = "HTTP/1.1"
    server_version = "gunicorn"
    timeout = KEEP_ALIVE_SECONDS
    # With Nagle's algorithm on, a small event would wait for the client's delayed ACK.
    disable_nagle_algorithm = True

    def serve(self) -> None:
        self.connection.settimeout(_BODY_SECONDS)
        answer = _Answer(self)
        try:
            answer.send(self.server.wsgi_app(self._environ(self._read_body()), answer.start))
        except ConnectionError:
            self.close_connection = True
        self.connection.settimeout(KEEP_ALIVE_SECONDS)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = serve  # noqa: N815 - `http.server`'s

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - `http.server`'s name
        pass

    def _read_body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", "").lower():
            return b"".join(self._read_chunks())
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def _read_chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline(_MAX_LINE_BYTES).partition(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline(_MAX_LINE_BYTES)
        while self.rfile.readline(_MAX_LINE_BYTES).strip():
            pass

    def _environ(self, body: bytes) -> WSGIEnvironment:
        path, _, query = self.path.partition("?")
        host, port = self.connection.getsockname()[:2]
        environ: WSGIEnvironment = {
            "REQUEST_METHOD": self.command,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote(path, "latin-1"),
            "QUERY_STRING": query,
            "SERVER_NAME": host,
            "SERVER_PORT": str(port),
            "SERVER_PROTOCOL": self.request_version,
            "REMOTE_ADDR": self.client_address[0],
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(body),
            # Without it Werkzeug reads nothing of a body that came in chunks.
            "wsgi.input_terminated": True,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            "opendify.socket": self.connection,
        }
        for name, value in self.headers.items():
            environ.setdefault(f"HTTP_{name.upper().replace('-', '_')}", value)
        return environ


class _Answer:
    """Writes one response; nothing is sent before the first bytes of the body, as with gunicorn."""

    def __init__(self, handler: _RequestHandler) -> None:
        self._handler = handler
        self._head = b""
        self._chunked = False

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: OptExcInfo | None = None
    ) -> Callable[[bytes], object]:
        del exc_info  # Nothing has been sent yet, so a second call simply replaces the first.
        names = {name.lower() for name, _ in headers}
        has_body = self._handler.command != "HEAD" and not status.startswith(("204", "304"))
        self._chunked = has_body and "content-length" not in names
        lines = [
            f"HTTP/1.1 {status}",
            "Server: gunicorn",
            f"Date: {self._handler.date_time_string()}",
            f"Connection: {'close' if self._handler.close_connection else 'keep-alive'}",
            *(["Transfer-Encoding: chunked"] if self._chunked else []),
            *(f"{name}: {value}" for name, value in headers),
        ]
        self._head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        return self._refuse_write

    def send(self, body: Iterable[bytes]) -> None:
        """Send everything, and close `body` whatever happens."""
        try:
            for part in body:
                if part:
                    self._write(part)
            self._end()
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()

    def _write(self, part: bytes) -> None:
        framed = b"%x\r\n%b\r\n" % (len(part), part) if self._chunked else part
        self._handler.connection.sendall(self._head + framed)
        self._head = b""

    def _end(self) -> None:
        rest = self._head + (_LAST_CHUNK if self._chunked else b"")
        if rest:
            self._handler.connection.sendall(rest)

    def _refuse_write(self, _: bytes) -> None:
        raise NotImplementedError("Flask does not use WSGI's old `write`")


@contextmanager
def serve_in_background(app: Flask) -> Iterator[str]:
    """Serve `app` on a free loopback port while the context lasts; yields the base URL, `/v1` included."""
    server = make_simulator_server(app)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def make_simulator_server(app: Flask, host: str = "127.0.0.1", port: int = 0) -> SimulatorServer:
    """A bound server; the caller runs and closes it. Port 0 takes a free one."""
    return SimulatorServer(app, host, port)


def cut_connection(environ: object) -> None:
    """Close a request's connection under its response, where the server lends out its socket."""
    if not isinstance(environ, dict):
        return
    for name in ("opendify.socket", "gunicorn.socket", "werkzeug.socket"):
        connection = environ.get(name)
        if isinstance(connection, socket.socket):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
