"""The short cut for most of a stream: events that are like one before but for their text, read all at once.

Dify writes every `message` event of an answer in the same way: the same fields in the same order,
with the same ids. So once one was decoded, the others are found by comparing bytes. Whatever is
not exactly so, an escape in its text included, is left to those who decode each event.
"""

from typing import Final

import msgspec

from opendify.wire.dify import MalformedEvent, Message, Messages, decode_event
from opendify.wire.sse import encode_json

_MOST_TRIES: Final = 8
# So much of an event's JSON says that it is a message.
_NAMED_BY_THEN: Final = len('{"event": "message",')
_OTHER_TEXT: Final = "any other text"


class LikeMessages:
    """Knows how one stream writes its texts, as soon as it has seen one; one object a stream."""

    def __init__(self) -> None:
        self._tries_left = _MOST_TRIES
        self._like: Message | None = None
        # What stands before and behind the text, where the text stands, and how many bytes are none of it.
        self._around = b"", b""
        self._inside = slice(0)
        self._size_around = 0
        self._latest: tuple[bytes, Message] | None = None
        self._latest_begins = b""

    @property
    def may_learn(self) -> bool:
        """Whether the next `Message` is worth a look."""
        return self._like is None and self._tries_left > 0

    def learn(self, payload: bytes, message: Message) -> None:
        """`payload` is the JSON of `message`: those that follow may be like it.

        It is looked at when one follows that may be: many answers are one message.
        """
        self._latest, self._latest_begins = (payload, message), b"data: " + payload[:_NAMED_BY_THEN]

    def _look_at(self, payload: bytes, message: Message) -> None:
        self._latest = None
        if not self._tries_left or self._knows(b"data: %b\n\n" % payload):
            return
        self._like = None
        self._tries_left -= 1
        if not message.answer or b"\n" in payload or b"\r" in payload:
            return
        before, text, after = payload.rpartition(encode_json(message.answer))
        if text and _holds_the_answer(before, after, message):
            self._like = message
            before, after = self._around = b'data: %b"' % before, b'"%b\n\n' % after
            self._inside = slice(len(before), -len(after))
            self._size_around = len(before) + len(after)

    def read_one(self, chunk: bytes) -> Messages | None:
        """The only message of `chunk`, which begins with an event; None where it is anything else."""
        literal = chunk[self._inside]
        if self._like is None or literal.join(self._around) != chunk:
            return None
        text = _plain_text(literal)
        return Messages(text, (literal,), self._like) if text else None

    def take_many(self, chunk: bytes) -> tuple[Messages | None, bytes]:
        """The messages that `chunk`, which begins with an event, begins with, if it does; and the rest."""
        if self._latest and chunk.startswith(self._latest_begins):
            self._look_at(*self._latest)
        if self._like is None:
            return None, chunk
        before, after = self._around
        *events, rest = chunk.split(after)
        texts = [event.removeprefix(before) for event in events]
        joined = b"".join(texts)
        if len(chunk) - len(joined) - len(rest) != len(texts) * self._size_around or b"" in texts:
            return None, chunk
        # Two halves of a character, which would join, do not make two texts whole.
        text = _plain_text(joined) if joined.isascii() or _plain_text(b" ".join(texts)) else None
        return (Messages(text, texts, self._like), rest) if text else (None, chunk)

    def _knows(self, event: bytes) -> bool:
        before, after = self._around
        return self._like is not None and event.startswith(before) and event.endswith(after)


def _plain_text(literal: bytes) -> str | None:
    """What it says, if it is not empty, and JSON that would be written again as it is; else None."""
    try:
        text = literal.decode()
    except UnicodeDecodeError:
        return None
    if '"' in text or "\\" in text:
        return None
    # Neither control characters nor what ends lines; others that are no letters are few.
    return text if text.isprintable() else None


def _holds_the_answer(before: bytes, after: bytes, message: Message) -> bool:
    """Whether the text between the two is all that makes the answer of `message`."""
    try:
        other = decode_event(before + encode_json(_OTHER_TEXT) + after)
    except MalformedEvent:
        return False
    return other == msgspec.structs.replace(message, answer=_OTHER_TEXT)
