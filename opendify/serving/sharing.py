"""What workers share with the master that they were forked from: memory that none of them writes to."""

import gc
import importlib
from typing import Final

# Every worker would load them by itself, with its first request.
_LOADED_LATE: Final = ("anyio", "certifi", "encodings.idna", "httpcore", "prometheus_client.multiprocess")


def share_memory() -> None:
    """In the master, before a fork."""
    for name in _LOADED_LATE:
        importlib.import_module(name)
    # A collector writes to all that it looks at; what is frozen it leaves alone.
    gc.collect()
    gc.freeze()
