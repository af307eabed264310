import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opendify.translate.stop import StopCutter
from opendify.translate.turn import (
    ReplyEnded,
    ReplyEvent,
    ReplyStarted,
    TextDelta,
    TextReplaced,
    ThoughtDelta,
    collect_reply,
)

# Machines that build may be slow; what counts is the answer.
unhurried = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def cut(stop: list[str], *events: ReplyEvent) -> list[ReplyEvent]:
    cutter = StopCutter(stop)
    return [out for event in (*events, ReplyEnded()) for out in cutter.feed(event)]


def text_of(stop: list[str], *pieces: str) -> str:
    return collect_reply(cut(stop, *map(TextDelta, pieces))).text


@pytest.mark.parametrize(
    ("stop", "text", "answer"),
    [
        pytest.param(["END"], "Hello END world", "Hello ", id="in the middle"),
        pytest.param(["END"], "END", "", id="alone"),
        pytest.param(["END"], "Hello", "Hello", id="never"),
        pytest.param(["END"], "Hello EN", "Hello EN", id="only its start"),
        pytest.param(["END"], "EEND", "E", id="after its own first letter"),
        pytest.param(["END"], "EN END", "EN ", id="after its own start"),
        pytest.param(["aab"], "aaab", "a", id="overlapping itself"),
        pytest.param(["END", "\n"], "one\ntwo END", "one", id="the first of several"),
        pytest.param(["world", "o w"], "hello world", "hell", id="two that overlap"),
        pytest.param(["abc", "b"], "xabc", "x", id="one inside another, whole"),
        pytest.param(["abc", "b"], "xabd", "xa", id="one inside another that does not come"),
        pytest.param(["abc", "ab"], "xabc", "x", id="one the start of another"),
        pytest.param([".*"], "a.b.*c", "a.b", id="signs that patterns know"),
        pytest.param(["🙂"], "Hi 🙂!", "Hi ", id="beyond the basic plane"),
        pytest.param(["end"], "END", "END", id="another case"),
    ],
)
def test_the_answer_ends_where_a_stop_sequence_begins(stop: list[str], text: str, answer: str) -> None:
    assert text_of(stop, text) == answer
    assert text_of(stop, *text) == answer
    for place in range(len(text)):
        assert text_of(stop, text[:place], text[place:]) == answer


@unhurried
@given(
    st.lists(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=4),
    st.text("abc", max_size=20),
    st.data(),
)
def test_any_cut_gives_the_same(stop: list[str], text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    assert text_of(stop, *pieces) == text_of(stop, text)


def test_what_may_become_a_stop_sequence_waits() -> None:
    cutter = StopCutter(["END"])

    assert list(cutter.feed(TextDelta("Hello E"))) == [TextDelta("Hello ")]
    assert list(cutter.feed(TextDelta("N"))) == []
    assert list(cutter.feed(TextDelta("d"))) == [TextDelta("ENd")]


def test_the_reply_ends_at_the_cut_and_nothing_follows() -> None:
    events: list[ReplyEvent] = [
        ReplyStarted("t"),
        TextDelta("Hello END"),
        TextDelta(" world"),
        ThoughtDelta("Hm"),
    ]

    assert cut(["END"], *events) == [ReplyStarted("t"), TextDelta("Hello "), ReplyEnded()]


def test_thoughts_are_not_searched() -> None:
    events: list[ReplyEvent] = [ThoughtDelta("the END"), TextDelta("Hi")]

    assert cut(["END"], *events) == [*events, ReplyEnded()]


def test_a_replacement_is_cut_too() -> None:
    assert cut(["END"], TextDelta("bad E"), TextReplaced("No. END really")) == [
        TextDelta("bad "),
        TextReplaced("No. "),
        ReplyEnded(),
    ]


def test_what_was_held_is_gone_with_what_a_replacement_replaces() -> None:
    assert cut(["END"], TextDelta("E"), TextReplaced("No."), TextDelta("ND")) == [
        TextReplaced("No."),
        TextDelta("ND"),
        ReplyEnded(),
    ]


def test_nothing_follows_a_replacement_that_was_cut() -> None:
    reply = collect_reply(cut(["END"], TextReplaced("No. END really"), TextDelta("?")))

    assert reply.text == "No. "
