"""How busy each worker is, in memory that all of them share: a busy one leaves new clients to others."""

import mmap
from typing import Final

_FREE: Final = 2**64 - 1
_BYTES: Final = 8
# Requests count first, then connections that may bring one.
_REQUEST: Final = 1 << 32


class LoadBoard:
    """One number a worker; made before the fork."""

    def __init__(self, places: int) -> None:
        self._loads = memoryview(mmap.mmap(-1, places * _BYTES)).cast("Q")
        self._taken: set[int] = set()
        for number in range(places):
            self._loads[number] = _FREE

    def take_place(self) -> "Place | None":
        """A place for a worker that is about to be forked; None where there is none left."""
        free = next((number for number in range(len(self._loads)) if number not in self._taken), None)
        if free is None:
            return None
        self._taken.add(free)
        return Place(self._loads, free)

    def clear(self, place: "Place") -> None:
        """The worker has ended, in whatever way; only the process that gave the place knows."""
        place.hide()
        self._taken.discard(place.number)


class Place:
    """A worker's own number on the board, and its view of the others'."""

    def __init__(self, loads: memoryview, number: int) -> None:
        self.number = number
        self._loads = loads

    def show(self, requests: int, connections: int) -> None:
        self._loads[self.number] = requests * _REQUEST + connections

    def hide(self) -> None:
        """This worker takes no clients: no other one waits for it."""
        self._loads[self.number] = _FREE

    @property
    def is_least_busy(self) -> bool:
        return bool(self._loads[self.number] <= min(self._loads))

    @property
    def requests_above_least(self) -> int:
        """How many requests more than the least busy worker this one has."""
        return int(self._loads[self.number] // _REQUEST - min(self._loads) // _REQUEST)
