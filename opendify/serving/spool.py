"""The pieces of a request in their order: in memory or, beyond some size, in a file without a name."""

import os
import tempfile
from collections import deque
from pathlib import Path
from typing import IO, Final

_MOST_IN_MEMORY: Final = 1_048_576
_LEAST_READ: Final = 8_192
_MOST_READ: Final = 65_536


class Spool:
    """Pieces that come in at one end and are taken at the other.

    Nothing goes to `folder` unless `may_use_disk` says so.
    """

    def __init__(self, folder: Path) -> None:
        self.may_use_disk = False
        self._folder = folder
        self._pieces: deque[memoryview] = deque()
        self._in_memory = 0
        self._file: IO[bytes] | None = None
        self._end = self._taken = 0

    @property
    def bytes_on_disk(self) -> int:
        """How large the file is."""
        return self._end

    def add(self, piece: bytes) -> None:
        """Put `piece` behind the others.

        Raises:
            OSError: It cannot be written.
        """
        if not piece:
            return
        if self._file is None and not (self.may_use_disk and self._in_memory > _MOST_IN_MEMORY):
            self._pieces.append(memoryview(piece))
            self._in_memory += len(piece)
            return
        if self._file is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Without a buffer: what is written is read by its place.
            self._file = tempfile.TemporaryFile(dir=self._folder, buffering=0)  # noqa: SIM115 - See `forget`.
        rest = memoryview(piece)
        while rest:
            written = os.pwrite(self._file.fileno(), rest, self._end)
            self._end += written
            rest = rest[written:]

    def take(self, most: int) -> bytes:
        """The next bytes, at least one unless there are none, and not many more than `most`."""
        # The parser asks for all of a body, and copies what it did not need; so it gets little at a time.
        most = min(max(most, _LEAST_READ), _MOST_READ)
        if self._pieces:
            piece = self._pieces.popleft()
            if len(piece) > most:
                self._pieces.appendleft(piece[most:])
            return bytes(piece[:most])
        if self._file is None:
            return b""
        taken = os.pread(self._file.fileno(), most, self._taken)
        self._taken += len(taken)
        return taken

    def take_all(self) -> bytes:
        """Everything that is left."""
        if not (self._in_memory or self.may_use_disk):
            return b""
        pieces = b"".join(self._pieces)
        if self._file is not None:
            self._pieces.clear()
            pieces += b"".join(iter(lambda: self.take(_MOST_IN_MEMORY), b""))
        self.forget()
        return pieces

    def forget(self) -> None:
        """Drop everything, the file too."""
        self._pieces.clear()
        file, self._file = self._file, None
        if file is not None:
            file.close()
        self.may_use_disk = False
        self._in_memory = self._end = self._taken = 0
