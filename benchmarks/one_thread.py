"""A worker that answers each request in the thread that received it, so that only the work itself counts.

All else is as it is shipped: the client's connection, the worker's loop, the app, its
store in a file, its metrics in files that workers share, its log line, and a Dify behind sockets.
"""

import json
import selectors
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flask
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from benchmarks.answers import Answer
from benchmarks.dialects import API_KEY, APP_KEY, DIALECTS, MODEL, build_request, usual_door
from benchmarks.directive import Directive
from opendify.app import create_app
from opendify.serving.limits import client_limits
from opendify.serving.threaded_worker import ThreadedWorker
from opendify.serving.threads import AnsweringThreads, Work
from opendify.settings import load_server_settings, load_settings
from opendify.telemetry.logs import configure_logging
from opendify.telemetry.metrics import METRICS

_DIRECTIVE = Directive()
_RECEIVE_BYTES = 1 << 16


def environment(folder: Path, mock_port: int) -> dict[str, str]:
    """The settings of an instance in `folder` that asks the mock."""
    return {
        "ENVIRONMENT": "production",
        "DATA_DIR": str(folder),
        "DIFY_API_BASE": f"http://127.0.0.1:{mock_port}/v1",
        "MODEL_CONFIG": json.dumps({MODEL: {"api_key": APP_KEY}}),
        "API_KEYS": f"bench:{API_KEY}",
    }


def answer_requests(environ: Mapping[str, str], requests: int, *, whole: bool) -> None:
    """One client asks so often, each time for an answer of one piece, streamed or whole.

    Raises:
        WrongAnswer: It got another one.
    """
    settings = load_settings(environ)
    configure_logging(settings.log_level, settings.logs)
    folder = settings.data_dir / "metrics"
    folder.mkdir(exist_ok=True)
    METRICS.join(folder, "1")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        # As Gunicorn's own, from which connections inherit it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = _Client(listener.getsockname()[1], requests, whole=whole)
        worker = _Worker(listener, create_app(settings), client)
        worker.limits = client_limits(load_server_settings(environ))
        worker.init_process()


class _Client:
    def __init__(self, port: int, requests: int, *, whole: bool) -> None:
        self.has_enough = False
        self._whole = whole
        self._left = requests
        self._request = build_request(usual_door(port, "openai"), _DIRECTIVE, whole=whole)
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._answer = Answer(kept=True)
        self._socket.send(self._request)

    def fileno(self) -> int:
        return self._socket.fileno()

    def go_on(self, _: object = None) -> None:
        """Take what has come, and ask again once it is a whole answer."""
        self._answer.feed(self._socket.recv(_RECEIVE_BYTES))
        if not self._answer.is_whole:
            return
        self._answer.check(DIALECTS["openai"], whole=self._whole, pieces=1)
        self._left -= 1
        self.has_enough = not self._left
        if not self.has_enough:
            self._answer = Answer(kept=True)
            self._socket.send(self._request)

    def leave(self) -> None:
        self._socket.close()


class _Worker(ThreadedWorker):
    """Serves until its client has enough."""

    def __init__(self, listener: socket.socket, wsgi: flask.Flask, client: _Client) -> None:
        config = _Application(wsgi).cfg
        super().__init__(0, 0, [listener], _Application(wsgi), 0, config, Logger(config))
        self._client = client

    def init_signals(self) -> None:
        """This process keeps its own."""

    def is_parent_alive(self) -> bool:
        return True

    def answering_threads(self) -> AnsweringThreads:
        return _NoThreads(most=0)

    def run(self) -> None:
        self.poller.register(self._client, selectors.EVENT_READ, self._client.go_on)
        super().run()

    def wait_for_and_dispatch_events(self, timeout: float | None) -> None:
        super().wait_for_and_dispatch_events(timeout)
        if self._client.has_enough and self.alive:
            self.alive = False
            self.poller.unregister(self._client)
            self._client.leave()


class _NoThreads(AnsweringThreads):
    """Everything is done at once."""

    def submit(self, work: Work) -> None:
        work()


class _Application(BaseApplication):
    def __init__(self, wsgi: flask.Flask) -> None:
        self._wsgi = wsgi
        super().__init__()

    def load_config(self) -> None:
        self.cfg.set("threads", 128)
        self.cfg.set("worker_connections", 384)
        self.cfg.set("keepalive", 75)

    def load(self) -> Any:
        return self._wsgi
