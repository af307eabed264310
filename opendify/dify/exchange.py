"""One request to Dify and its answer as it arrives, whatever carries them."""

from typing import Protocol

import msgspec


class Head(msgspec.Struct, frozen=True):
    """Status and headers, which real Dify sends only with its first event."""

    status: int
    content_type: str
    retry_after: str | None


Arrival = Head | bytes | None
"""Bytes are the body's, maybe several chunks joined; None is its clean end."""


class Exchange(Protocol):
    """Used by one thread at a time."""

    @property
    def was_sent(self) -> bool:
        """Whether any of the request may have reached Dify."""
        ...

    def take(self, timeout_seconds: float) -> list[Arrival]:
        """What arrived since the last call, else what arrives next; empty after silence.

        Returns early, with nothing, when the client on the other side may have left.

        Raises:
            DifyUnreachable: No connection was made, so nothing was sent.
            DifyError: The connection broke; everything that came before was given first.
        """
        ...

    def forget_client(self) -> None:
        """Its connection is not ours to look at any more."""
        ...

    def abort(self) -> None:
        """Break the connection off."""
        ...
