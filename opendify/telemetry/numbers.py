"""The numbers behind prometheus-client's metrics, where changing one takes a single step.

The library lets everybody bring numbers of their own (`values.ValueClass`), and reads those of other
processes from their files. Its own are reached through nine calls: checks for instruments of
strangers, a look for a fork, and the packing of what is written.
"""

import gc
import mmap
import os
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

_Family = TypeVar("_Family")

CHANGING: Final = threading.RLock()
"""Held by whoever changes a number; what the collector ends meanwhile may count in the same thread."""
_MAKING: Final = threading.RLock()
# Those that are being made; see `made_with`.
_MADE: Final[list["Number"]] = []
_FILE_BYTES: Final = 1 << 16
_FLOAT_BYTES: Final = 8


class Number:
    """One number: `cells[at]`, in this process's memory alone. The signatures are the library's."""

    _multiprocess = False

    def __init__(self, *_: object, **__: object) -> None:
        self.cells: memoryview[float] = memoryview(bytearray(_FLOAT_BYTES)).cast("d")
        self.at = 0
        _MADE.append(self)

    def inc(self, amount: float) -> None:
        """Raise it."""
        with CHANGING:
            self.cells[self.at] += amount

    def set(self, value: float, timestamp: float | None = None) -> None:  # noqa: ARG002 - The library's.
        """Make it `value`."""
        with CHANGING:
            self.cells[self.at] = value

    def get(self) -> float:
        """What it is."""
        return self.cells[self.at]

    def set_exemplar(self, exemplar: object) -> None:
        """None is kept."""

    def get_exemplar(self) -> None:
        """None is kept."""


def shared_numbers(folder: Path, process: str) -> type[Number]:
    """Numbers that lie in files of `folder`, one for each kind of metric.

    `process` is in the files' names, by which the library tells the processes that it sums apart.
    """
    from prometheus_client.mmap_dict import mmap_key

    files: dict[str, _NumberFile] = {}

    class SharedNumber(Number):
        _multiprocess = True

        def __init__(
            self,
            kind: str,
            metric: str,
            name: str,
            label_names: Sequence[str],
            label_values: Sequence[str],
            about: str,
            multiprocess_mode: str = "",
            **_: object,
        ) -> None:
            super().__init__()
            kind = f"{kind}_{multiprocess_mode}" if kind == "gauge" else kind
            if kind not in files:
                files[kind] = _NumberFile(folder / f"{kind}_{process}.db")
            key = mmap_key(metric, name, list(label_names), list(label_values), about)
            self.cells, self.at = files[kind].place(key)

    return SharedNumber


class _NumberFile:
    """A file in the library's own format, of this process and then of its successor.

    A count of the bytes in use, and four more; then entries: the length of a key, the key with
    blanks up to a multiple of eight bytes (with its length), the number, and a time that is not kept.

    Source: `prometheus_client.mmap_dict.MmapedDict`
    """

    def __init__(self, path: Path) -> None:
        from prometheus_client.mmap_dict import MmapedDict

        self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        self._size = os.fstat(self._file).st_size or _FILE_BYTES
        os.truncate(self._file, self._size)
        self._map()
        self._used = struct.unpack_from("i", self._bytes)[0] or _FLOAT_BYTES
        entries = MmapedDict.read_all_values_from_file(path)  # type: ignore[no-untyped-call]
        self._places = {key: position // _FLOAT_BYTES for key, _, _, position in entries}

    def place(self, key: str) -> tuple["memoryview[float]", int]:
        """Where the number of `key` is; it is 0 until it was changed."""
        if key not in self._places:
            self._append(key)
        return self._cells, self._places[key]

    def _append(self, key: str) -> None:
        name = key.encode()
        blanks = b" " * (_FLOAT_BYTES - (len(name) + 4) % _FLOAT_BYTES)
        entry = struct.pack(f"i{len(name) + len(blanks)}sdd", len(name), name + blanks, 0.0, 0.0)
        end = self._used + len(entry)
        if end > self._size:
            self._size = max(2 * self._size, end)
            os.truncate(self._file, self._size)
            self._map()
        self._bytes[self._used : end] = entry
        # Last, since others may read at any time.
        self._bytes[:4] = struct.pack("i", end)
        self._used, self._places[key] = end, end // _FLOAT_BYTES - 2

    def _map(self) -> None:
        # Who has places in an earlier map of the same file goes on with that.
        self._bytes = mmap.mmap(self._file, self._size)
        self._cells: memoryview[float] = memoryview(self._bytes).cast("d")


@contextmanager
def undisturbed() -> Iterator[None]:
    """One thread at a time makes numbers, and nothing is collected meanwhile.

    An abandoned stream that is closed by the collector counts its end: it would find the library
    half imported, or wait for its lock in the very thread that holds it.
    """
    with _MAKING:
        collects = gc.isenabled()
        gc.disable()
        try:
            yield
        finally:
            if collects:
                gc.enable()


def made_with(make: Callable[[], _Family]) -> tuple[_Family, list[Number]]:
    """What `make` makes, and its numbers in the library's order: of a histogram the sum, then the buckets."""
    with undisturbed():
        try:
            return make(), _MADE[:]
        finally:
            _MADE.clear()
