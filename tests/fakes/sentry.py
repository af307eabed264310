"""A Sentry that takes envelopes, and keeps every byte of them."""

import gzip
import json
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Sentry:
    """What came: `raw` as it was sent, but for its compression."""

    dsn: str
    raw: list[bytes] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, Any]]:
        """The events among all that came."""
        parts = [line for envelope in self.raw for line in envelope.splitlines() if b'"exception"' in line]
        return [json.loads(part) for part in parts]


@contextmanager
def sentry_listening() -> Iterator[Sentry]:
    """One on a free port, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            match self.headers.get("Content-Encoding"):
                case "gzip":
                    body = gzip.decompress(body)
                case "deflate":
                    body = zlib.decompress(body)
                case "br":
                    import brotli  # type: ignore[import-untyped]  # The SDK took it, so it is there.

                    body = brotli.decompress(body)
            sentry.raw.append(body)
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - The library's name.
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sentry = Sentry(f"http://public@127.0.0.1:{server.server_port}/1")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield sentry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
