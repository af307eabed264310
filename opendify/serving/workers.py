"""Which worker serves, and what the master hands it before the fork."""

import sys
from typing import Final

from gunicorn.workers.base import Worker

from opendify.serving.base_worker import BaseWorker
from opendify.serving.limits import client_limits
from opendify.serving.spread import LoadBoard, Place
from opendify.settings import ServerSettings

_ROOM: Final = "opendify.serving"


def worker_class_for(settings: ServerSettings) -> str:
    """Our own worker for each of Gunicorn's classes; as there, `sync` with threads is threaded."""
    if settings.worker_class == "gevent":
        return f"{_ROOM}.gevent_worker.GeventWorker"
    if settings.worker_class == "sync" and settings.threads == 1:
        return f"{_ROOM}.plain_worker.PlainWorker"
    return f"{_ROOM}.threaded_worker.ThreadedWorker"


def warn_of_plain_workers(settings: ServerSettings) -> None:
    """Say what nobody expects of a server."""
    if worker_class_for(settings).endswith("PlainWorker"):
        sys.stderr.write(
            "GUNICORN_THREADS=1: a worker serves one request at a time, and probes wait behind it\n"
        )


class WorkerKit:
    """What the workers of one configuration are given, and share."""

    def __init__(self, settings: ServerSettings) -> None:
        self._limits = client_limits(settings)
        # While workers are replaced there are twice as many.
        self._board = LoadBoard(2 * settings.workers + 8)
        self._places: dict[int, Place] = {}

    def hand_out(self, worker: Worker) -> None:
        """In the master, before the fork."""
        place = self._board.take_place()
        if place is not None:
            self._places[worker.age] = place
        if isinstance(worker, BaseWorker):
            worker.limits, worker.place = self._limits, place

    def take_back(self, worker: Worker) -> None:
        """In the master, once the worker has ended in whatever way."""
        place = self._places.pop(worker.age, None)
        if place is not None:
            self._board.clear(place)
