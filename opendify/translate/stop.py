"""`stop` sequences, honoured here because a Dify app takes none."""

import re
from collections.abc import Iterator, Sequence

from opendify.translate.turn import (
    ReplyEnded,
    ReplyEvent,
    TextDelta,
    TextReplaced,
    lets_none_pass,
    text_deltas,
)


class StopCutter:
    """Ends the answer where the first stop sequence would begin; one object a stream.

    After the cut it gives `ReplyEnded` and lets nothing more pass, so that the run
    behind it can be stopped.
    """

    heeds = (object,)
    lets_pass = staticmethod(lets_none_pass)

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
                self._held += text
                yield from self._release(at_end=False)
            case TextReplaced(text):
                self._held = ""
                kept, *cut = self._pattern.split(text, maxsplit=1)
                yield TextReplaced(kept)
                yield from self._end() if cut else ()
            case ReplyEnded():
                yield from self._release(at_end=True)
                yield from self._unless_ended(event)
            case _:
                yield event

    def _release(self, *, at_end: bool) -> Iterator[ReplyEvent]:
        """What no later text can make part of a stop sequence any more."""
        safe = len(self._held) if at_end else self._start_of_partial()
        found = self._pattern.search(self._held)
        # A longer sequence that begins earlier may still become whole.
        if found and found.start() <= safe:
            yield from text_deltas(self._held[: found.start()])
            yield from self._end()
            return
        ready, self._held = self._held[:safe], self._held[safe:]
        yield from text_deltas(ready)

    def _unless_ended(self, event: ReplyEvent) -> Iterator[ReplyEvent]:
        if not self._ended:
            yield event

    def _end(self) -> Iterator[ReplyEvent]:
        self._ended = True
        yield ReplyEnded()

    def _start_of_partial(self) -> int:
        """Where the earliest stop sequence that is not whole yet may begin."""
        return min(self._start_of_partial_of(sequence) for sequence in self._stop)

    def _start_of_partial_of(self, sequence: str) -> int:
        size = len(self._held)
        starts = range(max(0, size - len(sequence) + 1), size)
        return next((start for start in starts if sequence.startswith(self._held[start:])), size)
