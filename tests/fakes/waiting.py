"""Waiting for what other threads do, with a deadline."""

import threading
import time
from collections.abc import Callable

_POLL_SECONDS = 0.005

NewThreads = Callable[[], list[threading.Thread]]
"""The threads that began to work for runs since a test began, and still do."""


def wait_until(condition: Callable[[], object], seconds: float = 2.0) -> bool:
    """Whether `condition` came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def run_threads() -> list[threading.Thread]:
    """The threads that work for runs, whether or not somebody still waits for them."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("dify-")]
