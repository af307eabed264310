"""The bytes of one of Dify's streams as its events."""

from typing import Final

from opendify.wire.dify import MalformedEvent, Message, StreamEvent, decode_event
from opendify.wire.like_messages import LikeMessages
from opendify.wire.sse import SSEDecoder

# So many events are looked at one after another, in the hope that one shows what the others look like.
_MOST_LOOKS: Final = 32


class EventDecoder:
    """Decodes one stream; holds what the next chunk must complete."""

    def __init__(self) -> None:
        self.failure: MalformedEvent | None = None
        """Why nothing more can be read; what came before it was given."""
        self._frames = SSEDecoder()
        self._like = LikeMessages()
        self._looks_left = _MOST_LOOKS

    def feed(self, chunk: bytes) -> list[StreamEvent]:
        """The events that `chunk`, which may end anywhere, completes."""
        if self._frames.is_between_events and (message := self._like.read_one(chunk)):
            return [message]
        events: list[StreamEvent] = []
        while chunk and not self.failure:
            if self._frames.is_between_events:
                messages, chunk = self._like.take_many(chunk)
                if messages:
                    events.append(messages)
                    continue
            piece, chunk = self._next_piece(chunk)
            events += self._decode(piece)
        return events

    def _next_piece(self, chunk: bytes) -> tuple[bytes, bytes]:
        """One event as long as there is something to learn from it, else all of them; and the rest."""
        if self._looks_left == 0 or not self._like.may_learn:
            return chunk, b""
        self._looks_left -= 1
        event, end, rest = chunk.partition(b"\n\n")
        return event + end, rest

    def _decode(self, piece: bytes) -> list[StreamEvent]:
        events: list[StreamEvent] = []
        for payload in self._frames.feed(piece):
            try:
                event = decode_event(payload)
            except MalformedEvent as error:
                self.failure = error
                break
            if type(event) is Message:
                self._like.learn(payload, event)
            events.append(event)
        return events
