"""The numbers behind prometheus-client's metrics, made so that changing one takes few steps.

The library lets everybody bring numbers of their own (`values.ValueClass`). Its own look for a fork at
each change, and are reached through checks that only strangers' instruments need.
"""

import gc
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from prometheus_client.mmap_dict import MmapedDict

_Family = TypeVar("_Family")

# Held by whoever changes a number; what the collector ends meanwhile may count in the same thread.
_CHANGING: Final = threading.RLock()
MAKING: Final = threading.RLock()
"""Held by whoever makes numbers."""
# Those that are being made; see `made_with`.
_MADE: Final[list["Number"]] = []


class Number:
    """One number of this process alone. The signatures are the library's."""

    _multiprocess = False

    def __init__(self, *_: object, **__: object) -> None:
        self._value = 0.0
        _MADE.append(self)

    def inc(self, amount: float) -> None:
        """Raise it."""
        with _CHANGING:
            self._value += amount

    def set(self, value: float, timestamp: float | None = None) -> None:  # noqa: ARG002 - The library's.
        """Make it `value`."""
        with _CHANGING:
            self._value = value

    def get(self) -> float:
        """What it is."""
        return self._value

    def set_exemplar(self, exemplar: object) -> None:
        """None is kept."""

    def get_exemplar(self) -> None:
        """None is kept."""


def shared_numbers(folder: Path, process: str) -> type[Number]:
    """Numbers that lie in files of `folder`, one for each kind of metric, in the library's own format.

    `process` is in the files' names, by which the library tells the processes that it sums apart.
    """
    from prometheus_client.mmap_dict import MmapedDict, mmap_key

    files: dict[str, MmapedDict] = {}

    def file_of(kind: str) -> "MmapedDict":
        if kind not in files:
            files[kind] = MmapedDict(str(folder / f"{kind}_{process}.db"))  # type: ignore[no-untyped-call]
        return files[kind]

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
            file = file_of(f"{kind}_{multiprocess_mode}" if kind == "gauge" else kind)
            self._key = mmap_key(metric, name, list(label_names), list(label_values), about)
            self._write: Callable[[str, float, float], Any] = file.write_value
            with _CHANGING:
                # Its predecessor's, if it has one.
                self._value = file.read_value(self._key)[0]  # type: ignore[no-untyped-call]

        def inc(self, amount: float) -> None:
            with _CHANGING:
                self._value = value = self._value + amount
                self._write(self._key, value, 0.0)

        def set(self, value: float, timestamp: float | None = None) -> None:
            with _CHANGING:
                self._value = value
                self._write(self._key, value, timestamp or 0.0)

    return SharedNumber


def made_with(make: Callable[[], _Family]) -> tuple[_Family, list[Number]]:
    """What `make` makes, and its numbers in the library's order: of a histogram the sum, then the buckets.

    Nothing is collected meanwhile: an abandoned stream that is closed by the collector counts
    its end, and would wait for the library's lock in the very thread that holds it.
    """
    with MAKING:
        collects = gc.isenabled()
        gc.disable()
        try:
            made, numbers = make(), _MADE[:]
        finally:
            _MADE.clear()
            if collects:
                gc.enable()
    return made, numbers
