"""Reader and filters of one stream behind one `feed`."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final, get_args

from opendify.errors import GatewayError
from opendify.records import AppProfile
from opendify.settings import CitationStyle, DifyApp, Reasoning
from opendify.translate.citation_filters import citation_filters
from opendify.translate.dify_reply import ReplyReader, reply_reader
from opendify.translate.file_links import FileLinks, Publish, as_it_is
from opendify.translate.held_back import HeldBackReader
from opendify.translate.human_input import PausedRun
from opendify.translate.relative_links import RelativeLinks
from opendify.translate.step_lines import StepLines
from opendify.translate.stop import StopCutter
from opendify.translate.thoughts import ThoughtDropper, ThoughtInliner, ThoughtSplitter
from opendify.translate.turn import ReplyEnded, ReplyEvent, ReplyFilter, TextDelta, TextDeltas, lets_none_pass
from opendify.wire import dify
from opendify.wire.dify import Messages

WRITE_LINKS: Final = frozenset({"advanced-chat", "workflow"})
"""The modes whose apps print files into their text themselves."""


def reply_filters(
    reasoning: Reasoning,
    stop: Sequence[str],
    citations: CitationStyle = "annotations",
    publish: Publish = as_it_is,
    files_base: str | None = None,
) -> list[ReplyFilter]:
    """What a model's options and a request want done with the events, in order.

    `files_base` is the address of Dify's API, for apps that write links to files into their text.
    """
    cutters = [StopCutter(stop)] if stop else []
    # First, so that text which another filter holds stays in front of a file behind it.
    links = [RelativeLinks(files_base)] if files_base else []
    return [FileLinks(publish), *links, *_thought_filters(reasoning), *cutters, *citation_filters(citations)]


def _thought_filters(reasoning: Reasoning) -> list[ReplyFilter]:
    match reasoning:
        case "separate":
            return [ThoughtSplitter(), StepLines()]
        case "drop":
            return [ThoughtSplitter(), ThoughtDropper()]
        case "inline":
            return [StepLines(), ThoughtInliner()]


def build_pipeline(
    app: DifyApp, profile: AppProfile, stop: Sequence[str], publish: Publish = as_it_is
) -> "ReplyPipeline":
    """What reads and filters one stream of `app`."""
    reader = reply_reader(profile.mode, app.output, app.steps)
    if app.hold_back and profile.is_moderated is not False:
        reader = HeldBackReader(reader)
    files_base = app.api_base if profile.mode in WRITE_LINKS else None
    return ReplyPipeline(reader, reply_filters(app.reasoning, stop, app.citations, publish, files_base))


class ReplyPipeline:
    """Dify's events in, `ReplyEvent`s out, as one request wants them."""

    def __init__(self, reader: ReplyReader, filters: Sequence[ReplyFilter]) -> None:
        self._reader = reader
        self._filters = filters
        self._heeding = _heeding(*[each.heeds for each in filters])
        self._lets_pass: Callable[[str], bool] = lets_none_pass
        self.ended = False
        """True once `ReplyEnded` was given; nothing follows it."""
        self.failure: GatewayError | None = None
        """Why it ended, where the answer failed."""

    @property
    def upstream_ended(self) -> bool:
        """True once Dify itself said that the answer is whole; a `stop` sequence may end it earlier."""
        return self._reader.ended

    @property
    def paused(self) -> PausedRun | None:
        """What the run waits for, where the answer is a question."""
        return self._reader.paused

    def feed(self, events: Sequence[dify.StreamEvent]) -> Iterable[ReplyEvent]:
        """What `events`, the fruit of one read, say.

        Raises:
            GatewayError: The run failed; everything said before it was given first.
        """
        if len(events) == 1 and type(said := events[0]) is Messages and self._lets_pass(said.text):
            return (TextDeltas(said.text, said.texts),)
        return self._feed(events)

    def _feed(self, events: Iterable[dify.StreamEvent]) -> Iterator[ReplyEvent]:
        for event in events:
            match event:
                case dify.Messages(text, texts) if self._passes(text):
                    yield TextDeltas(text, texts)
                case dify.Messages():
                    yield from self._feed(event.one_by_one())
                case dify.Message(answer=str(text)) if text and self._passes(text):
                    yield TextDelta(text)
                case _:
                    yield from self._pass(event)
            if self.ended:
                return

    def close(self) -> Iterator[ReplyEvent]:
        """What the end of the stream says; raises as `ReplyReader.close` does."""
        return self._pass(None)

    def _passes(self, text: str) -> bool:
        """Whether neither the reader nor a filter would do anything with it."""
        if self._lets_pass is lets_none_pass and self._reader.passes_texts:
            self._lets_pass = _all_of([each for each in (one.lets_pass for one in self._filters) if each])
        return self._lets_pass(text)

    def _pass(self, event: dify.StreamEvent | None) -> Iterator[ReplyEvent]:
        """What comes out of reader and filters; None is the stream's end."""
        self._lets_pass = lets_none_pass  # Until it is asked for again.
        try:
            for reply in self._reader.close() if event is None else self._reader.feed(event):
                for out in self._filter(reply):
                    self.ended = self.ended or isinstance(out, ReplyEnded)
                    yield out
                if self.ended:
                    return
        except GatewayError as error:
            self.failure = error
            # `ReplyEnded` frees what the filters hold; the answer itself has not ended.
            yield from (held for held in self._filter(ReplyEnded()) if not isinstance(held, ReplyEnded))
            raise

    def _filter(self, reply: ReplyEvent, first: int = 0) -> Sequence[ReplyEvent]:
        """What becomes of `reply` behind the filters from the `first` on."""
        number = self._heeding[first][type(reply)]
        if number is None:
            return (reply,)
        given = self._filters[number].feed(reply)
        return [out for each in given for out in self._filter(each, number + 1)]


@cache
def _heeding(*filters: tuple[type, ...]) -> Sequence[Mapping[type, int | None]]:
    """For each number the first filter from there on that heeds an event, by its kind; None where none does.

    `filters` has what each heeds.
    """
    heeding: list[dict[type, int | None]] = [dict.fromkeys((*get_args(ReplyEvent), TextDeltas))]
    for number, heeds in reversed(list(enumerate(filters))):
        heeding.insert(
            0, {kind: number if issubclass(kind, heeds) else later for kind, later in heeding[0].items()}
        )
    return heeding


def _all_of(watchers: Sequence[Callable[[str], bool]]) -> Callable[[str], bool]:
    """Whether all let a text pass; it is asked for each one, and there are nearly always one or two."""
    match watchers:
        case [only]:
            return only
        case [first, second]:
            return lambda text: first(text) and second(text)
    return lambda text: all(lets_pass(text) for lets_pass in watchers)
