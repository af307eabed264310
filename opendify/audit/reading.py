"""The audit log's files as they are at one moment, while others write on."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from opendify.audit.chain import read_link


class Snapshot(AbstractContextManager["Snapshot"]):
    """Taken under the log's lock, read without it: what is written, moved or begun later is not in it."""

    def __init__(self, path: Path) -> None:
        """`path` is the log's; the files are its own and those that anybody moved beside it.

        Raises:
            OSError: One of them cannot be read.
        """
        with ExitStack() as opened:
            self._files = [
                (file.name, opened.enter_context(file.open("rb")), file.stat().st_size)
                for file in sorted(_files(path), key=_first_number)
            ]
            self._opened = opened.pop_all()

    def lines(self) -> Iterator[tuple[str, str]]:
        """Each line without its end, oldest first, and its place."""
        for name, file, size in self._files:
            for number, line in enumerate(_complete(file, size), start=1):
                yield f"{name}:{number}", line.removesuffix(b"\n").decode("utf-8", "surrogateescape")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._opened.close()


def _files(path: Path) -> Iterator[Path]:
    return (file for file in path.parent.glob(f"{path.name}*") if file.suffix != ".lock")


def _first_number(path: Path) -> float:
    with path.open(encoding="utf-8", errors="surrogateescape", newline="\n") as lines:
        links = (read_link(line.removesuffix("\n")) for line in lines)
        return next((link.number for link in links if link), float("inf"))


def _complete(file: BinaryIO, size: int) -> Iterator[bytes]:
    """The lines of its first `size` bytes."""
    for line in file:
        size -= len(line)
        if size < 0:
            return
        yield line
