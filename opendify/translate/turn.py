"""The waist: every OpenAI endpoint is read into a `Turn`, every Dify app mode into `ReplyEvent`s.

What is made for each request or event is a `Struct`, which is made in a fifth of a dataclass's time.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, assert_never

import msgspec

AttachmentType = Literal["image", "document", "audio", "video"]
HistoryRole = Literal["user", "assistant", "tool"]
FinishReason = Literal["stop", "content_filter"]

MOST_STEPS = 200
"""So many steps of a run are listed; what loops for longer is not worth a list."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file of the new turn: at a `url`, inline as `content`, or in our own store under `file_id`.

    `type` is Dify's, as far as the request tells it; `mime_type` is empty where it says
    nothing of it. `param` is where the request holds it, for error messages.
    """

    type: AttachmentType
    filename: str
    mime_type: str
    param: str
    url: str | None = field(default=None, repr=False)
    content: bytes | None = field(default=None, repr=False)
    file_id: str | None = None


class HistoryMessage(msgspec.Struct, frozen=True):
    """An earlier message; its files by name only."""

    role: HistoryRole
    text: str
    attachment_names: tuple[str, ...] = ()
    attachment_digests: tuple[str, ...] = ()
    """What tells its files from others of the same names."""


class Turn(msgspec.Struct, frozen=True):
    """What a request asks of an app.

    `query` is what Dify is asked, `history` what came before it, oldest first.
    `stop` sequences end the answer where the first of them would begin.
    """

    query: str
    history: tuple[HistoryMessage, ...] = ()
    system: str = ""
    attachments: tuple[Attachment, ...] = ()
    inputs: Mapping[str, object] = {}
    stop: tuple[str, ...] = ()
    newest: HistoryMessage | None = None
    """The new message as a later transcript will show it; None where the assistant is to go on."""


class CompletionUsage(msgspec.Struct, frozen=True):
    """Tokens; `total_tokens` is always the sum of the other two."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        """The sum, as OpenAI's clients expect it."""
        return self.prompt_tokens + self.completion_tokens


class Price(msgspec.Struct, frozen=True):
    """What Dify says the run cost: a decimal string, and a currency such as `USD`."""

    total: str
    currency: str


class ReplyStarted(msgspec.Struct, frozen=True):
    """Dify accepted the turn. Workflows have neither conversation nor message.

    `workflow_run_id` is that of workflows and chatflows, sealed before it leaves.
    `answered_by` is the model whose app answers, where several might.
    """

    task_id: str | None
    message_id: str | None = None
    conversation_id: str | None = None
    answered_by: str | None = None
    workflow_run_id: str | None = None


class TextDelta(msgspec.Struct, frozen=True):
    """More of the answer; never empty."""

    text: str


class TextDeltas(TextDelta, frozen=True, gc=False):
    """Several in one: `text` is theirs together, `literals` each as JSON writes it, without the quotes."""

    literals: Sequence[bytes]


def text_deltas(text: str) -> tuple[TextDelta, ...]:
    """`text` as a delta; none where it is empty."""
    return (TextDelta(text),) if text else ()


class TextReplaced(msgspec.Struct, frozen=True):
    """Moderation took back everything said so far; the answer is now `text`."""

    text: str


class ThoughtDelta(msgspec.Struct, frozen=True):
    """More of the model's thinking; never empty."""

    text: str


def thought_deltas(text: str) -> tuple[ThoughtDelta, ...]:
    """`text` as a delta; none where it is empty."""
    return (ThoughtDelta(text),) if text else ()


@dataclass(frozen=True, slots=True)
class Step:
    """Something that the app does on its way: a tool, a node; told again under its `id` as it goes on.

    `type` is `tool`, `agent_log`, or a node's type. `status` is Dify's, `running` at first; a tool's
    result is only known to be there: `finished`. `level` is how deep it lies in iterations and
    loops. `input` and `output` are shortened and cleaned, and empty where they are not wanted.
    """

    id: str
    name: str
    type: str
    status: str
    level: int = 0
    elapsed_seconds: float | None = None
    tokens: int | None = None
    input: str = ""
    output: str = ""


@dataclass(frozen=True, slots=True)
class Citation:
    """A piece of a document that the app's knowledge gave; `url` where the document has one."""

    position: int
    document_id: str | None = None
    document_name: str | None = None
    dataset_id: str | None = None
    dataset_name: str | None = None
    segment_id: str | None = None
    score: float | None = None
    text: str | None = None
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Citations:
    """What the answer rests on, in Dify's order; never empty."""

    citations: tuple[Citation, ...]


