"""The waist: every OpenAI endpoint is read into a `Turn`, every Dify app mode into `ReplyEvent`s."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, assert_never

import msgspec

AttachmentType = Literal["image", "document", "audio", "video"]
HistoryRole = Literal["user", "assistant", "tool"]
FinishReason = Literal["stop", "content_filter"]


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of the new turn: at a public `url`, or inline as `content`.

    `type` is Dify's. `param` is where the request holds it, for error messages.
    """

    type: AttachmentType
    filename: str
    mime_type: str
    param: str
    url: str | None = None
    content: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class HistoryMessage:
    """An earlier message; its files by name only."""

    role: HistoryRole
    text: str
    attachment_names: tuple[str, ...] = ()
    attachment_digests: tuple[str, ...] = field(default=(), compare=False)
    """What tells its files from others of the same names."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What a request asks of an app.

    `query` is what Dify is asked, `history` what came before it, oldest first.
    `stop` sequences end the answer where the first of them would begin.
    """

    query: str
    history: tuple[HistoryMessage, ...] = ()
    system: str = ""
    attachments: tuple[Attachment, ...] = ()
    inputs: Mapping[str, object] = field(default_factory=dict)
    stop: tuple[str, ...] = ()
    newest: HistoryMessage | None = field(default=None, compare=False)
    """The new message as a later transcript will show it; None where the assistant is to go on."""


@dataclass(frozen=True, slots=True)
class CompletionUsage:
    """Tokens; `total_tokens` is always the sum of the other two."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        """The sum, as OpenAI's clients expect it."""
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True, slots=True)
class Price:
    """What Dify says the run cost: a decimal string, and a currency such as `USD`."""

    total: str
    currency: str


@dataclass(frozen=True, slots=True)
class ReplyStarted:
    """Dify accepted the turn. Workflows have neither conversation nor message.

    `answered_by` is the model whose app answers, where several might.
    """

    task_id: str | None
    message_id: str | None = None
    conversation_id: str | None = None
    answered_by: str | None = None


class TextDelta(msgspec.Struct, frozen=True):
    """More of the answer; never empty. One is made for each event, and a `Struct` is made fastest."""

    text: str


def text_deltas(text: str) -> Iterator[TextDelta]:
    """`text` as a delta; none where it is empty."""
    if text:
        yield TextDelta(text)


@dataclass(frozen=True, slots=True)
class TextReplaced:
    """Moderation took back everything said so far; the answer is now `text`."""

    text: str


@dataclass(frozen=True, slots=True)
class ThoughtDelta:
    """More of the model's thinking; never empty."""

    text: str


@dataclass(frozen=True, slots=True)
class ReplyEnded:
    """The answer is whole. `usage` is None where Dify told nothing; `outputs` are a workflow's."""

    usage: CompletionUsage | None = None
    price: Price | None = None
    outputs: Mapping[str, object] | None = None


ReplyEvent = ReplyStarted | TextDelta | TextReplaced | ThoughtDelta | ReplyEnded


class ReplyFilter(Protocol):
    """One stage between a reader and a writer; one object a stream."""

    def feed(self, event: ReplyEvent) -> Iterable[ReplyEvent]:
        """What takes the place of `event`; text may be held until later events, `ReplyEnded` frees it."""
        ...

    def lets_pass(self, text: str) -> bool:
        """True only if `feed` would give a delta of `text` back as it is, and change nothing else."""
        ...


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer: all events of a stream, collected."""

    text: str
    thoughts: str
    started: ReplyStarted
    ended: ReplyEnded


def collect_reply(events: Iterable[ReplyEvent]) -> Reply:
    """The whole answer of a stream; unlike a stream it can honour `TextReplaced`."""
    text: list[str] = []
    thoughts: list[str] = []
    started, ended = ReplyStarted(task_id=None), ReplyEnded()
    for event in events:
        match event:
            case TextDelta():
                text.append(event.text)
            case ThoughtDelta():
                thoughts.append(event.text)
            case TextReplaced():
                text[:] = [event.text]
            case ReplyStarted():
                started = event
            case ReplyEnded():
                ended = event
            case _:
                assert_never(event)
    return Reply("".join(text), "".join(thoughts), started, ended)
