"""How many runs go on at Dify at once: an app's and a server's limit, kept by all workers of an instance.

A place is one locked byte of a file that the master opened and its workers inherited.
The kernel keeps count, so that nothing has to be cleaned up: a process that dies,
however it dies, gives its places back.
"""

import fcntl
import hashlib
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from opendify.errors import RateLimited
from opendify.records import Client, Clock
from opendify.settings import DifyApp, Settings
from opendify.waiting import WaitingLine

CONCURRENCY: Final = "opendify-concurrency"
"""Where the app keeps its `Concurrency`, among its extensions."""

_MOST_PLACES: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Limit:
    """So many at once of what `name` says."""

    name: str
    most: int

    @property
    def first_byte(self) -> int:
        """Where its places lie; workers that were told other limits, after a reload, must agree."""
        digest = hashlib.blake2b(self.name.encode("utf-8", "replace"), digest_size=5).digest()
        return int.from_bytes(digest) * _MOST_PLACES


class PlaceFile:
    """Locked bytes. Locks belong to a process, so what its threads hold is counted here as well."""

    def __init__(self, descriptor: int) -> None:
        """Nobody in this process may open and close the same file: that would free all its locks."""
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._held: set[int] = set()

    def take(self, limits: tuple[Limit, ...]) -> list[int] | None:
        """A place of each limit, or none of any; does not wait."""
        taken: list[int] = []
        with self._lock:
            for limit in limits:
                place = self._take_one(limit)
                if place is None:
                    self._give_back(taken)
                    return None
                taken.append(place)
        return taken

    def give_back(self, places: list[int]) -> None:
        """Empties the list, so that a second time does nothing."""
        with self._lock:
            self._give_back(places)

    def _take_one(self, limit: Limit) -> int | None:
        first = limit.first_byte
        # Processes that begin at different places seldom meet.
        start = os.getpid() % limit.most
        for number in range(limit.most):
            place = first + (start + number) % limit.most
            if place not in self._held and self._is_locked_now(place):
                self._held.add(place)
                return place
        return None

    def _is_locked_now(self, place: int) -> bool:
        try:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except (BlockingIOError, PermissionError):  # POSIX allows both for a lock of somebody else.
            return False
        return True

    def _give_back(self, places: list[int]) -> None:
        while places:
            place = places.pop()
            self._held.remove(place)
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN, 1, place)


_opening = threading.Lock()


def instance_file() -> PlaceFile:
    """This server instance's file: opened on the first call, and inherited by all that is forked later."""
    # Two threads that come first together must not open two.
    with _opening:
        return _open_file()


@cache
def _open_file() -> PlaceFile:
    if sys.platform == "linux":
        descriptor = os.memfd_create("opendify-places")  # Needs no folder that can be written.
    else:
        descriptor, path = tempfile.mkstemp(prefix="opendify-places-")
        Path(path).unlink()
    return PlaceFile(descriptor)


class Place:
    """What a run holds while something goes on at Dify."""

    def __init__(self, give_back: Callable[[], None] = lambda: None) -> None:
        self.give_back = give_back
        """May be called more than once, and by any thread."""


UNLIMITED: Final = Place()


class Concurrency:
    """Hands out places for runs."""

    def __init__(
        self,
        settings: Settings,
        *,
        file: Callable[[], PlaceFile] = instance_file,
        clock: Clock = time.monotonic,
    ) -> None:
        """`file` is opened when the first place is taken, unless one is shared before."""
        self._settings = settings
        self._file = file
        apps = (*settings.models, *([settings.passed_app] if settings.passed_app else []))
        self._limits = {app.name: self._limits_of(app) for app in apps}
        self._lines = {
            name: WaitingLine(length=settings.queue_length, seconds=settings.queue_seconds, clock=clock)
            for name, limits in self._limits.items()
            if limits
        }

    def share(self, file: PlaceFile) -> None:
        """Count places in `file`, which other processes have too."""
        self._file = lambda: file

    def take(self, app: DifyApp, client: Client) -> Place:
        """A place for a run of `app`, to be given back when nothing goes on at Dify any more.

        Raises:
            RateLimited: None became free in time; nothing was begun.
            ClientLeft: Nobody waits for the answer any more.
        """
        limits = self._limits[app.name]
        if not limits:
            return UNLIMITED
        file = self._file()
        refusal = RateLimited(
            f"The app behind the model {app.name!r} is answering as many requests as it may; try again later."
        )
        places = self._lines[app.name].get(lambda: file.take(limits), client, refusal)
        return Place(lambda: file.give_back(places))

    def _limits_of(self, app: DifyApp) -> tuple[Limit, ...]:
        limits = (
            Limit(f"app {app.fingerprint}", app.max_concurrency or 0),
            Limit(f"server {app.api_base}", self._settings.dify_max_concurrency),
        )
        return tuple(limit for limit in limits if limit.most)