@dataclass(frozen=True, slots=True)
class AnswerFile:
    """A file that the app made or shows; `type` is Dify's: `image`, `document`, `audio`, `video`, `custom`.

    `url` may lack a host until it is published. `is_shown` says that the text already links to it,
    otherwise `follows_text` and `precedes_text` what it must be parted from. `id` is the one
    under which a copy is kept for the caller.
    """

    url: str = field(repr=False)
    filename: str
    type: str = "custom"
    mime_type: str | None = None
    size: int | None = None
    is_shown: bool = False
    follows_text: bool = False
    precedes_text: bool = False
    id: str | None = None


class ReplyEnded(msgspec.Struct, frozen=True):
    """The answer is whole. `usage` is None where Dify told nothing; `outputs` are a workflow's."""

    usage: CompletionUsage | None = None
    price: Price | None = None
    outputs: Mapping[str, object] | None = None


ReplyEvent = (
    ReplyStarted | TextDelta | TextReplaced | ThoughtDelta | Step | Citations | AnswerFile | ReplyEnded
)
Extra = ReplyStarted | Step | Citations | AnswerFile | TextReplaced | ReplyEnded
"""What belongs neither to the text nor to the thinking, or changes what does not."""


class ReplyFilter(Protocol):
    """One stage between a reader and a writer; one object a stream."""

    @property
    def heeds(self) -> tuple[type, ...]:
        """The kinds of events that `feed` is to be asked about; the others it would only give back."""
        ...

    def feed(self, event: ReplyEvent) -> Iterable[ReplyEvent]:
        """What takes the place of `event`; text may be held until later events, `ReplyEnded` frees it."""
        ...

    @property
    def lets_pass(self) -> Callable[[str], bool] | None:
        """What is true only for a text whose delta `feed` would give back as it is, and change nothing else.

        So it is then for the deltas that each hold a part of it, and for all others until `feed` is called.

        None where that is so for every text.
        """
        ...


def lets_none_pass(_: str) -> bool:
    """For who must see each text."""
    return False


class Extras:
    """What a reply holds beside its text and its thinking; one object a reply."""

    def __init__(self) -> None:
        self.started = ReplyStarted(task_id=None)
        self.ended = ReplyEnded()
        self.citations: tuple[Citation, ...] = ()
        self.files: tuple[AnswerFile, ...] = ()
        self._steps: dict[str, Step] = {}

    @property
    def steps(self) -> tuple[Step, ...]:
        """Each as it was told last, in the order in which they began; the first `MOST_STEPS`."""
        return tuple(self._steps.values())

    def note(self, event: Extra) -> None:
        """Take in what `event` tells."""
        match event:
            case ReplyStarted():
                self.started = event
            case Step():
                if event.id in self._steps or len(self._steps) < MOST_STEPS:
                    self._steps[event.id] = event
            case Citations(citations):
                self.citations = citations
            case AnswerFile():
                self.files += (event,)
            case TextReplaced():
                self.files = ()  # They were shown in what was taken back.
            case ReplyEnded():
                self.ended = event
            case _:
                assert_never(event)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer: all events of a stream, collected."""

    text: str
    thoughts: str
    started: ReplyStarted
    ended: ReplyEnded
    steps: tuple[Step, ...] = ()
    citations: tuple[Citation, ...] = ()
    files: tuple[AnswerFile, ...] = ()


def collect_reply(events: Iterable[ReplyEvent]) -> Reply:
    """The whole answer of a stream; unlike a stream it can honour `TextReplaced`."""
    text: list[str] = []
    thoughts: list[str] = []
    extras = Extras()
    for event in events:
        match event:
            case TextDelta():
                text.append(event.text)
            case ThoughtDelta():
                thoughts.append(event.text)
            case TextReplaced():
                text[:] = [event.text]
                extras.note(event)
            case ReplyStarted() | Step() | Citations() | AnswerFile() | ReplyEnded():
                extras.note(event)
            case _:
                assert_never(event)
    return Reply(
        "".join(text),
        "".join(thoughts),
        extras.started,
        extras.ended,
        extras.steps,
        extras.citations,
        extras.files,
    )
