"""The stream of a response: its events in OpenAI's order, and an end that says how it ended.

Source: https://platform.openai.com/docs/api-reference/responses-streaming
"""

from collections.abc import Callable, Sequence
from typing import assert_never

from opendify.errors import GatewayError
from opendify.records import Clock
from opendify.translate.openai_responses import (
    begun_response,
    ended_response,
    failed_response,
    flat_annotations,
    item_id,
)
from opendify.translate.reply_writer import Shape
from opendify.translate.response_items import MessageItem, ReasoningItem, ResponseEvents
from opendify.translate.turn import (
    AnswerFile,
    Citations,
    Extras,
    ReplyEnded,
    ReplyEvent,
    ReplyStarted,
    Step,
    TextDelta,
    TextDeltas,
    TextReplaced,
    ThoughtDelta,
)

OnEnded = Callable[[Shape, ReplyStarted], None]
"""Hears of a response that ended, well or badly, before the client does."""


class ResponseWriter:
    """Writes one stream of events.

    Items stand in the order in which they began. Thoughts that come while the answer is told
    are an item of their own behind it, so that the answer stays one message, as it is in a
    response that is not streamed.
    """

    def __init__(self, head: Shape, *, now: Clock, on_ended: OnEnded | None = None) -> None:
        """`now` is Unix time."""
        self._head = head
        self._id = str(head["id"])
        self._now = now
        self._on_ended = on_ended
        self._events = ResponseEvents()
        self._message: MessageItem | None = None
        self._thinking: ReasoningItem | None = None
        # By output index; None is where the message goes.
        self._items: list[Shape | None] = []
        self._was_opened = False
        self._contradicted = False
        self._extras = Extras()

    @property
    def text(self) -> str | None:
        """See `StreamWriter.text`."""
        if self._contradicted:
            return None
        return self._message.text if self._message else ""

    @property
    def has_text(self) -> bool:
        """See `StreamWriter.has_text`."""
        return self._message is not None and self._message.has_text

    def open(self) -> bytes:
        """See `StreamWriter.open`."""
        if self._was_opened:
            return b""
        self._was_opened = True
        response = {"response": begun_response(self._head)}
        created = self._events.event("response.created", response)
        return created + self._events.event("response.in_progress", response)

    def feed(self, event: ReplyEvent) -> bytes:
        """See `StreamWriter.feed`."""
        if self._message and not self._thinking and not self._contradicted:
            if type(event) is TextDeltas:
                return self._message.more_literals(event.literals)
            if type(event) is TextDelta:
                return self._message.more(event.text)
        return self.open() + self._write(event)

    def fail(self, error: GatewayError) -> bytes:
        """`error`, which SDKs raise, and then `response.failed`, which Codex reads."""
        opening = self.open()
        if self._thinking:
            self._items.append(self._thinking.shape)
        output = self._output(self._message.cut if self._message else None)
        response = self._over(failed_response(self._head, output, error))
        told = {"code": error.code, "message": error.message, "param": error.param}
        frames = self._events.event("error", told)
        return opening + frames + self._events.event("response.failed", {"response": response})

    def _write(self, event: ReplyEvent) -> bytes:
        match event:
            case TextDelta():
                return self._more_text(event)
            case ThoughtDelta(text):
                return self._think(text)
            case TextReplaced(text):
                self._extras.note(event)
                return self._replace(text)
            case ReplyStarted() | Step() | Citations() | AnswerFile():
                self._extras.note(event)
                return b""
            case ReplyEnded():
                self._extras.note(event)
                return self._end()
            case _:
                assert_never(event)

    def _more_text(self, delta: TextDelta) -> bytes:
        if self._contradicted or not delta.text:
            return b""
        message, opening = self._opened_message()
        if isinstance(delta, TextDeltas):
            return opening + message.more_literals(delta.literals)
        return opening + message.more(delta.text)

    def _opened_message(self) -> tuple[MessageItem, bytes]:
        """The message, and what has to be written before more of it."""
        frames = self._stop_thinking()
        if self._message:
            return self._message, frames
        self._message = MessageItem(self._events, item_id("msg", self._id), len(self._items))
        self._items.append(None)
        return self._message, frames + self._message.open()

    def _think(self, text: str) -> bytes:
        opening = b""
        if self._thinking is None:
            number = len(self._items)
            self._thinking = ReasoningItem(self._events, item_id("rs", self._id, number), number)
            opening = self._thinking.open()
        return opening + self._thinking.more(text)

    def _stop_thinking(self) -> bytes:
        thinking, self._thinking = self._thinking, None
        if thinking is None:
            return b""
        self._items.append(thinking.shape)
        return thinking.close()

    def _replace(self, text: str) -> bytes:
        # What was sent cannot be unsent; what does not contradict it can still be completed.
        sent = self.text or ""
        if text.startswith(sent):
            return self._more_text(TextDelta(text[len(sent) :]))
        self._contradicted = True
        return b""

    def _end(self) -> bytes:
        message, frames = self._opened_message()
        is_whole = not self._contradicted
        citations = self._extras.citations if is_whole else ()
        annotations = flat_annotations(citations, len(message.text))
        closing, item = message.close(annotations, "completed" if is_whole else "incomplete")
        output = self._output(item)
        ended = ended_response(
            self._head, output, self._extras, completed_at=int(self._now()), is_whole=is_whole
        )
        kind = "response.completed" if is_whole else "response.incomplete"
        return frames + closing + self._events.event(kind, {"response": self._over(ended)})

    def _output(self, message: Shape | None) -> Sequence[Shape]:
        shapes = [message if item is None else item for item in self._items]
        return [shape for shape in shapes if shape is not None]

    def _over(self, response: Shape) -> Shape:
        if self._on_ended:
            self._on_ended(response, self._extras.started)
        return response
