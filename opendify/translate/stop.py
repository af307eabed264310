"""`stop` sequences, honoured here because a Dify app takes none."""

import re
from collections.abc import Iterator, Sequence

from opendify.translate.turn import ReplyEnded, ReplyEvent, TextDelta, TextReplaced


class StopCutter:
    """Ends the answer where the first stop sequence would begin; one object a stream.

    After the cut it gives `ReplyEnded` and lets nothing more pass, so that the run
    behind it can be stopped.
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._pattern = re.compile("|".join(re.escape(sequence) for sequence in stop))
        self._stop = tuple(stop)
        self._held = ""
        self._ended = False

    def feed(self, event: ReplyEvent) -> Iterator[ReplyEvent]:
        """See `ReplyFilter.feed`."""
        if self._ended:
            return
        match event:
            case TextDelta(text):
                yield from self._cut(text)
            case TextReplaced(text):
                self._held = ""
                yield TextReplaced(self._pattern.split(text, maxsplit=1)[0])
            case ReplyEnded():
                yield from _delta(self._held)
                yield event
            case _:
                yield event

    def _cut(self, text: str) -> Iterator[ReplyEvent]:
        self._held += text
        found = self._pattern.search(self._held)
        if found:
            self._ended = True
            yield from _delta(self._held[: found.start()])
            yield ReplyEnded()
            return
        safe = len(self._held) - max(self._length_of_partial(sequence) for sequence in self._stop)
        ready, self._held = self._held[:safe], self._held[safe:]
        yield from _delta(ready)

    def _length_of_partial(self, sequence: str) -> int:
        """How many held characters at the end may be the start of `sequence`."""
        sizes = range(min(len(sequence) - 1, len(self._held)), 0, -1)
        return next((size for size in sizes if self._held.endswith(sequence[:size])), 0)


def _delta(text: str) -> Iterator[ReplyEvent]:
    if text:
        yield TextDelta(text)
