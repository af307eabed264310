"""Citations as a model's option wants them: left out, or told to clients that show only text."""

from collections.abc import Iterable, Iterator

from opendify.settings import CitationStyle
from opendify.translate.turn import Citation, Citations, ReplyEnded, ReplyEvent, ReplyFilter, TextDelta


def citation_filters(style: CitationStyle) -> list[ReplyFilter]:
    """None for `annotations`: the writers write them."""
    match style:
        case "annotations":
            return []
        case "footnotes":
            return [Footnotes()]
        case "off":
            return [CitationDropper()]


class CitationDropper:
    """Leaves citations out."""

    heeds = (Citations,)
    lets_pass = None

    def feed(self, event: ReplyEvent) -> Iterator[ReplyEvent]:
        """See `ReplyFilter.feed`."""
        if not isinstance(event, Citations):
            yield event


class Footnotes:
    """Writes citations below the answer; stands behind all filters that may hold text."""

    heeds = (Citations, ReplyEnded)
    lets_pass = None

    def __init__(self) -> None:
        self._citations: tuple[Citation, ...] = ()

    def feed(self, event: ReplyEvent) -> Iterator[ReplyEvent]:
        """See `ReplyFilter.feed`."""
        match event:
            case Citations(citations):
                self._citations = citations
            case ReplyEnded() if self._citations:
                # Two spaces keep Markdown from joining two lines.
                yield TextDelta("\n\n" + "  \n".join(_notes(self._citations)))
        yield event


def _notes(citations: Iterable[Citation]) -> Iterator[str]:
    """One line for each."""
    for citation in citations:
        name = citation.document_name or citation.url or "?"
        source = f" ({citation.dataset_name})" if citation.dataset_name else ""
        address = f" {citation.url}" if citation.url and citation.url != name else ""
        yield f"[{citation.position}] {' '.join(name.split())}{source}{address}"
