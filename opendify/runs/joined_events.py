"""What is kept of an answer while it comes: a long one is no more objects than a short one."""

from typing import Final

from opendify.translate.turn import ReplyEvent, TextDelta, ThoughtDelta

# Half a character, which a model may say, is kept as half a one.
_ENCODING: Final = ("utf-8", "surrogatepass")


class JoinedEvents:
    """The events that were added, with neighbouring deltas as one."""

    def __init__(self) -> None:
        self._events: list[ReplyEvent] = []
        self._open_kind: type[TextDelta] | type[ThoughtDelta] | None = None
        self._text = bytearray()  # A `StringIO` would keep the pieces.

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self._events or self._open_kind)

    def add(self, event: ReplyEvent) -> None:
        """The next one."""
        kind = _kind_of(event)
        if kind is not self._open_kind:
            self._end_delta()
        if isinstance(event, (TextDelta, ThoughtDelta)):
            self._open_kind = kind
            self._text += event.text.encode(*_ENCODING)
        else:
            self._events.append(event)

    def take(self) -> list[ReplyEvent]:
        """All of them; then there are none any more."""
        self._end_delta()
        events, self._events = self._events, []
        return events

    def _end_delta(self) -> None:
        if self._open_kind:
            self._events.append(self._open_kind(self._text.decode(*_ENCODING)))
            self._open_kind, self._text = None, bytearray()


def _kind_of(event: ReplyEvent) -> type[TextDelta] | type[ThoughtDelta] | None:
    """As what it is joined with others; None where it is not."""
    match event:
        case TextDelta():
            return TextDelta
        case ThoughtDelta():
            return ThoughtDelta
    return None
