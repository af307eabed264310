"""The threaded worker with greenlets in place of threads.

To be imported only where everything was patched before; see `gunicorn_config.py`.
"""

import warnings
from types import FrameType

import gevent
from gevent import monkey
from gevent.monkey import MonkeyPatchWarning

from opendify.serving.greenlets import AnsweringGreenlets
from opendify.serving.threaded_worker import ThreadedWorker


class GeventWorker(ThreadedWorker):
    """As many requests as it has connections may be answered at once.

    Waiting in its main loop, and in its answers, is waiting in gevent's.
    """

    def init_process(self) -> None:
        """As in the base class; the master has patched all but what it needs itself."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MonkeyPatchWarning)
            monkey.patch_all()
        gevent.reinit()
        # Not before: as many connections again may be kept as `__init__` found room for.
        self.cfg.set("threads", self.worker_connections)
        super().init_process()

    def answering_threads(self) -> AnsweringGreenlets:
        """As in the base class."""
        return AnsweringGreenlets(self.cfg.threads)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - Gunicorn's signature.
        """As in the base class, which would break off whatever runs when the signal comes."""
        self.alive = False
        gevent.spawn(self.cfg.worker_int, self)

    def handle_usr1(self, sig: int, frame: FrameType | None) -> None:
        """As in the base class, which may have to wait."""
        gevent.spawn(super().handle_usr1, sig, frame)
