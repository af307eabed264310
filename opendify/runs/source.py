"""What a turn can be answered from: a run at Dify is one such source."""

from collections.abc import Iterable, Iterator
from typing import Protocol

from opendify.translate.turn import ReplyEvent


class ReplySource(Protocol):
    """What answers one turn: to be settled when the answer ended, and to be closed."""

    @property
    def ended(self) -> bool:
        """True once the answer is whole; nothing follows."""
        ...

    @property
    def memory_was_lost(self) -> bool:
        """Whether the client counts on a memory that is gone."""
        ...

    def read(self, timeout_seconds: float) -> Iterable[ReplyEvent]:
        """What the next read holds; nothing after that much silence, or a shorter one.

        Raises:
            GatewayError: There is no answer, or no more of it; what was said before was given first.
        """
        ...

    def replies(self) -> Iterator[ReplyEvent]:
        """All of it, for answers that are not streamed."""
        ...

    def settle(self, answer: str | None) -> None:
        """The answer ended, and the client is given exactly `answer`; None where it was given another.

        To be called before the client learns of the end, so that its next turn finds
        the conversation where this one left it.
        """
        ...

    def close(self) -> None:
        """Let go of it; a run that still goes on is stopped at Dify."""
        ...
