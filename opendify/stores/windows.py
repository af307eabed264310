"""What is counted of each caller and each address, a minute at a time, by all who serve them."""

from dataclasses import dataclass
from typing import Final, Protocol

WINDOW_SECONDS: Final = 60.0
UNLIMITED: Final = 2**53 - 1
"""More than anybody uses; the largest whole number that Redis counts to exactly."""


@dataclass(frozen=True, slots=True)
class Amount:
    """So many requests and tokens."""

    requests: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Window:
    """What was used until `ends_at` (Unix seconds), and whether what was asked for is part of it."""

    is_let_in: bool
    used: Amount
    ends_at: float


class WindowStore(Protocol):
    """Counts exactly, over all threads, processes and machines that share the store.

    A name's window begins with what is first counted in it, and ends `WINDOW_SECONDS`
    later. One that ends much later than that was begun before the clock was put back,
    and counts for nothing. Every method may raise `StoreUnavailable`.
    """

    def count(self, name: str, amount: Amount, most: Amount, *, now: float) -> Window:
        """Count `amount`, unless there would be more requests than `most`, or all its tokens are used."""
        ...

    def clean_up(self, *, now: float) -> None:
        """Forget the windows that have ended."""
        ...

    def close(self) -> None:
        """Close this process's connections; the next use opens others."""
        ...
