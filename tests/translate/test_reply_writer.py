import json
from collections.abc import Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opendify.errors import DifyRunFailed, InvalidInput
from opendify.translate.openai_chat import ChatChoice
from opendify.translate.openai_completions import CompletionChoice
from opendify.translate.reply_writer import ChoiceShapes, ReplyWriter
from opendify.translate.turn import (
    CompletionUsage,
    Price,
    ReplyEnded,
    ReplyEvent,
    ReplyStarted,
    TextDelta,
    TextReplaced,
    ThoughtDelta,
)
from opendify.wire.sse import SSEDecoder

# Machines that build may be slow; what counts is the answer.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


STARTED = ReplyStarted("tid", "mid", "cid")
USAGE = CompletionUsage(10, 2)
EXTENSION = {"conversation_id": "cid", "message_id": "mid", "task_id": "tid"}


def writer(shapes: ChoiceShapes | None = None, *, include_usage: bool = False) -> ReplyWriter:
    return ReplyWriter(
        shapes or ChatChoice(),
        completion_id="chatcmpl-1",
        created=1_770_000_000,
        model="translator",
        include_usage=include_usage,
    )


def payloads(stream: bytes) -> list[bytes]:
    decoded = SSEDecoder().feed(stream)
    assert stream == b"".join(b"data: " + payload + b"\n\n" for payload in decoded)
    return decoded


def written(
    *events: ReplyEvent, include_usage: bool = False, shapes: ChoiceShapes | None = None
) -> list[bytes]:
    one = writer(shapes, include_usage=include_usage)
    return payloads(b"".join(one.feed(event) for event in events))


def chunk(choice: Mapping[str, object] | None, **more: object) -> dict[str, object]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_770_000_000,
        "model": "translator",
        "choices": [] if choice is None else [choice],
        **more,
    }


def delta(finish_reason: str | None = None, **fields: object) -> dict[str, object]:
    return {"index": 0, "delta": fields, "logprobs": None, "finish_reason": finish_reason}


ROLE = delta(role="assistant", content="", refusal=None)


def content_of(stream: list[bytes]) -> str:
    chunks = [json.loads(payload) for payload in stream if payload != b"[DONE]"]
    return "".join(choice["delta"].get("content", "") for each in chunks for choice in each["choices"])


def finish_of(stream: list[bytes]) -> list[str]:
    chunks = [json.loads(payload) for payload in stream if payload != b"[DONE]"]
    reasons = [choice["finish_reason"] for each in chunks for choice in each["choices"]]
    return [reason for reason in reasons if reason]


def test_a_stream_is_role_thinking_content_finish_and_done() -> None:
    *chunks, done = written(STARTED, ThoughtDelta("Hm"), TextDelta("Hel"), TextDelta("lo"), ReplyEnded(USAGE))

    assert [json.loads(each) for each in chunks] == [
        chunk(ROLE),
        chunk(delta(reasoning_content="Hm")),
        chunk(delta(content="Hel")),
        chunk(delta(content="lo")),
        chunk(delta("stop"), dify=EXTENSION),
    ]
    assert done == b"[DONE]"


