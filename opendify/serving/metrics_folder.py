"""Where all processes of a server keep their numbers: a folder of its own, from its start to its end.

The library sums the files of a folder, and makes, empties and removes nothing. Workers are
numbered: a new one takes the number of one that ended, and goes on with its counters, so
that there are never more files than workers were alive at once.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Final

from gunicorn.workers.base import Worker

from opendify.serving.loaded_app import extensions_of
from opendify.telemetry.instruments import WORKER_EXITS
from opendify.telemetry.metrics import METRICS, METRICS_EXTENSION
from opendify.telemetry.processes import forget_process, note_process

_PREFIX: Final = f"opendify-metrics-{os.getuid()}-"
_MASTER: Final = "master"
_RECYCLED: Final = "recycled-"
# A folder that is not locked yet may be another master's, which has just made it.
_YOUNG_SECONDS: Final = 60.0


class MetricsFolder:
    """The folder of this master, which holds it locked as long as any of its processes lives.

    Until it is opened nothing is kept, and no method does anything.
    """

    def __init__(self) -> None:
        self._path: Path | None = None
        self._owner = 0
        self._lock = -1
        # By age, which is a worker's name as long as its master lives.
        self._numbers: dict[int, int] = {}

    def open(self, parent: Path) -> Path:
        """Make it, empty; those of masters that were killed are removed."""
        _remove_left_behind(parent)
        self._path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        self._owner = os.getpid()
        self._lock = os.open(self._path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self._path

    def join_as_master(self) -> None:
        """Count what the master itself does; the environment names the folder by now."""
        if self._path:
            note_process(self._path, _MASTER)
            METRICS.join(self._path, _MASTER)

    def number(self, worker: Worker) -> None:
        """In the master, before the fork."""
        taken = set(self._numbers.values())
        self._numbers[worker.age] = next(each for each in range(1, len(taken) + 2) if each not in taken)

    def join(self, worker: Worker) -> None:
        """In the worker, whose app may come from code that was loaded after the fork."""
        metrics = extensions_of(worker).get(METRICS_EXTENSION)
        if self._path and metrics is not None:
            name = str(self._numbers[worker.age])
            note_process(self._path, name)
            metrics.join(self._path, name)

    def note_recycled(self, worker: Worker) -> None:
        """In a worker that has ended as it should: it had served as many requests as it may."""
        number = self._numbers.get(worker.age)
        if self._path and number is not None and worker.nr >= worker.max_requests and not worker.aborted:
            with contextlib.suppress(OSError):
                (self._path / f"{_RECYCLED}{number}").touch()

    def bury(self, worker: Worker) -> None:
        """In the master, once the worker has ended in whatever way: nothing of it is in progress."""
        number = self._numbers.pop(worker.age, None)
        if self._path and number is not None:
            from prometheus_client.multiprocess import mark_process_dead

            was_recycled = _taken_away(self._path / f"{_RECYCLED}{number}")
            WORKER_EXITS.add(_cause(worker, was_recycled=was_recycled))
            mark_process_dead(number, str(self._path))  # type: ignore[no-untyped-call]
            forget_process(self._path, str(number))

    def remove(self) -> None:
        """The master ends."""
        if self._path and os.getpid() == self._owner:
            shutil.rmtree(self._path, ignore_errors=True)


METRICS_FOLDER: Final = MetricsFolder()


def shared_memory() -> Path:
    """Where a folder is in memory, if the machine has such a place: numbers change with each request."""
    memory = Path("/dev/shm")  # noqa: S108 - The folder in it has a random name and is the user's alone.
    return memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())


def _cause(worker: Worker, *, was_recycled: bool) -> str:
    if not worker.alive:
        return "dismissed"
    return "recycled" if was_recycled else "unasked"


def _taken_away(mark: Path) -> bool:
    was_there = mark.exists()
    mark.unlink(missing_ok=True)
    return was_there


def _remove_left_behind(parent: Path) -> None:
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_mtime < time.time() - _YOUNG_SECONDS:
                _remove_unless_locked(folder)


def _remove_unless_locked(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder)
    finally:
        os.close(descriptor)
