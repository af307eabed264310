"""The items of a streamed response: each is opened, told bit by bit, and closed as a whole."""

from collections.abc import Sequence
from typing import Final

from opendify.translate.openai_responses import message_item, reasoning_item, summary_part, text_part
from opendify.translate.reply_writer import Shape
from opendify.wire.sse import encode_json, encode_text

_TEXT_DELTA: Final = "response.output_text.delta"
_ANY_TEXT: Final = "any text"


class ResponseEvents:
    """Numbers a stream's events and frames them: an `event:` line, and the same type in the data."""

    def __init__(self) -> None:
        self._number = 0

    def event(self, kind: str, fields: Shape) -> bytes:
        """One event."""
        data = encode_json({"type": kind, "sequence_number": self.take_number(), **fields})
        return b"".join((b"event: ", kind.encode(), b"\ndata: ", data, b"\n\n"))

    def take_number(self) -> int:
        """The place of the next event; the first is 0."""
        number = self._number
        self._number += 1
        return number


class ReasoningItem:
    """Thoughts without a word of the answer between them."""

    def __init__(self, events: ResponseEvents, item: str, output_index: int) -> None:
        self._events = events
        self._id = item
        self._output_index = output_index
        self._place = {"item_id": item, "output_index": output_index, "summary_index": 0}
        self._text: list[str] = []

    @property
    def shape(self) -> Shape:
        """What of it was told."""
        return reasoning_item(self._id, "".join(self._text))

    def open(self) -> bytes:
        """Before the first thought."""
        added = {"output_index": self._output_index, "item": reasoning_item(self._id, None)}
        return self._events.event("response.output_item.added", added) + self._events.event(
            "response.reasoning_summary_part.added", {**self._place, "part": summary_part("")}
        )

    def more(self, text: str) -> bytes:
        """More thinking."""
        self._text.append(text)
        return self._events.event("response.reasoning_summary_text.delta", {**self._place, "delta": text})

    def close(self) -> bytes:
        """After the last thought."""
        text, event = "".join(self._text), self._events.event
        done = event("response.reasoning_summary_text.done", {**self._place, "text": text})
        done += event("response.reasoning_summary_part.done", {**self._place, "part": summary_part(text)})
        ended = {"output_index": self._output_index, "item": self.shape}
        return done + event("response.output_item.done", ended)


class MessageItem:
    """The answer: one message with one part, however often thoughts come between."""

    def __init__(self, events: ResponseEvents, item: str, output_index: int) -> None:
        self._events = events
        self._id = item
        self._output_index = output_index
        self._place = {"item_id": item, "output_index": output_index, "content_index": 0}
        # As UTF-8, because a list of short strings takes ten times their size.
        self._text = bytearray()
        # A delta is always the same but for its number and its text.
        delta = encode_json({**self._place, "delta": _ANY_TEXT, "logprobs": []})
        before, _, after = delta[1:].partition(encode_json(_ANY_TEXT))
        self._before_number = f'event: {_TEXT_DELTA}\ndata: {{"type":"{_TEXT_DELTA}","sequence_number":'
        self._before_text, self._after_text = b"," + before, after + b"\n\n"

    @property
    def text(self) -> str:
        """What of it was told."""
        return self._text.decode("utf-8", "surrogatepass")

    @property
    def has_text(self) -> bool:
        """Whether anything was."""
        return bool(self._text)

    @property
    def cut(self) -> Shape:
        """It broke off here."""
        return message_item(self._id, "incomplete", [text_part(self.text)])

    def open(self) -> bytes:
        """Before the first word."""
        item = message_item(self._id, "in_progress", [])
        added = {"output_index": self._output_index, "item": item}
        return self._events.event("response.output_item.added", added) + self._events.event(
            "response.content_part.added", {**self._place, "part": text_part("")}
        )

    def more(self, text: str) -> bytes:
        """More of the answer."""
        self._text += text.encode("utf-8", "surrogatepass")
        return self._delta(encode_text(text))

    def more_literals(self, literals: Sequence[bytes]) -> bytes:
        """As `more` of each; they are as JSON writes them, without the quotes."""
        self._text += b"".join(literals)
        return b"".join([self._delta(b'"%b"' % literal) for literal in literals])

    def close(self, annotations: Sequence[Shape], status: str) -> tuple[bytes, Shape]:
        """After the last word: what tells of it, and the item as a whole."""
        event, place, text = self._events.event, self._place, self.text
        frames = [
            event(
                "response.output_text.annotation.added",
                {**place, "annotation_index": number, "annotation": annotation},
            )
            for number, annotation in enumerate(annotations)
        ]
        part = text_part(text, annotations)
        item = message_item(self._id, status, [part])
        frames += [
            event("response.output_text.done", {**place, "text": text, "logprobs": []}),
            event("response.content_part.done", {**place, "part": part}),
            event("response.output_item.done", {"output_index": self._output_index, "item": item}),
        ]
        return b"".join(frames), item

    def _delta(self, text: bytes) -> bytes:
        number = self._events.take_number()
        head = f"{self._before_number}{number}".encode()
        return b"".join((head, self._before_text, text, self._after_text))
