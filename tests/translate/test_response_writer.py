import json
from typing import Any

from opendify.errors import DifyError, RateLimited
from opendify.translate.openai_responses import response_head
from opendify.translate.response_writer import ResponseWriter
from opendify.translate.turn import (
    Citation,
    Citations,
    CompletionUsage,
    ReplyEnded,
    ReplyEvent,
    ReplyStarted,
    TextDelta,
    TextDeltas,
    TextReplaced,
    ThoughtDelta,
)
from opendify.wire.openai_responses import ResponsesRequest

Shape = dict[str, Any]  # JSON as it comes.
END = ReplyEnded(CompletionUsage(1, 2))


class Stream:
    """A writer, and what it was told to keep."""

    def __init__(self) -> None:
        request = ResponsesRequest(model="bot", metadata={"a": "b", "c": 1}, temperature=0.5)
        head = response_head(request, response_id="resp_1", created=5, is_stored=True)
        self.ended: list[tuple[object, ReplyStarted]] = []
        self.writer = ResponseWriter(head, now=lambda: 7.5, on_ended=lambda *end: self.ended.append(end))

    def feed(self, *events: ReplyEvent) -> list[Shape]:
        return read(b"".join(self.writer.feed(event) for event in events))


def read(written: bytes) -> list[Shape]:
    """Each event's data; the `event:` line says the same type."""
    events = []
    for block in written.decode().removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert name == f"event: {event['type']}"
        events.append(event)
    return events


def types(events: list[Shape]) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_an_answer_is_told_in_openai_s_order() -> None:
    stream = Stream()
    events = stream.feed(
        ReplyStarted("t", "m", "c"), TextDelta("Hel"), TextDeltas("lo", [b"l", b"o"]), TextDelta("!"), END
    )

    assert types(events) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        *["output_text.delta"] * 4,
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(12))
    assert [event["delta"] for event in events if "delta" in event] == ["Hel", "l", "o", "!"]
    response = events[-1]["response"]
    assert response["output"] == [events[-2]["item"]]
    assert response["output"][0]["content"][0]["text"] == "Hello!" == stream.writer.text
    assert (response["status"], response["created_at"], response["completed_at"]) == ("completed", 5, 7)
    assert (response["metadata"], response["temperature"]) == ({"a": "b"}, 0.5)
    assert response["usage"]["total_tokens"] == 3
    assert response["dify"] == {"conversation_id": "c", "message_id": "m", "task_id": "t"}
    assert stream.ended == [(response, ReplyStarted("t", "m", "c"))]


def test_thoughts_are_an_item_in_front_of_the_answer() -> None:
    events = Stream().feed(ThoughtDelta("Let me "), ThoughtDelta("see"), TextDelta("Yes"), END)

    assert types(events)[2:10] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
    ]
    reasoning, message = events[-1]["response"]["output"]
    assert reasoning["summary"] == [{"type": "summary_text", "text": "Let me see"}]
    assert [each["output_index"] for each in events if each["type"] == "response.output_item.done"] == [0, 1]
    assert message["content"][0]["text"] == "Yes"


def test_thoughts_between_words_leave_the_answer_one_message() -> None:
    events = Stream().feed(
        TextDelta("A"), ThoughtDelta("x"), TextDelta("B"), ThoughtDelta("y"), ThoughtDelta("z"), END
    )

    message, *reasoning = events[-1]["response"]["output"]
    assert message["content"][0]["text"] == "AB"
    assert [item["summary"][0]["text"] for item in reasoning] == ["x", "yz"]
    assert len({item["id"] for item in [message, *reasoning]}) == 3
    for event in events:
        if event["type"] == "response.output_text.delta":
            assert (event["item_id"], event["output_index"]) == (message["id"], 0)


def test_an_answer_without_words_is_an_empty_message() -> None:
    events = Stream().feed(ThoughtDelta("Hm"), END)

    assert events[-1]["response"]["output"][1]["content"][0]["text"] == ""


def test_without_usage_there_is_none() -> None:
    assert "usage" not in Stream().feed(TextDelta("Hi"), ReplyEnded())[-1]["response"]


def test_documents_with_a_url_are_annotations() -> None:
    cited = Citations((Citation(1, document_name="Plan", url="https://x.example/p"), Citation(2)))
    events = Stream().feed(TextDelta("Hello"), cited, END)

    (added,) = [event for event in events if event["type"].endswith("annotation.added")]
    assert added["annotation_index"] == 0
    assert added["annotation"] == {
        "type": "url_citation",
        "start_index": 5,
        "end_index": 5,
        "url": "https://x.example/p",
        "title": "Plan",
    }
    assert events[-1]["response"]["output"][0]["content"][0]["annotations"] == [added["annotation"]]


def test_a_replacement_that_fits_is_completed() -> None:
    events = Stream().feed(TextDelta("Hel"), TextReplaced("Hello"), END)

    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "Hello"


def test_what_moderation_took_back_is_incomplete() -> None:
    stream = Stream()
    events = stream.feed(TextDelta("Bad"), TextReplaced("Good"), TextDelta("more"), END)

    last = events[-1]
    assert (last["type"], last["response"]["status"]) == ("response.incomplete", "incomplete")
    assert last["response"]["incomplete_details"] == {"reason": "content_filter"}
    assert last["response"]["output"][0]["status"] == "incomplete"
    assert stream.writer.text is None


def test_a_failure_is_an_error_and_a_failed_response() -> None:
    stream = Stream()
    stream.feed(ThoughtDelta("Hm"), TextDelta("Hel"), ThoughtDelta("so"))
    error, failed = read(stream.writer.fail(DifyError("It broke", param="x")))

    assert error["type"] == "error"
    assert (error["code"], error["message"], error["param"]) == ("upstream_error", "It broke", "x")
    response = failed["response"]
    assert (failed["type"], response["status"]) == ("response.failed", "failed")
    assert response["error"] == {"code": "server_error", "message": "It broke"}
    assert [item["type"] for item in response["output"]] == ["reasoning", "message", "reasoning"]
    assert response["output"][1]["status"] == "incomplete"
    assert stream.ended == [(response, ReplyStarted(None))]


def test_a_limit_is_told_from_a_fault_and_the_opening_comes_first() -> None:
    events = read(Stream().writer.fail(RateLimited("Too much")))

    assert types(events) == ["created", "in_progress", "error", "failed"]
    assert events[-1]["response"]["error"]["code"] == "rate_limit_exceeded"


def test_a_client_can_be_shown_a_sign_of_life_first() -> None:
    stream = Stream()

    assert types(read(stream.writer.open())) == ["created", "in_progress"]
    assert stream.writer.open() == b""
    assert stream.writer.has_text is False
    assert types(stream.feed(TextDelta("Hi")))[0] == "output_item.added"
    assert stream.writer.has_text is True


def test_odd_characters_stay_on_their_line() -> None:
    odd = "a\u2028b\x00\u0085\ud83d\n"
    events = Stream().feed(TextDelta(odd), TextDelta(odd), END)

    assert events[-1]["response"]["output"][0]["content"][0]["text"] == odd * 2
