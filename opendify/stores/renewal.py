"""Keeps claims alive while their turns go on, whatever the threads that serve them wait for."""

import logging
import threading
from typing import Protocol

_INTERVAL_SECONDS = 10.0

logger = logging.getLogger(__name__)


class Keeps(Protocol):
    """What holds a claim."""

    def keep(self) -> None:
        """Hold it longer, if it is time."""
        ...


class ClaimRenewal:
    """One thread a process, and only while there is anything to renew.

    A turn may wait for an upload, for a client that does not read, or for Dify to
    stop; its claim must not end meanwhile. One that cannot be kept harms no other.
    """

    def __init__(self, *, interval_seconds: float = _INTERVAL_SECONDS) -> None:
        self._interval_seconds = interval_seconds
        self._held: set[Keeps] = set()
        self._lock = threading.Lock()
        self._is_running = False

    def add(self, held: Keeps) -> None:
        """Renew until `remove`."""
        with self._lock:
            self._held.add(held)
            if not self._is_running:
                threading.Thread(target=self._run, name="claim-renewal", daemon=True).start()
                self._is_running = True

    def remove(self, held: Keeps) -> None:
        """The claim has ended."""
        with self._lock:
            self._held.discard(held)

    def _run(self) -> None:
        pause = threading.Event()
        while True:
            pause.wait(self._interval_seconds)
            with self._lock:
                held = list(self._held)
                self._is_running = bool(held)
            if not held:
                return
            for each in held:
                _keep(each)


def _keep(held: Keeps) -> None:
    try:
        held.keep()
    except Exception:
        logger.exception("a claim could not be renewed")
