import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opendify.translate.thoughts import ThoughtDropper, ThoughtInliner, ThoughtSplitter
from opendify.translate.turn import (
    Reply,
    ReplyEnded,
    ReplyEvent,
    ReplyFilter,
    ReplyStarted,
    TextDelta,
    TextReplaced,
    ThoughtDelta,
    collect_reply,
)

# Machines that build may be slow; what counts is the answer.
unhurried = settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])


DETAILS = (
    '<details style="color:gray;background-color: #f8f8f8;padding: 8px;border-radius: 4px;" open> '
    "<summary> Thinking... </summary>"
)


def pass_through(reply_filter: ReplyFilter, *events: ReplyEvent) -> list[ReplyEvent]:
    return [out for event in (*events, ReplyEnded()) for out in reply_filter.feed(event)]


def split(*pieces: str) -> tuple[str, str]:
    """Thinking and answer of a text that comes in `pieces`."""
    reply = collect_reply(pass_through(ThoughtSplitter(), *map(TextDelta, pieces)))
    return reply.thoughts, reply.text


@pytest.mark.parametrize(
    ("text", "thoughts", "answer"),
    [
        pytest.param("Hi", "", "Hi", id="no thought"),
        pytest.param("", "", "", id="nothing"),
        pytest.param("<think>Hm</think>Hi", "Hm", "Hi", id="a thought first"),
        pytest.param("<think>\nHm\n</think>\n\nHi", "Hm", "Hi", id="line breaks around it"),
        pytest.param("\n<think>Hm</think>\n\nHi", "Hm", "Hi", id="a line break before it"),
        pytest.param("<think> a\n\nb </think>Hi", "a\n\nb", "Hi", id="white space inside stays"),
        pytest.param("<think></think>Hi", "", "Hi", id="an empty thought"),
        pytest.param("<think>\n\n</think>\n\nHi", "", "Hi", id="a blank thought"),
        pytest.param("Hi <think>Hm</think> there", "Hm", "Hi  there", id="a thought in the middle"),
        pytest.param("<think>a</think>Hi<think>b</think>!", "ab", "Hi!", id="two thoughts"),
        pytest.param("<think>a</think>\n<think>b</think>\nHi", "ab", "Hi", id="two leading thoughts"),
        pytest.param("<think>Hm", "Hm", "", id="unclosed"),
        pytest.param("Hi<think>Hm\n", "Hm", "Hi", id="unclosed, after the answer"),
        pytest.param("<think>Hm</thi", "Hm</thi", "", id="cut in its closing tag"),
        pytest.param("Hi <thi", "", "Hi <thi", id="cut in its opening tag"),
        pytest.param("<THINK>Hm</Think>Hi", "Hm", "Hi", id="any case"),
        pytest.param('<think duration="3" x>Hm</think>Hi', "Hm", "Hi", id="attributes"),
        pytest.param("<think\n>Hm</think>Hi", "Hm", "Hi", id="a line break in the tag"),
        pytest.param(f"{DETAILS}\nHm\n</details>\n\nHi", "Hm", "Hi", id="0.15's form"),
        pytest.param("<details><summary>Thinking...</summary>Hm</details>Hi", "Hm", "Hi", id="details, bare"),
        pytest.param(f"{DETAILS}Hm", "Hm", "", id="details, unclosed"),
        pytest.param(
            "<think>a < b </details> c</think>Hi", "a < b </details> c", "Hi", id="other tags inside"
        ),
        pytest.param("a < b", "", "a < b", id="less than"),
        pytest.param("a <", "", "a <", id="less than at the end"),
        pytest.param("a <<think>Hm</think>b", "Hm", "a <b", id="less than before a tag"),
        pytest.param(
            "<thinking>Hm</thinking>", "", "<thinking>Hm</thinking>", id="another tag that begins alike"
        ),
        pytest.param("<thinking about", "", "<thinking about", id="another word that begins alike"),
        pytest.param("<think about it", "", "<think about it", id="a tag that never ends"),
        pytest.param("</think>Hi", "", "</think>Hi", id="a closing tag alone"),
        pytest.param("<details>a</details>", "", "<details>a</details>", id="details without summary"),
        pytest.param(
            "<details><summary>More</summary>a</details>",
            "",
            "<details><summary>More</summary>a</details>",
            id="details of another kind",
        ),
        pytest.param("<detailed>", "", "<detailed>", id="a word that begins like details"),
        pytest.param("`<think` is a tag", "", "`<think` is a tag", id="a tag's name in text"),
    ],
)
def test_thinking_is_told_apart_wherever_the_text_is_cut(text: str, thoughts: str, answer: str) -> None:
    assert split(text) == (thoughts, answer)
    assert split(*text) == (thoughts, answer)
    for place in range(len(text)):
        assert split(text[:place], text[place:]) == (thoughts, answer)


_words = st.sampled_from(
    [
        "<think>",
        "</think>",
        "<Think x=1>",
        DETAILS,
        "</details>",
        "<details>",
        "<summary>",
        "<",
        ">",
        "a",
        " ",
        "\n",
        "thinking",
        "<thinking",
        "</",
        "é",
    ]
)


