"""Dify's stream events → `ReplyEvent`s, for all app modes and versions.

What tells the end differs by mode and version (protocol 0.15 to 1.16):

- `message_end` always means a whole answer; whatever follows it is noise.
- Chatflows send `workflow_finished` before `message_end` (up to 1.12), instead of
  it (1.13.0), or after it (from 1.13.1 on).
- Workflows end with `workflow_finished` and have no `message_end`.
- A stream that ends without any of these was cut.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Protocol

from opendify.errors import DifyAppError, DifyError, DifyRunFailed
from opendify.settings import AppMode, Steps
from opendify.translate.agent_rounds import AgentRounds
from opendify.translate.dify_citations import read_citations
from opendify.translate.dify_errors import error_from_event, error_from_failed_run
from opendify.translate.dify_files import AnswerFiles, holds_files_only
from opendify.translate.dify_outputs import WorkflowText, answer_from_outputs
from opendify.translate.dify_steps import StepReader
from opendify.translate.dify_usage import UsageTally, read_price, read_usage
from opendify.translate.human_input import PausedRun, form_text, read_form
from opendify.translate.turn import (
    AnswerFile,
    ReplyEnded,
    ReplyEvent,
    ReplyStarted,
    TextDelta,
    TextReplaced,
    text_deltas,
    thought_deltas,
)
from opendify.wire import dify

_PAUSED = "The app waits for human input, which cannot be given here"


class ReplyReader(Protocol):
    """Reads the events of one stream."""

    @property
    def ended(self) -> bool:
        """True once `ReplyEnded` was given; what comes after it is of no interest."""
        ...

    @property
    def paused(self) -> PausedRun | None:
        """What the run waits for, where it ended with a question."""
        ...

    def feed(self, event: dify.StreamEvent) -> Iterable[ReplyEvent]:
        """What `event` says.

        Raises:
            GatewayError: The run failed.
        """
        ...

    @property
    def passes_texts(self) -> bool:
        """Whether messages say their text and nothing else, until `feed` is called again."""
        ...

    def close(self) -> Iterator[ReplyEvent]:
        """What the end of the stream says.

        Raises:
            DifyError: The stream was cut: the answer is not whole.
        """
        ...


class _Reader(ABC):
    """What the readers of all modes share: the start, thinking, steps, usage, failures."""

    def __init__(self, steps: Steps) -> None:
        self.ended = False
        self.paused: PausedRun | None = None
        self._question = ""
        self._started = False
        self._tally = UsageTally()
        self._steps = StepReader(steps)

    def feed(self, event: dify.StreamEvent) -> Iterable[ReplyEvent]:
        """See `ReplyReader.feed`."""
        if self.ended:
            return ()
        if not self._started and isinstance(event, dify.Event) and self._names_the_reply(event):
            return self._start(event)
        return self._read_any(event)

    def _start(self, event: dify.KnownEvent) -> Iterator[ReplyEvent]:
        self._started = True
        run_id = event.workflow_run_id if isinstance(event, dify.WorkflowStarted) else None
        yield ReplyStarted(event.task_id, event.message_id, event.conversation_id, workflow_run_id=run_id)
        yield from self._read_any(event)

    def _read_any(self, event: dify.StreamEvent) -> Iterable[ReplyEvent]:
        match event:
            case dify.ReasoningChunk():
                return thought_deltas(event.data.reasoning or "")
            case dify.NodeFinished():
                self._tally.add(event.data)
                return self._steps.read(event)
            case dify.ErrorEvent():
                raise error_from_event(event)
            case dify.HumanInputRequired():
                self._take_form(event)
                return ()
            case dify.WorkflowPaused():
                return self._ask()
            case _:
                return self._read(event)

    def _take_form(self, event: dify.HumanInputRequired) -> None:
        """Of several forms the first is asked; the run asks the others when it goes on."""
        form = None if self.paused else read_form(event)
        if form:
            self.paused = form
            self._question = form_text(event.data.form_content or "", form)

    def _ask(self) -> Iterator[ReplyEvent]:
        if self.paused is None:
            raise DifyAppError(_PAUSED).after_work()
        yield TextDelta(f"\n\n{self._question}" if self._said_something() else self._question)
        self.ended = True
        yield ReplyEnded(self._tally.usage())

    @abstractmethod
    def _said_something(self) -> bool:
        """Whether any of the answer was given."""

    @abstractmethod
    def _names_the_reply(self, event: dify.Event) -> bool:
        """Whether `event` has the ids by which the reply is known."""

    @abstractmethod
    def _read(self, event: dify.StreamEvent) -> Iterable[ReplyEvent]:
        """What the mode's own events say."""


