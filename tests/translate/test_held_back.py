import pytest

from opendify.errors import DifyError
from opendify.translate.dify_reply import reply_reader
from opendify.translate.held_back import HeldBackReader
from opendify.translate.reply_pipeline import ReplyPipeline, reply_filters
from opendify.translate.turn import ReplyEnded, ReplyEvent, ReplyStarted, Step, TextDelta, ThoughtDelta
from opendify.wire import dify

STARTED = ReplyStarted("t", "m", "c")
FAILED = dify.ErrorEvent(code="completion_request_error", message="boom")
NODE = dify.NodeStarted(data=dify.NodeData("n", "llm", id="e", title="LLM"))


def message(answer: str) -> dify.Message:
    return dify.Message("t", "m", "c", answer=answer)


def read(*events: dify.StreamEvent) -> list[ReplyEvent]:
    reader = HeldBackReader(reply_reader("chat"))
    return [reply for event in events for reply in reader.feed(event)]


def test_text_comes_when_it_is_whole() -> None:
    assert read(message("Hel"), message("lo")) == [STARTED]
    assert read(message("Hel"), message("lo"), dify.MessageEnd())[1:] == [TextDelta("Hello"), ReplyEnded()]


def test_only_what_moderation_left_is_ever_given() -> None:
    replaced = dify.MessageReplace("t", "m", "c", answer="Moderated.")

    replies = read(message("forbidden"), replaced, dify.MessageEnd())

    assert replies == [STARTED, TextDelta("Moderated."), ReplyEnded()]


def test_steps_do_not_wait() -> None:
    assert Step("e", "LLM", "llm", "running") in read(message("Hel"), NODE)


def test_an_answer_without_text_ends() -> None:
    assert read(message(""), dify.MessageEnd())[-1] == ReplyEnded()


def test_text_of_a_run_that_failed_is_given_to_nobody() -> None:
    pipeline = ReplyPipeline(HeldBackReader(reply_reader("chat")), reply_filters("separate", ()))
    replies = iter(pipeline.feed([message("<think>Hm</think>forbid"), FAILED]))

    assert next(replies) == STARTED
    with pytest.raises(DifyError, match="boom"):
        next(replies)


def test_thinking_in_the_text_is_withheld_with_it_and_told_apart_at_the_end() -> None:
    pipeline = ReplyPipeline(HeldBackReader(reply_reader("chat")), reply_filters("separate", ()))

    before = list(pipeline.feed([message("<think>Hm</think>Hel"), message("lo")]))
    after = list(pipeline.feed([dify.MessageEnd()]))

    assert before == [STARTED]
    assert after == [ThoughtDelta("Hm"), TextDelta("Hello"), ReplyEnded()]
