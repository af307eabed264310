"""Text withheld until it is whole, for apps whose output is moderated."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from opendify.translate.dify_reply import ReplyReader
from opendify.translate.human_input import PausedRun
from opendify.translate.turn import (
    AnswerFile,
    ReplyEnded,
    ReplyEvent,
    TextDelta,
    TextReplaced,
    text_deltas,
)
from opendify.wire import dify


class HeldBackReader:
    """Gives what `reader` reads, its text at the end, as moderation left it.

    The text of a run that fails is given to nobody: it may not have been looked at. Thinking
    that a model writes into its text is withheld with it, and so are files, which are shown
    in the text; steps and thinking that Dify sends apart are not.
    """

    passes_texts = False

    def __init__(self, reader: ReplyReader) -> None:
        self._reader = reader
        self._held: list[str | AnswerFile] = []

    @property
    def ended(self) -> bool:
        """See `ReplyReader.ended`."""
        return self._reader.ended

    @property
    def paused(self) -> PausedRun | None:
        """See `ReplyReader.paused`."""
        return self._reader.paused

    def feed(self, event: dify.StreamEvent) -> Iterator[ReplyEvent]:
        """See `ReplyReader.feed`."""
        yield from self._hold(self._reader.feed(event))

    def close(self) -> Iterator[ReplyEvent]:
        """See `ReplyReader.close`."""
        yield from self._hold(self._reader.close())

    def _hold(self, replies: Iterable[ReplyEvent]) -> Iterator[ReplyEvent]:
        for reply in replies:
            match reply:
                case TextDelta():
                    self._held.append(reply.text)
                case AnswerFile():
                    self._held.append(reply)
                case TextReplaced(text):
                    self._held = [text]
                case ReplyEnded():
                    yield from self._release()
                    yield reply
                case _:
                    yield reply

    def _release(self) -> Iterator[ReplyEvent]:
        """What was held, in its order; text between two files as one."""
        for is_text, pieces in groupby(self._held, key=lambda each: isinstance(each, str)):
            if is_text:
                yield from text_deltas("".join(map(str, pieces)))
            else:
                yield from (each for each in pieces if isinstance(each, AnswerFile))
