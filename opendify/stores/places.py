"""How many requests of a caller go on at once, where several machines serve it."""

from typing import Protocol


class PlaceStore(Protocol):
    """A place is held until it is given back, or until its time, so that who dies blocks nobody for long.

    Times are Unix seconds. Every method may raise `StoreUnavailable`.
    """

    def take(self, name: str, place: str, *, most: int, now: float, until: float) -> bool:
        """Hold `place`, a new one, unless so many are held under that name."""
        ...

    def renew(self, name: str, place: str, *, until: float) -> None:
        """Hold it longer, or again."""
        ...

    def give_back(self, name: str, place: str) -> None:
        """Hold it no more; one that is not held is no error."""
        ...

    def close(self) -> None:
        """Close this process's connections; the next use opens others."""
        ...
