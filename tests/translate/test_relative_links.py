"""Links to Dify's files that an app writes into its own text."""

import pytest

from opendify.records import AppProfile
from opendify.settings import AppMode, DifyApp
from opendify.translate.relative_links import RelativeLinks
from opendify.translate.reply_pipeline import build_pipeline
from opendify.translate.turn import (
    AnswerFile,
    ReplyEnded,
    ReplyEvent,
    TextDelta,
    TextReplaced,
    ThoughtDelta,
    collect_reply,
)
from opendify.wire import dify

RELATIVE = "See ![a.png](/files/tools/a.png?sign=1) and [b](/files/b.pdf)."
ABSOLUTE = (
    "See ![a.png](https://dify.example/files/tools/a.png?sign=1) and [b](https://dify.example/files/b.pdf)."
)


def read(*events: ReplyEvent) -> list[ReplyEvent]:
    links = RelativeLinks("https://dify.example/v1")
    return [out for event in events for out in links.feed(event)]


def text_of(events: list[ReplyEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize("cut", range(len(RELATIVE) + 1))
def test_a_link_is_mended_wherever_it_is_cut(cut: int) -> None:
    events = read(TextDelta(RELATIVE[:cut]), TextDelta(RELATIVE[cut:]), ReplyEnded())

    assert text_of(events) == ABSOLUTE
    assert events[-1] == ReplyEnded()


def test_a_link_is_mended_character_by_character() -> None:
    assert text_of(read(*map(TextDelta, RELATIVE), ReplyEnded())) == ABSOLUTE


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "[a](https://dify.example/files/a.png)",
        "[a](/other/files/a)",
        "an array[1](/fil",
        "(/files/a) alone",
        "[",
        "]",
        "](",
        "](/files",
    ],
)
def test_all_else_stays_as_it_is(text: str) -> None:
    assert text_of(read(TextDelta(text), ReplyEnded())) == text
    assert text_of(read(*map(TextDelta, text), ReplyEnded())) == text


def test_what_is_held_stays_in_front_of_what_follows() -> None:
    file = AnswerFile("https://dify.example/a", "a")

    assert read(TextDelta("Look]"), file) == [TextDelta("Look"), TextDelta("]"), file]
    assert read(TextDelta("Hm]("), ThoughtDelta("x"))[-2:] == [TextDelta("]("), ThoughtDelta("x")]


def test_a_replacement_is_mended_and_takes_the_place_of_what_was_held() -> None:
    assert read(TextDelta("Look]("), TextReplaced(RELATIVE), ReplyEnded()) == [
        TextDelta("Look"),
        TextReplaced(ABSOLUTE),
        ReplyEnded(),
    ]


@pytest.mark.parametrize("cut", range(len(RELATIVE) + 1))
def test_what_may_pass_would_come_out_as_it_is(cut: int) -> None:
    links = RelativeLinks("https://dify.example/v1")
    for text in (RELATIVE[:cut], RELATIVE[cut:]):
        if text and links.lets_pass(text):
            assert list(links.feed(TextDelta(text))) == [TextDelta(text)]
        else:
            list(links.feed(TextDelta(text)))


@pytest.mark.parametrize(
    ("mode", "text"), [("advanced-chat", ABSOLUTE), ("workflow", ABSOLUTE), ("chat", RELATIVE)]
)
def test_it_is_done_for_apps_that_print_files_themselves(mode: AppMode, text: str) -> None:
    app = DifyApp(name="m", api_key="app-x", api_base="https://dify.example/v1")
    pipeline = build_pipeline(app, AppProfile(mode), ())
    outputs: dict[str, object] = {"answer": RELATIVE}
    finished = dify.WorkflowFinished(
        task_id="t", data=dify.WorkflowFinishedData(status="succeeded", outputs=outputs)
    )
    words = [dify.Message("t", "m", "c", answer=RELATIVE)] if mode != "workflow" else []

    reply = collect_reply(list(pipeline.feed([*words, finished, dify.MessageEnd()])))

    assert reply.text == text
