"""What a stream of an answer asks of whoever writes it, in the form of one endpoint."""

from typing import Protocol

from opendify.errors import GatewayError
from opendify.translate.turn import ReplyEvent


class StreamWriter(Protocol):
    """Writes one stream."""

    @property
    def text(self) -> str | None:
        """What the client was given; None where moderation took back what had left already."""
        ...

    @property
    def has_text(self) -> bool:
        """Whether any part of the answer was written."""
        ...

    def open(self) -> bytes:
        """The opening, once; `feed` sends it by itself where it has not gone out yet."""
        ...

    def feed(self, event: ReplyEvent) -> bytes:
        """What `event` becomes, maybe nothing."""
        ...

    def fail(self, error: GatewayError) -> bytes:
        """The end of a stream that broke."""
        ...
