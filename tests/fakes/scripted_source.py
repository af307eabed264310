"""A source of a reply that gives what a test says, one thing a read."""

from collections.abc import Iterator
from typing import Final, Self

from msgspec import structs

from opendify.translate.turn import ReplyEnded, ReplyEvent, ReplyStarted, TextDelta

HELLO: Final[tuple[ReplyEvent, ...]] = (
    ReplyStarted("task-1", "message-1", "conversation-1"),
    TextDelta("Hello"),
    ReplyEnded(),
)


class ScriptedSource:
    """Each of `steps` is what one read gives: an event, silence (None), or a failure."""

    def __init__(self, *steps: ReplyEvent | Exception | None, memory_was_lost: bool = False) -> None:
        self.ended = False
        self.memory_was_lost = memory_was_lost
        self.settled: list[str | None] = []
        self.was_closed = False
        self._steps = list(steps)

    def of_model(self, name: str) -> Self:
        """Its start says who answers."""
        self._steps = [
            structs.replace(step, answered_by=name) if isinstance(step, ReplyStarted) else step
            for step in self._steps
        ]
        return self

    def read(self, timeout_seconds: float) -> Iterator[ReplyEvent]:
        del timeout_seconds
        step = self._steps.pop(0)
        if isinstance(step, Exception):
            raise step
        if step is not None:
            self.ended = isinstance(step, ReplyEnded)
            yield step

    def replies(self) -> Iterator[ReplyEvent]:
        while not self.ended:
            yield from self.read(0)

    def settle(self, answer: str | None) -> None:
        self.settled.append(answer)

    def close(self) -> None:
        self.was_closed = True