def test_with_usage_on_every_chunk_bears_null_and_one_the_counts() -> None:
    *chunks, done = written(STARTED, TextDelta("Hi"), ReplyEnded(USAGE), include_usage=True)

    assert [json.loads(each) for each in chunks] == [
        chunk(ROLE, usage=None),
        chunk(delta(content="Hi"), usage=None),
        chunk(delta("stop"), dify=EXTENSION, usage=None),
        chunk(None, usage={"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12}),
    ]
    assert done == b"[DONE]"


def test_usage_that_dify_did_not_tell_is_not_invented() -> None:
    *chunks, done = written(TextDelta("Hi"), ReplyEnded(), include_usage=True)

    assert [json.loads(each).get("usage") for each in chunks] == [None, None, None]
    assert json.loads(chunks[-1])["choices"][0]["finish_reason"] == "stop"
    assert done == b"[DONE]"


def test_an_empty_answer_is_still_a_whole_stream() -> None:
    *chunks, done = written(ReplyEnded())

    assert [json.loads(each) for each in chunks] == [chunk(ROLE), chunk(delta("stop"), dify={})]
    assert done == b"[DONE]"


def test_the_role_is_written_once() -> None:
    one = writer()

    assert payloads(one.open())
    assert one.open() == b""
    assert content_of(payloads(one.feed(TextDelta("Hi")))) == "Hi"


def test_a_writer_knows_whether_it_wrote_text() -> None:
    one = writer()

    one.feed(STARTED)
    one.feed(ThoughtDelta("Hm"))
    before = one.has_text
    one.feed(TextDelta("Hi"))

    assert (before, one.has_text) == (False, True)


def test_the_extension_is_one_object_in_the_finish_chunk() -> None:
    ended = ReplyEnded(USAGE, Price("0E-7", "USD"), {"text": "Hi", "n": 1})

    *chunks, _ = written(ReplyStarted("tid"), TextDelta("Hi"), ended)

    assert [json.loads(each).get("dify") for each in chunks] == [
        None,
        None,
        {"task_id": "tid", "price": {"total": "0E-7", "currency": "USD"}, "outputs": {"text": "Hi", "n": 1}},
    ]


@pytest.mark.parametrize(
    ("events", "content", "finish"),
    [
        pytest.param([TextReplaced("No.")], "No.", "stop", id="before any text"),
        pytest.param([TextDelta("Hi"), TextReplaced("Hi")], "Hi", "stop", id="by the same"),
        pytest.param([TextDelta("Hi"), TextReplaced("Hi there")], "Hi there", "stop", id="by more"),
        pytest.param([TextDelta("bad"), TextReplaced("No.")], "bad", "content_filter", id="by other words"),
        pytest.param([TextDelta("bad"), TextReplaced("")], "bad", "content_filter", id="by nothing"),
        pytest.param([TextReplaced(""), TextDelta("Hi")], "Hi", "stop", id="nothing by nothing"),
        pytest.param(
            [TextDelta("bad"), TextReplaced("No."), TextDelta(" Sorry.")],
            "bad",
            "content_filter",
            id="by other words, and more of them",
        ),
        pytest.param(
            [TextDelta("bad"), TextReplaced("No."), TextReplaced("No.")], "bad", "content_filter", id="twice"
        ),
        pytest.param(
            [TextReplaced("No."), TextDelta(" Sorry.")], "No. Sorry.", "stop", id="before any text, and more"
        ),
    ],
)
def test_what_was_sent_is_completed_or_contradicted(
    events: list[ReplyEvent], content: str, finish: str
) -> None:
    stream = written(*events, ReplyEnded())

    assert content_of(stream) == content
    assert finish_of(stream) == [finish]
    assert stream[-1] == b"[DONE]"


def test_thinking_does_not_contradict_a_replacement() -> None:
    stream = written(ThoughtDelta("Hm"), TextReplaced("No."), ReplyEnded())

    assert content_of(stream) == "No."
    assert finish_of(stream) == ["stop"]


def test_a_failure_is_one_frame_with_the_error_alone() -> None:
    one = writer(include_usage=True)
    one.feed(TextDelta("Hi"))

    assert one.fail(DifyRunFailed("boom")) == (
        b'data: {"error":{"message":"boom","type":"server_error","param":null,'
        b'"code":"upstream_run_failed"}}\n\n'
    )


def test_a_failure_names_its_parameter() -> None:
    (payload,) = payloads(writer().fail(InvalidInput("name is required", param="inputs.name")))

    assert json.loads(payload) == {
        "error": {
            "message": "name is required",
            "type": "invalid_request_error",
            "param": "inputs.name",
            "code": "invalid_input",
        }
    }


@pytest.mark.parametrize(
    ("echo", "first"), [("", ""), ("Once", "Once")], ids=["without echo", "with the prompt in front"]
)
def test_a_text_completion_is_text_finish_and_done(echo: str, first: str) -> None:
    *chunks, done = written(
        STARTED, ThoughtDelta("Hm"), TextDelta("Hi"), ReplyEnded(USAGE), shapes=CompletionChoice(echo)
    )

    head = {"id": "chatcmpl-1", "object": "text_completion", "created": 1_770_000_000, "model": "translator"}
    choice: dict[str, object] = {"index": 0, "logprobs": None, "finish_reason": None}
    assert [json.loads(each) for each in chunks] == [
        {**head, "choices": [{**choice, "text": first}]},
        {**head, "choices": [{**choice, "text": "Hi"}]},
        {**head, "choices": [{**choice, "text": "", "finish_reason": "stop"}], "dify": EXTENSION},
    ]
    assert done == b"[DONE]"


def test_an_echo_is_no_part_of_the_answer() -> None:
    stream = written(TextReplaced("No."), ReplyEnded(), shapes=CompletionChoice("Once"))

    texts = [json.loads(payload)["choices"][0]["text"] for payload in stream[:-1]]
    assert texts == ["Once", "No.", ""]


def test_any_model_name_is_repeated_as_asked() -> None:
    one = ReplyWriter(
        ChatChoice(), completion_id="c", created=1, model='Ü "x"\u2028\ud83d', include_usage=False
    )

    (payload,) = payloads(one.open())

    assert json.loads(payload)["model"] == 'Ü "x"\u2028\ud83d'
    assert b"\xe2\x80\xa8" not in payload


_texts = st.text(st.characters(), min_size=1)
_events = st.one_of(
    st.just(STARTED),
    st.builds(TextDelta, _texts),
    st.builds(ThoughtDelta, _texts),
    st.builds(TextReplaced, _texts),
)
_endings = st.builds(
    ReplyEnded,
    st.none() | st.builds(CompletionUsage, st.integers(0), st.integers(0)),
    st.none() | st.just(Price("0E-7", "USD")),
    st.none() | st.dictionaries(st.text(), st.integers() | st.floats() | st.text(st.characters())),
)


@unhurried
@given(st.lists(_events, max_size=6), _endings, st.booleans(), st.sampled_from(["chat", "completion"]))
def test_every_stream_is_strict_json_with_the_required_keys(
    events: list[ReplyEvent], ending: ReplyEnded, include_usage: bool, front: str
) -> None:
    shapes: ChoiceShapes = ChatChoice() if front == "chat" else CompletionChoice("Once")

    *chunks, done = written(*events, ending, include_usage=include_usage, shapes=shapes)

    assert done == b"[DONE]"
    for payload in chunks:
        shape = json.loads(payload, parse_constant=pytest.fail)
        assert {"id", "object", "created", "model", "choices"} <= shape.keys()
        assert ("usage" in shape) == include_usage
        for choice in shape["choices"]:
            assert {"index", "logprobs", "finish_reason"} <= choice.keys()
    assert len(finish_of(chunks)) == 1


@pytest.mark.parametrize("model", ["any text", '"any text"', "content"])
def test_a_model_may_have_any_name(model: str) -> None:
    writer = ReplyWriter(ChatChoice(), completion_id="id", created=1, model=model, include_usage=True)
    writer.feed(TextDelta("Hel"))

    (chunk,) = SSEDecoder().feed(writer.feed(TextDelta("lo")))

    assert json.loads(chunk)["model"] == model
    assert json.loads(chunk)["choices"][0]["delta"] == {"content": "lo"}
