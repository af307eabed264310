"""What the writers of all streams of completion objects share: order, moderation, usage, the end."""

from collections.abc import Mapping, Sequence
from typing import Final, Protocol, assert_never

from opendify.errors import GatewayError
from opendify.translate.dify_extension import dify_extension, url_annotations
from opendify.translate.turn import (
    AnswerFile,
    Citations,
    CompletionUsage,
    Extras,
    FinishReason,
    Reply,
    ReplyEnded,
    ReplyEvent,
    ReplyStarted,
    Step,
    TextDelta,
    TextDeltas,
    TextReplaced,
    ThoughtDelta,
)
from opendify.wire.sse import DONE, encode_json, encode_text, frame

Shape = Mapping[str, object]

_ANY_TEXT = "any text"


class ChoiceShapes(Protocol):
    """How one endpoint writes a choice of a streamed object."""

    object_name: str

    def opening(self) -> Shape:
        """The first choice of a stream."""
        ...

    def text(self, text: str) -> Shape:
        """More of the answer."""
        ...

    def thought(self, text: str) -> Shape | None:
        """More thinking; None where the endpoint has no place for it."""
        ...

    def finish(self, reason: FinishReason, annotations: Sequence[Shape]) -> Shape:
        """The one choice that carries `finish_reason`, and what the answer rests on, where it has a place."""
        ...


class ReplyWriter:
    """Writes one stream as `data:` frames.

    The order is OpenAI's: the opening, deltas, one object with `finish_reason` and annotations,
    a usage object if asked for, `[DONE]`. Only a whole answer ends in `[DONE]`.
    """

    def __init__(
        self, shapes: ChoiceShapes, *, completion_id: str, created: int, model: str, include_usage: bool
    ) -> None:
        head = {"id": completion_id, "object": shapes.object_name, "created": created, "model": model}
        self._head = encode_json(head)[:-1] + b","
        # With usage on, OpenAI puts `usage: null` into every object but the last.
        self._tail = b',"usage":null}' if include_usage else b"}"
        self._shapes = shapes
        self._include_usage = include_usage
        self._was_opened = False
        self._contradicted = False
        # As UTF-8, because a list of short strings takes ten times their size.
        self._text = bytearray()
        self._extras = Extras()
        # A text chunk is always the same but for the text.
        before_text, after_text = _around_text(shapes)
        self._before_text = b"data: " + self._head + before_text
        self._after_text = after_text + self._tail + b"\n\n"
        self._before_literal, self._after_literal = self._before_text + b'"', b'"' + self._after_text
        self._between_literals = self._after_literal + self._before_literal

    @property
    def text(self) -> str | None:
        """What the client was given; None where moderation took back what had left already."""
        return None if self._contradicted else self._text.decode("utf-8", "surrogatepass")

    @property
    def has_text(self) -> bool:
        """Whether any part of the answer was written."""
        return bool(self._text)

    def open(self) -> bytes:
        """The opening, once; `feed` sends it by itself where it has not gone out yet."""
        if self._was_opened:
            return b""
        self._was_opened = True
        return self._choice(self._shapes.opening())

    def feed(self, event: ReplyEvent) -> bytes:
        """The frames that `event` becomes, maybe none."""
        if self._was_opened and not self._contradicted:
            if type(event) is TextDeltas:
                literals = event.literals
                self._text += b"".join(literals)
                return b"".join(
                    (self._before_literal, self._between_literals.join(literals), self._after_literal)
                )
            if type(event) is TextDelta:
                return self._more_text(event.text)
        return self.open() + self._write(event)

    def fail(self, error: GatewayError) -> bytes:
        """The last frame of a stream that broke: the only form that all measured clients raise."""
        return frame(encode_json(error.to_body()))

    def _write(self, event: ReplyEvent) -> bytes:
        match event:
            case TextDelta():
                return b"" if self._contradicted else self.feed(event)
            case ThoughtDelta(text):
                thought = self._shapes.thought(text)
                return self._choice(thought) if thought else b""
            case TextReplaced(text):
                self._extras.note(event)
                return self._replace(text)
            case ReplyStarted() | Step() | Citations() | AnswerFile():
                self._extras.note(event)
                return b""
            case ReplyEnded():
                self._extras.note(event)
                return self._end(event)
            case _:
                assert_never(event)

    def _more_text(self, text: str) -> bytes:
        if not text:
            return b""
        self._text += text.encode("utf-8", "surrogatepass")
        return b"".join((self._before_text, encode_text(text), self._after_text))

    def _replace(self, text: str) -> bytes:
        # A chunk once sent cannot be unsent; what does not contradict it can still be completed.
        sent = self._text.decode("utf-8", "surrogatepass")
        if text.startswith(sent) and not self._contradicted:
            return self._more_text(text[len(sent) :])
        self._contradicted = True
        return b""

    def _end(self, ended: ReplyEnded) -> bytes:
        reason: FinishReason = "content_filter" if self._contradicted else "stop"
        finish = self._shapes.finish(reason, self._annotations())
        frames = self._choice(finish, dify=dify_extension(self._extras))
        if self._include_usage and ended.usage:
            usage = encode_json({"choices": [], "usage": usage_shape(ended.usage)})
            frames += frame(self._head + usage[1:])
        return frames + DONE

    def _annotations(self) -> Sequence[Shape]:
        if self._contradicted or not self._extras.citations:
            return ()
        length = len(self._text.decode("utf-8", "surrogatepass"))
        return url_annotations(self._extras.citations, length)

    def _choice(self, choice: Shape, **extension: Shape) -> bytes:
        return frame(self._head + _body(choice, **extension) + self._tail)


def _body(choice: Shape, **extension: Shape) -> bytes:
    """What stands in an object between all that its stream's objects share."""
    return encode_json({"choices": [choice], **extension})[1:-1]


# By the objects' names.
_around_texts: Final[dict[str, tuple[bytes, bytes]]] = {}


def _around_text(shapes: ChoiceShapes) -> tuple[bytes, bytes]:
    """What stands before and behind a text in the body of its object, in all streams of an endpoint."""
    if shapes.object_name not in _around_texts:
        before, _, after = _body(shapes.text(_ANY_TEXT)).rpartition(encode_json(_ANY_TEXT))
        _around_texts[shapes.object_name] = before, after
    return _around_texts[shapes.object_name]


def whole_object(head: Shape, choice: Shape, reply: Reply) -> dict[str, object]:
    """An answer that is not streamed; `usage` is left out where Dify told none."""
    usage = {"usage": usage_shape(reply.ended.usage)} if reply.ended.usage else {}
    return {**head, "choices": [choice], **usage, "dify": dify_extension(reply)}


def usage_shape(usage: CompletionUsage) -> dict[str, int]:
    """OpenAI's `usage` object."""
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
