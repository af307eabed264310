"""The short cuts that most events take give the bytes of the long way: every recording goes through both."""

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from opendify.configuration.model_table import REASONINGS
from opendify.errors import GatewayError
from opendify.settings import AppMode, Reasoning
from opendify.translate.dify_reply import ReplyReader, reply_reader
from opendify.translate.human_input import PausedRun
from opendify.translate.openai_chat import ChatChoice
from opendify.translate.reply_pipeline import ReplyPipeline, reply_filters
from opendify.translate.reply_writer import ReplyWriter
from opendify.translate.turn import ReplyEvent, ReplyFilter, TextDelta, lets_none_pass
from opendify.wire import dify
from opendify.wire.dify_stream import EventDecoder
from opendify.wire.sse import SSEDecoder

TRANSCRIPTS = Path(__file__).parent.parent / "transcripts"
STREAMS = sorted(TRANSCRIPTS.rglob("*.sse"))
PIECES_BYTES = 4_096


class LongWayReader:
    """Looks at every event."""

    passes_texts = False

    def __init__(self, reader: ReplyReader) -> None:
        self._reader = reader

    @property
    def ended(self) -> bool:
        return self._reader.ended

    @property
    def paused(self) -> PausedRun | None:
        return self._reader.paused

    def feed(self, event: dify.StreamEvent) -> Iterable[ReplyEvent]:
        return self._reader.feed(event)

    def close(self) -> Iterator[ReplyEvent]:
        return self._reader.close()


class LongWayFilter:
    """Looks at every text, and is asked about every event."""

    heeds = (object,)
    lets_pass = staticmethod(lets_none_pass)

    def __init__(self, reply_filter: ReplyFilter) -> None:
        self._filter = reply_filter

    def feed(self, event: ReplyEvent) -> Iterable[ReplyEvent]:
        return self._filter.feed(event)


class LongWayWriter(ReplyWriter):
    """Builds every chunk anew."""

    def _more_text(self, text: str) -> bytes:
        if not text:
            return b""
        self._text += text.encode("utf-8", "surrogatepass")
        return self._choice(self._shapes.text(text))


def frames(pipeline: ReplyPipeline, writer: ReplyWriter, payloads: Iterable[bytes]) -> bytes:
    """What a client gets; a failure as its frame."""
    return frames_of_events(pipeline, writer, ([dify.decode_event(payload)] for payload in payloads))


def frames_of_events(
    pipeline: ReplyPipeline,
    writer: ReplyWriter,
    reads: Iterable[list[dify.StreamEvent]],
    failure_of_reads: Callable[[], dify.MalformedEvent | None] = lambda: None,
) -> bytes:
    """What a client gets of the events of each read."""
    written = []
    try:
        for events in reads:
            for reply in pipeline.feed(events):
                written.append(writer.feed(reply))  # noqa: PERF401 - What came before a failure counts.
            if pipeline.ended:
                return b"".join(written)
            if malformed := failure_of_reads():
                raise malformed
        written += [writer.feed(reply) for reply in pipeline.close()]
    except (GatewayError, dify.MalformedEvent) as error:
        failure = error if isinstance(error, GatewayError) else GatewayError(str(error))
        written.append(writer.fail(failure))
    return b"".join(written)


def mode_of(transcript: Path) -> AppMode:
    return "workflow" if "workflow" in transcript.parts else "chat"


def payloads_of(body: bytes, size: int) -> list[bytes]:
    decoder = SSEDecoder()
    starts = range(0, len(body), size)
    return [payload for start in starts for payload in decoder.feed(body[start : start + size])]


def _name(path: Path) -> str:
    return str(path.relative_to(TRANSCRIPTS).with_suffix(""))


@pytest.mark.parametrize("transcript", STREAMS, ids=_name)
def test_a_recording_gives_the_same_bytes_on_both_ways(transcript: Path) -> None:
    payloads = payloads_of(transcript.read_bytes(), PIECES_BYTES)
    for reasoning in REASONINGS:
        for stop in ((), ("\n\n",)):
            assert short_way(payloads, transcript, reasoning, stop) == long_way(
                payloads, transcript, reasoning, stop
            )


@pytest.mark.parametrize("transcript", STREAMS, ids=_name)
def test_a_recording_gives_the_same_bytes_in_reads_of_any_size(transcript: Path) -> None:
    body = transcript.read_bytes()
    one_by_one = re.split(rb"(?<=\n\n)", body)
    for reasoning in REASONINGS:
        expected = long_way(payloads_of(body, PIECES_BYTES), transcript, reasoning, ())
        for reads in (one_by_one, [body], *(list(cut(body, size)) for size in (300, 1_000, PIECES_BYTES))):
            assert short_reads(reads, transcript, reasoning) == expected


def cut(body: bytes, size: int) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def short_reads(reads: Iterable[bytes], transcript: Path, reasoning: Reasoning) -> bytes:
    """What a client gets when Dify's answer comes in these reads."""
    decoder = EventDecoder()
    pipeline = ReplyPipeline(reply_reader(mode_of(transcript), None), reply_filters(reasoning, ()))
    events = (decoder.feed(read) for read in reads)
    return frames_of_events(pipeline, _writer(ReplyWriter), events, lambda: decoder.failure)


def short_way(payloads: list[bytes], transcript: Path, reasoning: Reasoning, stop: tuple[str, ...]) -> bytes:
    pipeline = ReplyPipeline(reply_reader(mode_of(transcript), None), reply_filters(reasoning, stop))
    return frames(pipeline, _writer(ReplyWriter), payloads)


def long_way(payloads: list[bytes], transcript: Path, reasoning: Reasoning, stop: tuple[str, ...]) -> bytes:
    filters = [LongWayFilter(each) for each in reply_filters(reasoning, stop)]
    pipeline = ReplyPipeline(LongWayReader(reply_reader(mode_of(transcript), None)), filters)
    return frames(pipeline, _writer(LongWayWriter), payloads)


def _writer(kind: type[ReplyWriter]) -> ReplyWriter:
    return kind(ChatChoice(), completion_id="chatcmpl-1", created=1, model="bot", include_usage=True)


@pytest.mark.parametrize("transcript", STREAMS, ids=_name)
def test_a_recording_that_comes_in_whole_events_has_the_payloads_of_one_that_does_not(
    transcript: Path,
) -> None:
    body = transcript.read_bytes()
    decoder = SSEDecoder()
    events = [event + b"\n\n" for event in body.split(b"\n\n") if event]

    whole = [payload for event in events for payload in decoder.feed(event)]

    assert whole[: len(payloads_of(body, 7))] == payloads_of(body, 7)


@pytest.mark.parametrize(
    "text", ["a", "é", "线", 'a "quoted" \\ line\n', "\u2028", "\ud83d", "\x7f", "a</script>"]
)
def test_any_text_makes_the_same_chunk_on_both_ways(text: str) -> None:
    short, long = _writer(ReplyWriter), _writer(LongWayWriter)
    short.open()
    long.open()

    assert short.feed(TextDelta(text)) == long.feed(TextDelta(text))
