"""A collector of traces and metrics: takes what is exported over OTLP/HTTP, and decodes it."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Collector:
    """What came, and every byte of it."""

    url: str
    spans: list[Span] = field(default_factory=list)
    metrics: list[Metric] = field(default_factory=list)
    raw: bytearray = field(default_factory=bytearray)

    def take(self, path: str, body: bytes) -> None:
        """Decode one export."""
        self.raw += body
        if path.endswith("/traces"):
            traces = ExportTraceServiceRequest.FromString(body)
            scopes = [scope for resource in traces.resource_spans for scope in resource.scope_spans]
            self.spans += [span for scope in scopes for span in scope.spans]
        elif path.endswith("/metrics"):
            metrics = ExportMetricsServiceRequest.FromString(body)
            parts = [scope for resource in metrics.resource_metrics for scope in resource.scope_metrics]
            self.metrics += [metric for part in parts for metric in part.metrics]


def attributes(of: Span) -> dict[str, str | int | float]:
    """A span's attributes as Python's values."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "") for each in of.attributes}


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector on a free port, while the block runs."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            collector.take(self.path, body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - The library's name.
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