class ChatReplyReader(_Reader):
    """Reads chat, agent-chat, agent, advanced-chat and completion apps.

    One reader serves them all, since servers before 1.4 do not tell the modes
    apart and every event means the same in each.
    """

    def __init__(self, steps: Steps = "names") -> None:
        super().__init__(steps)
        self._run_finished = False
        self._text_was_sent = False
        self._agent = AgentRounds()
        self._files = AnswerFiles()
        self._graph_answer: str | None = None

    @property
    def passes_texts(self) -> bool:
        """See `ReplyReader.passes_texts`: nearly all events of a chat are such."""
        return self._text_was_sent and self._started and not (self._agent.sent or self.ended)

    def close(self) -> Iterator[ReplyEvent]:
        """See `ReplyReader.close`; 1.13.0 closes a chatflow without `message_end`."""
        if self.ended:
            return
        if not self._run_finished:
            raise DifyError("Dify closed the stream before `message_end`")
        yield self._end(None)

    def _said_something(self) -> bool:
        return self._text_was_sent

    def _names_the_reply(self, event: dify.Event) -> bool:
        return bool(event.conversation_id or event.message_id)

    def _read(self, event: dify.StreamEvent) -> Iterable[ReplyEvent]:
        match event:
            case dify.Message(answer=str(text)) | dify.MessageFile(answer=str(text)):
                return self._text(self._agent.not_yet_sent(text))
            case dify.MessageFile():
                return self._show(self._files.read_event(event), text_follows=True)
            case dify.AgentMessage(answer=str(text)):
                return self._text(self._agent.add_text(text))
            case dify.AgentThought():
                return (*thought_deltas(self._agent.add_thought(event)), *self._steps.read(event))
            case dify.MessageReplace():
                self._text_was_sent = True
                return (TextReplaced(event.answer or ""),)
            case dify.WorkflowFinished():
                return self._finish_run(event.data)
            case dify.MessageEnd():
                return self._finish(event)
            case _:
                return self._steps.read(event)

    def _text(self, text: str) -> Iterable[ReplyEvent]:
        self._text_was_sent = self._text_was_sent or bool(text)
        return text_deltas(text)

    def _finish(self, end: dify.MessageEnd) -> Iterator[ReplyEvent]:
        if end.metadata:
            yield from read_citations(end.metadata.retriever_resources)
        yield from self._show_last(end)
        yield self._end(end.metadata)

    def _show(self, files: Iterable[AnswerFile], *, text_follows: bool = False) -> Iterator[ReplyEvent]:
        """Each file on lines of its own."""
        for file in files:
            yield replace(file, follows_text=self._text_was_sent, precedes_text=text_follows)
            self._text_was_sent = True

    def _show_last(self, end: dify.MessageEnd) -> Iterator[ReplyEvent]:
        """Chatflows list what their answer shows, other apps the person's own files too."""
        if self._graph_answer is None:
            yield from self._show(self._files.read_made(end.files))
        else:
            yield from self._show(self._files.read_all(end.files, self._graph_answer))

    def _finish_run(self, run: dify.WorkflowFinishedData) -> Iterator[ReplyEvent]:
        _refuse_part(run, text_was_sent=self._text_was_sent)
        self._run_finished = True
        self._tally.finish(run)
        answer = (run.outputs or {}).get("answer")
        self._graph_answer = answer if isinstance(answer, str) else ""
        if not self._text_was_sent and isinstance(answer, str):
            yield from self._text(answer)

    def _end(self, metadata: dify.Metadata | None) -> ReplyEnded:
        self.ended = True
        usage = metadata.usage if metadata else None
        return ReplyEnded(read_usage(usage) or self._tally.usage(), read_price(usage))


class WorkflowReplyReader(_Reader):
    """Reads workflow apps; `output` is the configured output's name, `"json"`, or None."""

    passes_texts = False  # Which node's text is the answer, `feed` must find out.

    def __init__(self, output: str | None, steps: Steps = "names") -> None:
        super().__init__(steps)
        self._output = output
        self._text = WorkflowText()

    def close(self) -> Iterator[ReplyEvent]:
        """See `ReplyReader.close`."""
        if not self.ended:
            raise DifyError("Dify closed the stream before `workflow_finished`")
        yield from ()

    def _said_something(self) -> bool:
        return self._text.was_sent

    def _names_the_reply(self, event: dify.Event) -> bool:
        return bool(event.task_id)

    def _read(self, event: dify.StreamEvent) -> Iterator[ReplyEvent]:
        match event:
            case dify.TextChunk():
                if self._output is None:
                    yield from text_deltas(self._text.feed(event.data))
            case dify.NodeStarted() | dify.IterationStarted() | dify.LoopStarted():
                self._text.announce(event.data)
                yield from self._steps.read(event)
            case dify.WorkflowFinished():
                yield from self._finish(event.data)
            case _:
                yield from self._steps.read(event)

    def _finish(self, run: dify.WorkflowFinishedData) -> Iterator[ReplyEvent]:
        _refuse_part(run, text_was_sent=self._text.was_sent)
        self.ended = True
        self._tally.finish(run)
        outputs = run.outputs or {}
        answer = "" if holds_files_only(outputs) else answer_from_outputs(outputs, self._output)
        yield from text_deltas(self._text.complete(answer))
        shown = outputs if self._output in (None, "json") else outputs.get(self._output or "")
        text_was_sent = bool(answer) or self._text.was_sent
        for file in AnswerFiles().read_all(shown, answer):
            yield replace(file, follows_text=text_was_sent)
            text_was_sent = True
        yield ReplyEnded(self._tally.usage(), outputs=run.outputs or {})


def _refuse_part(run: dify.WorkflowFinishedData, *, text_was_sent: bool) -> None:
    """Raise unless the run's answer is whole; moderation stops a run and gives it another answer."""
    if run.status == "failed":
        raise error_from_failed_run(run.error, text_was_sent=text_was_sent)
    if run.status == "stopped" and "moderation" not in (run.error or ""):
        raise DifyRunFailed("The run was stopped before the answer was whole")


def reply_reader(mode: AppMode, output: str | None = None, steps: Steps = "names") -> ReplyReader:
    """A reader for one stream of an app of `mode`; `output` and `steps` are the model's options."""
    return WorkflowReplyReader(output, steps) if mode == "workflow" else ChatReplyReader(steps)
