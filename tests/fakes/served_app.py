"""An app on a real socket, inside the test's process."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

import flask
from werkzeug.serving import WSGIRequestHandler, make_server


class _QuietHandler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        return


@contextmanager
def served(app: flask.Flask, port: int = 0) -> Iterator[str]:
    """The base URL, without `/v1`, while the block runs; without a `port` any is taken."""
    server = make_server("127.0.0.1", port, app, threaded=True, request_handler=_QuietHandler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        if "opendify" in app.extensions:
            app.extensions["opendify"].close()
