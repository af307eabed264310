"""Turns of clients that go on asking before they were answered: few at once, who waits longest first."""

from collections.abc import Iterator
from typing import Generic, TypeVar

_Client = TypeVar("_Client")


class PipelineLine(Generic[_Client]):
    """Keeps requests that were sent ahead of time from crowding out those of everybody else.

    A client with hundreds of them has one turn like the others. Belongs to one thread.
    """

    def __init__(self, most_at_once: int) -> None:
        self._most_at_once = most_at_once
        self._waiting: dict[_Client, None] = {}
        self._having_turns: set[_Client] = set()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def __iter__(self) -> Iterator[_Client]:
        return iter(self._waiting)

    def join(self, client: _Client) -> None:
        """Wait for a turn, behind all others."""
        self._waiting[client] = None

    def next(self) -> _Client | None:
        """Who has a turn now, until `leave`; None while nobody waits, or enough have one."""
        if not self._waiting or len(self._having_turns) >= self._most_at_once:
            return None
        client = next(iter(self._waiting))
        del self._waiting[client]
        self._having_turns.add(client)
        return client

    def leave(self, client: _Client) -> None:
        """Its turn is over, if it had one."""
        self._having_turns.discard(client)
