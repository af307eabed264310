"""What a worker does while nobody asks: expired files are deleted, and idle connections to Dify closed."""

import os

from gunicorn.workers.base import Worker

from opendify.dify.client import DifyClient
from opendify.files.keeper import FileKeeper
from opendify.serving.loaded_app import extensions_of

FILES = "opendify.files"
"""Where the app keeps its `FileKeeper`, among its extensions."""

CLIENT = "opendify.client"
"""Where it keeps its `DifyClient`."""


def begin_housekeeping(worker: Worker) -> None:
    """The worker is made: threads that began before the fork would not be here."""
    keeper = _keeper_of(worker)
    if keeper:
        keeper.clean_up_regularly()


def close_expired(worker: Worker) -> None:
    """Let go of connections that Dify has closed; to be called now and then."""
    client: DifyClient | None = extensions_of(worker).get(CLIENT)
    if client:
        client.close_expired()


def end_housekeeping(worker: Worker) -> None:
    """The worker has ended, and closes the store of files."""
    keeper = _keeper_of(worker)
    # The master calls this hook too, for a worker that it finds dead.
    if keeper and str(worker.pid) == str(os.getpid()):
        keeper.close()


def _keeper_of(worker: Worker) -> FileKeeper | None:
    keeper: FileKeeper | None = extensions_of(worker).get(FILES)
    return keeper
