import pytest

from opendify.translate.turn import (
    CompletionUsage,
    Reply,
    ReplyEnded,
    ReplyEvent,
    ReplyStarted,
    TextDelta,
    TextReplaced,
    ThoughtDelta,
    collect_reply,
)

STARTED = ReplyStarted("tid", "mid", "cid")
ENDED = ReplyEnded(CompletionUsage(10, 2))


@pytest.mark.parametrize(
    ("events", "reply"),
    [
        pytest.param([], Reply("", "", ReplyStarted(None), ReplyEnded()), id="nothing"),
        pytest.param(
            [STARTED, ThoughtDelta("H"), ThoughtDelta("m"), TextDelta("H"), TextDelta("i"), ENDED],
            Reply("Hi", "Hm", STARTED, ENDED),
            id="a whole answer",
        ),
        pytest.param(
            [STARTED, TextDelta("bad"), TextReplaced("No."), ENDED],
            Reply("No.", "", STARTED, ENDED),
            id="replaced",
        ),
        pytest.param(
            [TextDelta("bad"), TextReplaced("No."), TextDelta(" Sorry."), ENDED],
            Reply("No. Sorry.", "", ReplyStarted(None), ENDED),
            id="replaced, and more",
        ),
    ],
)
def test_a_whole_answer_is_a_stream_collected(events: list[ReplyEvent], reply: Reply) -> None:
    assert collect_reply(events) == reply