@unhurried
@given(st.lists(_words, max_size=12).map("".join), st.data())
def test_any_cut_gives_the_same(text: str, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]

    assert split(*pieces) == split(text)


@unhurried
@given(st.text(alphabet="ab <>/\n").filter(lambda text: "<think" not in text))
def test_text_without_thoughts_is_unchanged(text: str) -> None:
    assert split(*text) == ("", text)


def test_text_that_cannot_become_a_tag_is_not_held() -> None:
    splitter = ThoughtSplitter()

    assert list(splitter.feed(TextDelta("a < b"))) == [TextDelta("a < b")]
    assert list(splitter.feed(TextDelta("see <table>"))) == [TextDelta("see <table>")]
    assert list(splitter.feed(TextDelta("c <thi"))) == [TextDelta("c ")]
    assert list(splitter.feed(TextDelta("s>"))) == [TextDelta("<this>")]


@pytest.mark.parametrize("unit", ["<think ", "<details ", "<details> ", "<", " "], ids=repr)
def test_a_long_text_full_of_beginnings_takes_little_time(unit: str) -> None:
    text = unit * (40_000 // len(unit))

    begun = time.process_time()
    thoughts, answer = split(text)

    assert (thoughts, answer) == ("", text)
    # What looks for the end of a tag from every beginning takes many times that.
    assert time.process_time() - begun < 1


def test_thinking_streams_while_it_goes_on() -> None:
    splitter = ThoughtSplitter()

    assert list(splitter.feed(TextDelta("<think>\nLet me"))) == [ThoughtDelta("Let me")]
    assert list(splitter.feed(TextDelta(" see"))) == [ThoughtDelta(" see")]
    assert list(splitter.feed(TextDelta(".\n</think>\n\nHi"))) == [ThoughtDelta("."), TextDelta("Hi")]


def test_no_delta_is_empty() -> None:
    for event in pass_through(ThoughtSplitter(), *map(TextDelta, "<think>\n\n</think>\n\nHi<think></think>")):
        assert not isinstance(event, TextDelta | ThoughtDelta) or event.text


def test_other_events_pass() -> None:
    events: list[ReplyEvent] = [ReplyStarted("t"), ThoughtDelta("apart")]

    assert pass_through(ThoughtSplitter(), *events) == [*events, ReplyEnded()]


def test_the_thinking_in_a_replacement_is_left_out() -> None:
    replaced = TextReplaced("<think>Hm</think>No.")

    assert pass_through(ThoughtSplitter(), TextDelta("bad"), replaced) == [
        TextDelta("bad"),
        TextReplaced("No."),
        ReplyEnded(),
    ]


@pytest.mark.parametrize(
    "before",
    ["bad <", "bad <think", "<think>secret", "<think>secret</thi", DETAILS],
    ids=lambda text: text[:20],
)
def test_nothing_from_before_a_replacement_comes_after_it(before: str) -> None:
    events = pass_through(ThoughtSplitter(), TextDelta(before), TextReplaced("No."), TextDelta(" Sorry."))

    after = events[events.index(TextReplaced("No.")) + 1 :]
    assert after == [TextDelta(" Sorry."), ReplyEnded()]


def test_dropped_thinking_leaves_the_answer() -> None:
    events: list[ReplyEvent] = [ReplyStarted("t"), ThoughtDelta("Hm"), TextDelta("Hi")]

    assert pass_through(ThoughtDropper(), *events) == [ReplyStarted("t"), TextDelta("Hi"), ReplyEnded()]


def inline(*events: ReplyEvent) -> Reply:
    return collect_reply(pass_through(ThoughtInliner(), *events))


@pytest.mark.parametrize(
    ("events", "text"),
    [
        pytest.param([TextDelta("Hi")], "Hi", id="none"),
        pytest.param(
            [ThoughtDelta("Let me"), ThoughtDelta(" see"), TextDelta("Hi")],
            "<think>\nLet me see\n</think>\n\nHi",
            id="before the answer",
        ),
        pytest.param([ThoughtDelta("Hm")], "<think>\nHm\n</think>\n\n", id="to the end"),
        pytest.param(
            [TextDelta("A "), ThoughtDelta("Hm"), TextDelta("B")],
            "A <think>\nHm\n</think>\n\nB",
            id="between",
        ),
        pytest.param([TextDelta("<think>Hm</think>Hi")], "<think>Hm</think>Hi", id="in the text already"),
    ],
)
def test_thinking_that_came_apart_is_written_into_the_text(events: list[ReplyEvent], text: str) -> None:
    reply = inline(*events)

    assert (reply.thoughts, reply.text) == ("", text)


def test_a_replacement_leaves_no_closing_tag_without_its_opening_one() -> None:
    reply = inline(ThoughtDelta("Hm"), TextReplaced("No."), TextDelta(" Sorry."))

    assert reply.text == "No. Sorry."
