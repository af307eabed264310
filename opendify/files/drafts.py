"""Files that are still being written, each below a random name, with its size and digest."""

import errno
import fcntl
import hashlib
import os
import secrets
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

_STALE_AFTER_SECONDS: Final = 3_600
"""A draft that nobody holds, and nobody wrote to for so long, was left by a crash."""


class DraftTooLarge(Exception):
    """More was written than the draft may hold."""


class NoRoom(Exception):
    """The disk is full, or all files together may take no more room."""


class OwnerHasNoRoom(NoRoom):
    """All files of one owner may take no more room."""


class Draft:
    """A file that nobody sees yet; closing it deletes what was not kept."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        """Raises `NoRoom`, or another `OSError`."""
        self.path = path
        self.most_bytes = most_bytes
        self.bytes = 0
        self._digest = hashlib.sha256()
        self._file: BinaryIO | None = _create(path)

    @property
    def sha256(self) -> str:
        """The digest of what was written so far, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, piece: bytes | bytearray | memoryview) -> None:
        """Add `piece`.

        Raises:
            DraftTooLarge: It would be more than `most_bytes`.
            NoRoom: There is no room for it.
        """
        if self._file is None:
            raise ValueError("the draft is closed")
        if self.bytes + len(piece) > self.most_bytes:
            raise DraftTooLarge(f"more than {self.most_bytes} bytes")
        try:
            self._file.write(piece)
        except OSError as error:
            raise _full(error) from error
        self.bytes += len(piece)
        self._digest.update(piece)

    def finish(self) -> None:
        """Bring all of it to the disk.

        Raises:
            NoRoom: There is no room for the rest of it.
        """
        if self._file is None:
            return
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            # Now, not when its first byte came: it is no leftover.
            os.utime(self._file.fileno())
        except OSError as error:
            raise _full(error) from error

    def move_to(self, path: Path) -> None:
        """Give the finished file its name; a crash leaves it here or there, whole."""
        self.path.replace(path)
        _sync_folder(path.parent)

    def close(self) -> None:
        """Delete it, unless it was moved."""
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:  # What is deleted need not be written.
                if error.errno not in _NO_ROOM:
                    raise
            self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Drafts:
    """The drafts below one folder, which is made when it is needed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def begin(self, most_bytes: int) -> Draft:
        """An empty draft; raises as `Draft` does."""
        for folder in (self._folder.parent, self._folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return Draft(self._folder / secrets.token_hex(16), most_bytes)

    def sweep(self, *, now: float) -> int:
        """Delete what crashes left behind; how many."""
        stale = list(stale_files(self._folder, now=now))
        for path in stale:
            path.unlink(missing_ok=True)
        return len(stale)


def stale_files(folder: Path, *, now: float) -> list[Path]:
    """The files of `folder` that nobody wrote to lately, and nobody is about to keep."""
    found = []
    for path in folder.iterdir() if folder.is_dir() else ():
        with suppress(FileNotFoundError):
            is_old = path.stat().st_mtime < now - _STALE_AFTER_SECONDS
            if is_old and not _is_held(path):
                found.append(path)
    return found


def _is_held(path: Path) -> bool:
    """Whether the process that writes it lives; whatever the clocks say."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


_NO_ROOM: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def _create(path: Path) -> BinaryIO:
    try:
        file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except OSError as error:
        raise _full(error) from error
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def _full(error: OSError) -> Exception:
    return NoRoom(str(error)) if error.errno in _NO_ROOM else error


def _sync_folder(folder: Path) -> None:
    """Make a file's new name survive a power cut."""
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
