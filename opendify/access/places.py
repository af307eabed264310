"""How many requests of a key go on at once, over all processes of a machine."""

import os
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from opendify.dify.concurrency import Limit, PlaceFile


class KeyPlaces:
    """Places are locked bytes of a file in `DATA_DIR`: the kernel gives back those of a process that dies."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._opening = Lock()
        self._file: PlaceFile | None = None

    def take(self, caller: str, most: int) -> Callable[[], None] | None:
        """A place of this caller's, as what gives it back; None where all are taken.

        Raises:
            OSError: The file cannot be opened.
        """
        file = self._file or self._open()
        places = file.take((Limit(f"key {caller}", most),))
        return None if places is None else lambda: file.give_back(places)

    def _open(self) -> PlaceFile:
        with self._opening:
            if self._file is None:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                # Never closed: that would free all locks of this process.
                self._file = PlaceFile(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
            return self._file
