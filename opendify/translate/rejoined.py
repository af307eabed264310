"""The rest of a run whose stream was dropped, read as one answer.

Who listens again has heard an unknown part of the text, and what was said in between is told
to nobody. The end of the run holds all of it: that is the answer, and it comes whole.

Source: Dify's `controllers/service_api/app/workflow_events.py` and
`services/workflow_event_snapshot_service.py`, 1.14
"""

from collections.abc import Iterator

from opendify.errors import DifyError, DifyRunFailed
from opendify.translate.dify_reply import ReplyReader
from opendify.translate.human_input import PausedRun
from opendify.translate.turn import ReplyEvent, ReplyStarted
from opendify.wire import dify

_SAYS_TEXT = (dify.Message, dify.AgentMessage, dify.TextChunk)


class RejoinedReader:
    """Gives what `reader` reads of a run that goes on; the text comes with its end.

    Dify's questions to a person are none here: their answer would find no chat.
    """

    paused: PausedRun | None = None
    passes_texts = False

    def __init__(self, reader: ReplyReader, run_id: str, *, may_be_moderated: bool) -> None:
        """`run_id` is what the client calls the run. Where moderation may have taken an answer back,
        the end alone is not trusted: Dify tells there what the model said.
        """
        self._reader = reader
        self._run_id = run_id
        self._may_be_moderated = may_be_moderated
        self._started = self._has_just_begun = False
        self._replacement: dify.MessageReplace | None = None
        self._message_end: dify.MessageEnd | None = None

    @property
    def ended(self) -> bool:
        """See `ReplyReader.ended`."""
        return self._reader.ended

    def feed(self, event: dify.StreamEvent) -> Iterator[ReplyEvent]:
        """See `ReplyReader.feed`."""
        if not self._started and isinstance(event, dify.Event):
            self._started = True
            ids = event.task_id, event.message_id, event.conversation_id
            yield ReplyStarted(*ids, workflow_run_id=self._run_id)
        yield from self._read(event)
        self._has_just_begun = isinstance(event, dify.WorkflowStarted)

    def _read(self, event: dify.StreamEvent) -> Iterator[ReplyEvent]:
        match event:
            case dify.MessageReplace():
                # What Dify replays of the beginning comes right behind the start, where no moderation can.
                if not self._has_just_begun:
                    self._replacement = event
            case dify.MessageEnd():
                self._message_end = event
            case dify.WorkflowFinished():
                yield from self._finish(event)
            case dify.HumanInputRequired():
                return
            case _ if not isinstance(event, _SAYS_TEXT):
                yield from self._without_start(event)

    def close(self) -> Iterator[ReplyEvent]:
        """See `ReplyReader.close`."""
        if not self.ended:
            raise DifyError("Dify closed the stream before `workflow_finished`")
        yield from ()

    def _finish(self, finished: dify.WorkflowFinished) -> Iterator[ReplyEvent]:
        if self._replacement:
            yield from self._without_start(self._replacement)
        elif self._may_be_moderated and self._message_end is None and finished.data.status != "failed":
            raise DifyRunFailed(
                "The run has ended, and its answer is moderated: what was left of it is in its conversation"
            )
        yield from self._without_start(finished)
        if not self.ended:
            # What a chatflow tells of its answer came before, or nobody heard it.
            end = self._message_end or dify.MessageEnd(files=finished.data.files)
            yield from self._without_start(end)

    def _without_start(self, event: dify.StreamEvent) -> Iterator[ReplyEvent]:
        yield from (each for each in self._reader.feed(event) if not isinstance(each, ReplyStarted))
