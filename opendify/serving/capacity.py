"""How many requests a worker of Gunicorn's serves at once; the app itself does not know where it runs."""

from gunicorn.workers.base import Worker
from gunicorn.workers.gthread import ThreadWorker
from gunicorn.workers.sync import SyncWorker

from opendify.dify.concurrency import CONCURRENCY, PlaceFile
from opendify.serving.loaded_app import extensions_of
from opendify.serving.slots import SLOTS


def capacity_of(worker: Worker) -> int | None:
    """None where a worker serves one request at a time, and there is nothing to share out."""
    if isinstance(worker, SyncWorker):
        return None
    return int(worker.cfg.threads if isinstance(worker, ThreadWorker) else worker.cfg.worker_connections)


def limit_chats(worker: Worker) -> None:
    """Tell the app of a worker that has loaded it; options of the command line count too."""
    capacity = capacity_of(worker)
    if capacity is not None:
        extensions_of(worker)[SLOTS].limit(capacity)


def share_places(worker: Worker, file: PlaceFile) -> None:
    """Have the app of a worker count its runs at Dify where all workers do.

    By itself it would open a file of its own where the code was loaded after the fork.
    """
    extensions_of(worker)[CONCURRENCY].share(file)
