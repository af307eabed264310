"""Dify's bytes to a client's, without any input or output: what OpenDify itself does for each event."""

from collections.abc import Iterable, Iterator

from benchmarks.dify_frames import Frames
from benchmarks.directive import piece_text
from opendify.translate.dify_reply import reply_reader
from opendify.translate.openai_chat import ChatChoice
from opendify.translate.reply_pipeline import ReplyPipeline, reply_filters
from opendify.translate.reply_writer import ReplyWriter
from opendify.wire.dify_stream import EventDecoder


def transform(reads: Iterable[bytes]) -> Iterator[bytes]:
    """What each read becomes on the path that a streamed chat answer takes by default."""
    decoder = EventDecoder()
    pipeline = ReplyPipeline(reply_reader("chat", None), reply_filters("separate", ()))
    writer = ReplyWriter(
        ChatChoice(), completion_id="chatcmpl-1", created=1_767_225_600, model="bench", include_usage=False
    )
    for read in reads:
        pieces = []
        for reply in pipeline.feed(decoder.feed(read)):
            pieces.append(writer.feed(reply))  # noqa: PERF401 - As `ReplyStream` does.
        yield b"".join(pieces)


def dify_reads(events: int, events_a_read: int) -> Iterator[bytes]:
    """An answer of so many pieces, as reads of whole events."""
    frames = Frames(1)
    pieces = list(frames.pieces(map(piece_text, range(events))))
    for start in range(0, events, events_a_read):
        yield b"".join(pieces[start : start + events_a_read])
    yield frames.end()
