"""Workers that load the code themselves, as in development: always the newest, and its faults shown."""

import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from glob import glob
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gunicorn.workers.base import Worker

from opendify.errors import InternalError
from opendify.wire.sse import encode_json

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

_OURS = ("main", "opendify")
_WATCH_SECONDS = 0.5


def load_afresh(worker: Worker) -> None:
    """Have the worker load the app from the files as they are, and survive a fault in them.

    A worker that could not load would be started again and again; so it answers with
    the fault until a changed file replaces it.
    """
    # Gunicorn has no other place for it.
    application: Any = worker.app
    load = application.load
    application.load = lambda: _load_newest(worker, load)


def shows_fault(worker: Worker) -> bool:
    """Whether the worker has no app to serve."""
    return isinstance(worker.app.wsgi(), _FaultApp)


def _load_newest(worker: Worker, load: Callable[[], "WSGIApplication"]) -> "WSGIApplication":
    before = _change_times(worker.cfg.reload_extra_files)
    # The master imported some of it, and workers inherit that.
    for name in [name for name in sys.modules if name.partition(".")[0] in _OURS]:
        del sys.modules[name]
    if worker.reloader:
        threading.Thread(target=_watch, args=(worker, before), name="watch-files", daemon=True).start()
    return _load_or_explain(load)


def _watch(worker: Worker, before: Mapping[str, float]) -> None:
    """Make room for a new worker when a file changes: even while it is loaded, and to whatever time.

    Gunicorn's own watch begins later, and misses what happens before.
    """
    while _change_times(worker.cfg.reload_extra_files) == before or not worker.booted:
        time.sleep(_WATCH_SECONDS)
    worker.log.info("Worker reloading: the project's files have changed")
    worker.cfg.worker_int(worker)
    os.kill(os.getpid(), signal.SIGTERM)


def _change_times(patterns: Iterable[str]) -> Mapping[str, float]:
    times = {}
    for name in chain.from_iterable(glob(pattern, recursive=True) for pattern in patterns):  # noqa: PTH207 - As Gunicorn.
        with suppress(OSError):
            times[name] = Path(name).stat().st_mtime
    return times


def _load_or_explain(load: Callable[[], "WSGIApplication"]) -> "WSGIApplication":
    try:
        return load()
    except SystemExit as refusal:
        fault = str(refusal.code)
    except Exception:  # noqa: BLE001 - Code that somebody is writing may fail in any way.
        fault = traceback.format_exc()
    sys.stderr.write(f"The app cannot be loaded; it is tried again after a change:\n{fault}\n")
    return _FaultApp(fault)


class _FaultApp:
    """Answers every request with what is wrong."""

    def __init__(self, fault: str) -> None:
        self._body = encode_json(InternalError(f"The app cannot be loaded:\n{fault}").to_body())

    def __call__(self, _environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """See PEP 3333."""
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(self._body)))]
        start_response("500 Internal Server Error", headers)
        return [self._body]
