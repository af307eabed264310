"""An answer whose tokens are counted for whoever pays for them."""

from collections.abc import Callable, Iterable, Iterator

from opendify.runs.source import ReplySource
from opendify.translate.turn import ReplyEnded, ReplyEvent


def metered(source: ReplySource, spend: Callable[[int], None] | None) -> ReplySource:
    """The same source; `spend` hears its tokens before the client learns of the end."""
    return MeteredSource(source, spend) if spend else source


class MeteredSource:
    """Passes on what the other one says."""

    def __init__(self, source: ReplySource, spend: Callable[[int], None]) -> None:
        self._source = source
        self._spend = spend

    @property
    def ended(self) -> bool:
        return self._source.ended

    @property
    def memory_was_lost(self) -> bool:
        return self._source.memory_was_lost

    def read(self, timeout_seconds: float) -> Iterable[ReplyEvent]:
        return self._counted(self._source.read(timeout_seconds))

    def replies(self) -> Iterator[ReplyEvent]:
        return self._counted(self._source.replies())

    def settle(self, answer: str | None) -> None:
        self._source.settle(answer)

    def close(self) -> None:
        self._source.close()

    def _counted(self, events: Iterable[ReplyEvent]) -> Iterator[ReplyEvent]:
        for event in events:
            if isinstance(event, ReplyEnded) and event.usage:
                self._spend(event.usage.total_tokens)
            yield event
