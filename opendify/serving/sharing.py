"""What workers share with the master that they were forked from: memory that none of them writes to."""

import gc
import importlib
from typing import Final

from gunicorn.workers.base import Worker

from opendify.dify.client import DifyClient
from opendify.serving.housekeeping import CLIENT
from opendify.serving.loaded_app import extensions_of

# Every worker would load them by itself, with its first request.
_LOADED_LATE: Final = ("anyio", "encodings.idna", "httpcore", "prometheus_client.multiprocess")


def share_memory(worker: Worker) -> None:
    """In the master, before the fork that makes `worker` a process."""
    for name in _LOADED_LATE:
        importlib.import_module(name)
    client: DifyClient | None = extensions_of(worker).get(CLIENT)
    if client:
        client.read_certificates()
    # A collector writes to all that it looks at; what is frozen it leaves alone.
    gc.collect()
    gc.freeze()
