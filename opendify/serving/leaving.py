"""How a worker leaves: its answers learn of it, its door closes, and nothing is left undone at Dify."""

import contextlib
import os
import signal
import stat
from types import FrameType

from gunicorn.workers.base import Worker
from gunicorn.workers.gthread import ThreadWorker
from gunicorn.workers.sync import SyncWorker

from opendify.runs.drain import Drain
from opendify.serving.loaded_app import extensions_of

DRAIN = "opendify.drain"
"""Where the app keeps its `Drain`, among its extensions."""

# Dify is told to stop within milliseconds; then it is heard out for a moment.
_LOOSE_ENDS_SECONDS = 2.0
# The heartbeat file is all that a worker shares with its master, and only its times are in use.
_LEAVING_MODE = 0o400
_ORDERS = (signal.SIGTERM, signal.SIGQUIT, signal.SIGINT)


def hold_orders() -> None:
    """A worker that is still being made has Gunicorn's master's ears, which would lose an order to leave."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _ORDERS)


def hear_orders() -> None:
    """The worker is made; what came meanwhile comes now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ORDERS)


def prepare_to_leave(worker: Worker, drain_seconds: float) -> None:
    """Let the app's answers end by themselves when this worker is told to go.

    Gunicorn waits for them, but not for ever, and cuts off in the middle what is left.
    """
    drain = _drain_of(worker)
    if drain is None:
        return
    drain.follow(lambda: not worker.alive, drain_seconds, on_begin=lambda: _begin_to_leave(worker))
    if not isinstance(worker, ThreadWorker):
        for number in (signal.SIGINT, signal.SIGQUIT):
            _end_answers_first(number, worker, drain)


def leave_at_once(worker: Worker) -> None:
    """The worker is told to end quickly, or to make room for changed code: Gunicorn's `worker_int`."""
    drain = _drain_of(worker)
    if drain:
        drain.end_now()
    if isinstance(worker, ThreadWorker):
        worker.cfg.set("keepalive", 0)
        for connection in list(worker.keepalived_conns):
            connection.timeout = 0.0
        worker.method_queue.defer(lambda: None)  # Its main thread sleeps.


def leave_after_abort(worker: Worker) -> None:
    """The worker hung until its master broke that off: Gunicorn's `worker_abort`.

    With gevent only the greenlet that hung has ended. The others may end their answers,
    while a successor takes new clients.
    """
    drain = _drain_of(worker)
    if drain:
        drain.begin()


def finish_leaving(worker: Worker) -> None:
    """The worker's loop has ended: what it began is stopped at Dify, and its claims are given up."""
    drain = _drain_of(worker)
    # The master calls this hook too, for a worker that it finds dead.
    if drain and str(worker.pid) == str(os.getpid()):
        drain.end_now()
        drain.wait_until_idle(_LOOSE_ENDS_SECONDS)


def is_leaving(worker: Worker) -> bool:
    """Whether a worker has begun to leave, asked by its master."""
    return stat.S_IMODE(os.fstat(worker.tmp.fileno()).st_mode) == _LEAVING_MODE


def _drain_of(worker: Worker) -> Drain | None:
    drain: Drain | None = extensions_of(worker).get(DRAIN)
    return drain


def _begin_to_leave(worker: Worker) -> None:
    # One that had nothing to end has closed its file before it comes here, and is gone in a moment.
    with contextlib.suppress(ValueError):
        os.fchmod(worker.tmp.fileno(), _LEAVING_MODE)
    if isinstance(worker, SyncWorker):
        # It serves this last answer; new clients would wait for one that never comes.
        for listener in worker.sockets:
            listener.close()


def _end_answers_first(number: signal.Signals, worker: Worker, drain: Drain) -> None:
    """Where answers run in the main thread, Gunicorn's handler would break them off in the middle."""
    gunicorns = signal.getsignal(number)

    def handle(number: int, frame: FrameType | None) -> None:
        drain.end_now()
        if drain.open_answers:
            worker.alive = False
        elif callable(gunicorns):
            gunicorns(number, frame)

    signal.signal(number, handle)
