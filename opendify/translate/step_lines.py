"""Steps as lines of thinking, for people who watch an answer come."""

from collections.abc import Iterator

from opendify.translate.turn import ReplyEvent, Step, ThoughtDelta

_MOST_LINES = 200
_REST = "- …"
_NOT_WELL = frozenset({"failed", "exception", "stopped"})


class StepLines:
    """Writes each step as one line of a list when it begins, and more lines as more is told.

    The steps themselves pass too. Many steps, as those of a long loop, end in `…`.
    """

    heeds = (Step, ThoughtDelta)
    lets_pass = None

    def __init__(self) -> None:
        self._told: set[tuple[str, str]] = set()
        self._lines = 0
        self._separator = ""
        self._after_line = False

    def feed(self, event: ReplyEvent) -> Iterator[ReplyEvent]:
        """See `ReplyFilter.feed`."""
        match event:
            case Step():
                yield from self._tell(event)
            case ThoughtDelta(text) if self._after_line:
                self._after_line = False
                event = ThoughtDelta(f"\n\n{text}")
        if isinstance(event, ThoughtDelta):
            self._separator = "\n\n"
        yield event

    def _tell(self, step: Step) -> Iterator[ThoughtDelta]:
        """One delta for each line; a line that was told is not told again."""
        lines = [line for line in _lines(step) if (step.id, line) not in self._told]
        for line in lines:
            if self._lines >= _MOST_LINES:
                return
            self._told.add((step.id, line))
            self._lines += 1
            indented = "  " * step.level + (line if self._lines < _MOST_LINES else _REST)
            yield ThoughtDelta(self._separator + indented)
            self._separator, self._after_line = "\n", True


def _lines(step: Step) -> Iterator[str]:
    yield f"- {step.name} ← {step.input}" if step.input else f"- {step.name}"
    if step.output:
        yield f"- {step.name} → {step.output}"
    if step.status in _NOT_WELL:
        yield f"- {step.name}: {step.status}"
