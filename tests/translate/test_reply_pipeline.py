from collections.abc import Iterable
from typing import get_args

import pytest

from opendify.errors import DifyError, DifyRunFailed, GatewayError
from opendify.settings import AppMode, CitationStyle, Reasoning
from opendify.translate.dify_reply import reply_reader
from opendify.translate.reply_pipeline import ReplyPipeline, reply_filters
from opendify.translate.turn import (
    AnswerFile,
    Citation,
    Citations,
    ReplyEnded,
    ReplyEvent,
    ReplyStarted,
    Step,
    TextDelta,
    TextReplaced,
    ThoughtDelta,
    collect_reply,
)
from opendify.wire import dify

EVERY_KIND: tuple[ReplyEvent, ...] = (
    ReplyStarted("t"),
    TextDelta("text"),
    TextReplaced("text"),
    ThoughtDelta("thought"),
    Step("1", "search", "tool", "running"),
    Citations((Citation(1, url="https://example.org"),)),
    AnswerFile("https://example.org/a.png", "a.png"),
    ReplyEnded(),
)
END = dify.MessageEnd()
FAILED = dify.ErrorEvent(code="completion_request_error", message="boom")


def pipeline(mode: AppMode = "chat", reasoning: Reasoning = "separate", *stop: str) -> ReplyPipeline:
    return ReplyPipeline(reply_reader(mode, None), reply_filters(reasoning, stop))


@pytest.mark.parametrize("reasoning", get_args(Reasoning))
@pytest.mark.parametrize("citations", get_args(CitationStyle))
def test_what_a_filter_does_not_heed_it_would_give_back(
    reasoning: Reasoning, citations: CitationStyle
) -> None:
    made = {type(event) for event in EVERY_KIND}
    assert made == set(get_args(ReplyEvent))

    for each in reply_filters(reasoning, ("stop",), citations, files_base="https://dify.example/v1"):
        for event in EVERY_KIND:
            if not isinstance(event, each.heeds):
                assert list(each.feed(event)) == [event], (each, event)


def message(answer: str) -> dify.Message:
    return dify.Message(task_id="t", message_id="m", answer=answer)


def text_chunk(text: str) -> dify.TextChunk:
    return dify.TextChunk(task_id="t", data=dify.TextChunkData(text))


def until_failure(replies: Iterable[ReplyEvent]) -> tuple[list[ReplyEvent], GatewayError]:
    given: list[ReplyEvent] = []
    with pytest.raises(GatewayError) as caught:
        given.extend(replies)
    return given, caught.value


@pytest.mark.parametrize(
    ("reasoning", "thoughts", "text"),
    [
        pytest.param("separate", "HmSo", "Hi", id="separate"),
        pytest.param("drop", "", "Hi", id="drop"),
        pytest.param("inline", "", "<think>\nHm\n</think>\n\n<think>So</think>Hi", id="inline"),
    ],
)
def test_a_model_decides_where_its_thinking_goes(reasoning: Reasoning, thoughts: str, text: str) -> None:
    thinking = dify.ReasoningChunk(data=dify.ReasoningChunkData("Hm"))

    reply = collect_reply(pipeline("chat", reasoning).feed([thinking, message("<think>So</think>Hi"), END]))

    assert (reply.thoughts, reply.text) == (thoughts, text)


def test_a_stop_sequence_ends_the_reply_while_dify_goes_on() -> None:
    stopping = pipeline("chat", "separate", "END")

    replies = list(stopping.feed([message("Hello END"), message(" world"), END]))

    assert replies == [ReplyStarted("t", "m"), TextDelta("Hello "), ReplyEnded()]
    assert stopping.ended
    assert not stopping.upstream_ended


def test_a_stop_sequence_in_the_thinking_does_not_count() -> None:
    reply = collect_reply(
        pipeline("chat", "separate", "END").feed([message("<think>END</think>Hi END"), END])
    )

    assert (reply.thoughts, reply.text) == ("END", "Hi ")


def test_the_end_is_known_once_it_was_given() -> None:
    ending = pipeline()

    assert list(ending.feed([message("Hi"), END, message("more")])) == [
        ReplyStarted("t", "m"),
        TextDelta("Hi"),
        ReplyEnded(),
    ]
    assert ending.ended
    assert ending.upstream_ended


@pytest.mark.parametrize(
    ("text", "given"),
    [
        pytest.param("Hello", [TextDelta("Hello")], id="text"),
        pytest.param("Hello E", [TextDelta("Hello "), TextDelta("E")], id="the start of a stop sequence"),
        pytest.param("Hello <thi", [TextDelta("Hello "), TextDelta("<thi")], id="the start of a tag"),
        pytest.param(
            "<think>Hm</thi", [ThoughtDelta("Hm"), ThoughtDelta("</thi")], id="the start of its end"
        ),
    ],
)
class TestTextBeforeAFailureComesFirst:
    """What filters held back is given before the failure, in full."""

    def test_when_an_error_follows(self, text: str, given: list[ReplyEvent]) -> None:
        replies, error = until_failure(pipeline("chat", "separate", "END").feed([message(text), FAILED]))

        assert replies == [ReplyStarted("t", "m"), *given]
        assert type(error) is DifyRunFailed

    def test_when_the_run_fails(self, text: str, given: list[ReplyEvent]) -> None:
        failed = dify.WorkflowFinished(data=dify.WorkflowFinishedData("failed", error="boom"))

        replies, error = until_failure(
            pipeline("workflow", "separate", "END").feed([text_chunk(text), failed])
        )

        assert replies == [ReplyStarted("t"), *given]
        assert type(error) is DifyRunFailed

    @pytest.mark.parametrize("mode", ["chat", "workflow"])
    def test_when_the_stream_is_cut(self, mode: AppMode, text: str, given: list[ReplyEvent]) -> None:
        cut = pipeline(mode, "separate", "END")
        event: dify.StreamEvent = text_chunk(text) if mode == "workflow" else message(text)

        before = list(cut.feed([event]))
        held, error = until_failure(cut.close())

        assert [*before[1:], *held] == given
        assert type(error) is DifyError


def test_a_reply_that_failed_has_not_ended() -> None:
    failing = pipeline()

    until_failure(failing.feed([message("Hello"), FAILED]))

    assert not failing.ended
    assert not failing.upstream_ended


def test_a_thought_written_inline_is_closed_before_a_failure() -> None:
    thinking = dify.ReasoningChunk(data=dify.ReasoningChunkData("Hm"))

    replies, _ = until_failure(pipeline("chat", "inline").feed([thinking, FAILED]))

    assert replies == [TextDelta("<think>\nHm"), TextDelta("\n</think>\n\n")]


def test_a_chatflow_of_1_13_0_ends_when_the_stream_closes() -> None:
    chatflow = pipeline("advanced-chat")
    finished = dify.WorkflowFinished(data=dify.WorkflowFinishedData("succeeded"))

    list(chatflow.feed([message("Hi"), finished]))

    assert list(chatflow.close()) == [ReplyEnded()]
    assert chatflow.ended
