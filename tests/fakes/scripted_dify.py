"""A Dify on a real socket that answers every run with prepared bytes, cut as told."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass
class Script:
    """What the next runs are answered; `requests` collects what was asked, as (path, body)."""

    pieces: list[bytes] = field(default_factory=list)
    status: int = 200
    content_type: str = "text/event-stream; charset=utf-8"
    ends_cleanly: bool = True
    parameters: dict[str, object] = field(default_factory=dict)
    requests: list[tuple[str, dict[str, object]]] = field(default_factory=list)


@dataclass(frozen=True)
class ScriptedDify:
    """`base_url` ends in `/v1`."""

    base_url: str
    script: Script


@contextmanager
def scripted_dify() -> Iterator[ScriptedDify]:
    """Serve on a free loopback port until the block ends."""
    script = Script()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(script))
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield ScriptedDify(f"http://127.0.0.1:{server.server_port}/v1", script)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(script: Script) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            known = {"/v1/parameters": script.parameters, "/v1/info": {"name": "scripted"}}
            self._answer_json(known.get(self.path, {}))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
            script.requests.append((self.path, body))
            if self.path.endswith("/stop"):
                self._answer_json({"result": "success"})
            else:
                self._answer_run()

        def _answer_run(self) -> None:
            self.send_response(script.status)
            self.send_header("Content-Type", script.content_type)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in filter(None, script.pieces):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            if script.ends_cleanly:
                self.wfile.write(b"0\r\n\r\n")
            else:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_WR)

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
