import json

import msgspec
import pytest

from opendify.wire import dify
from opendify.wire.dify import MalformedEvent, decode_error_body, decode_event

ENVELOPE = '"task_id":"tid","message_id":"mid","conversation_id":"cid","created_at":1770000000'
IDS = {"task_id": "tid", "message_id": "mid", "conversation_id": "cid"}
KNOWN = (
    "message",
    "agent_message",
    "agent_thought",
    "message_file",
    "message_replace",
    "message_end",
    "error",
    "reasoning_chunk",
    "text_chunk",
    "node_started",
    "iteration_started",
    "loop_started",
    "node_finished",
    "workflow_started",
    "workflow_finished",
    "workflow_paused",
)


@pytest.mark.parametrize(
    ("fields", "event"),
    [
        pytest.param(
            '"event":"message","id":"mid","answer":"Hel","from_variable_selector":[]',
            dify.Message(**IDS, answer="Hel"),
            id="message",
        ),
        pytest.param(
            '"event":"agent_message","id":"mid","answer":"Hel"',
            dify.AgentMessage(**IDS, answer="Hel"),
            id="agent_message",
        ),
        pytest.param(
            '"event":"agent_thought","id":"th1","position":1,"thought":"Hm","tool":"search","message_files":[]',
            dify.AgentThought(**IDS, id="th1", thought="Hm", tool="search"),
            id="agent_thought",
        ),
        pytest.param(
            '"event":"message_file","id":"f","type":"image","belongs_to":"assistant","url":"/files/f"',
            dify.MessageFile(**IDS, id="f", type="image", belongs_to="assistant", url="/files/f"),
            id="message_file",
        ),
        pytest.param(
            '"event":"message_file","id":"mid","answer":"Hel"',
            dify.MessageFile(**IDS, id="mid", answer="Hel"),
            id="message_file with answer",
        ),
        pytest.param(
            '"event":"message_replace","answer":"No.","reason":"output_moderation"',
            dify.MessageReplace(**IDS, answer="No."),
            id="message_replace",
        ),
        pytest.param(
            '"event":"message_end","id":"mid","files":null,"metadata":{"retriever_resources":[],"usage":'
            '{"prompt_tokens":10,"completion_tokens":2,"total_tokens":12,"total_price":"0E-7",'
            '"currency":"USD","latency":0.5,"time_to_first_token":null}}',
            dify.MessageEnd(**IDS, metadata=dify.Metadata(dify.Usage(10, 2, 12, "0E-7", "USD"), [])),
            id="message_end",
        ),
        pytest.param(
            '"event":"error","code":"invalid_param","status":400,"message":"Run failed: boom"',
            dify.ErrorEvent(**IDS, code="invalid_param", status=400, message="Run failed: boom"),
            id="error",
        ),
        pytest.param(
            '"event":"reasoning_chunk","data":{"message_id":null,"reasoning":"Hm","node_id":"llm","is_final":false}',
            dify.ReasoningChunk(**IDS, data=dify.ReasoningChunkData("Hm")),
            id="reasoning_chunk",
        ),
        pytest.param(
            '"event":"text_chunk","data":{"text":"Hel","from_variable_selector":["llm","text"]}',
            dify.TextChunk(**IDS, data=dify.TextChunkData("Hel", ["llm", "text"])),
            id="text_chunk",
        ),
        pytest.param(
            '"event":"node_started","data":{"id":"ne1","node_id":"llm","node_type":"llm","inputs":null}',
            dify.NodeStarted(**IDS, data=dify.NodeData("llm", "llm", id="ne1")),
            id="node_started",
        ),
        pytest.param(
            '"event":"iteration_started","data":{"node_id":"it","node_type":"iteration"}',
            dify.IterationStarted(**IDS, data=dify.NodeData("it", "iteration")),
            id="iteration_started",
        ),
        pytest.param(
            '"event":"loop_started","data":{"node_id":"lo","node_type":"loop"}',
            dify.LoopStarted(**IDS, data=dify.NodeData("lo", "loop")),
            id="loop_started",
        ),
        pytest.param(
            '"event":"node_finished","data":{"node_id":"llm","node_type":"llm","outputs":{"text":"Hi"},'
            '"process_data":{"usage":{}},"status":"succeeded"}',
            dify.NodeFinished(
                **IDS, data=dify.NodeData("llm", "llm", {"text": "Hi"}, {"usage": {}}, status="succeeded")
            ),
            id="node_finished",
        ),
        pytest.param(
            '"event":"workflow_started","workflow_run_id":"rid","data":{"id":"rid","inputs":{"sys.query":"Hi"}}',
            dify.WorkflowStarted(**IDS, workflow_run_id="rid"),
            id="workflow_started",
        ),
        pytest.param(
            '"event":"workflow_finished","workflow_run_id":"rid","data":{"status":"failed","outputs":null,'
            '"error":"boom","total_tokens":3,"created_by":{"id":"eu","user":"u"},"exceptions_count":1}',
            dify.WorkflowFinished(
                **IDS, workflow_run_id="rid", data=dify.WorkflowFinishedData("failed", None, "boom", 3)
            ),
            id="workflow_finished",
        ),
        pytest.param(
            '"event":"workflow_paused","workflow_run_id":"rid","data":{"status":"paused","reasons":[]}',
            dify.WorkflowPaused(**IDS, workflow_run_id="rid"),
            id="workflow_paused",
        ),
    ],
)
def test_every_known_event_is_read_wherever_its_name_stands(fields: str, event: dify.StreamEvent) -> None:
    name_first = f"{{{fields},{ENVELOPE}}}"
    name_last = json.dumps(dict(reversed(json.loads(name_first).items())))

    assert decode_event(name_first.encode()) == event
    assert decode_event(name_last.encode()) == event


@pytest.mark.parametrize("name", KNOWN)
def test_a_known_event_may_lack_every_field(name: str) -> None:
    event = decode_event(json.dumps({"event": name}).encode())

    assert not isinstance(event, dify.UnknownEvent)


@pytest.mark.parametrize("name", KNOWN)
@pytest.mark.parametrize("text", ["x", "\ud800"], ids=["plain", "with a lone surrogate"])
def test_every_field_of_a_known_event_may_be_null(name: str, text: str) -> None:
    plain = decode_event(json.dumps({"event": name}).encode())
    fields = dict.fromkeys(msgspec.to_builtins(plain))
    nulls = json.dumps({**fields, "event": name, "unread": text}).encode()

    assert decode_event(nulls) == plain


@pytest.mark.parametrize(
    ("payload", "name"),
    [
        pytest.param(b'{"event":"node_retry","data":{"retry_index":1}}', "node_retry", id="of no use"),
        pytest.param(b'{"event":"warning","warning":"old"}', "warning", id="invented later"),
        pytest.param(b'{"data":{"x":[1,{}]},"event":"node_retry"}', "node_retry", id="its name comes last"),
        pytest.param(b'{"event":"tts_message","audio":"\\ud83d"}', "tts_message", id="with a lone surrogate"),
        pytest.param(b'{"event":"","x":1}', "", id="an empty name"),
        pytest.param(b'{"answer":"Hi"}', "", id="no name"),
        pytest.param(b'{"answer":"\\ud83d"}', "", id="no name, with a lone surrogate"),
    ],
)
def test_an_unknown_event_is_passed_over(payload: bytes, name: str) -> None:
    assert decode_event(payload) == dify.UnknownEvent(name)


# From 3.14 on Python counts bytes of stack in place of calls, and goes deeper.
_TOO_DEEP = 1_000_000


def _nested(depth: int) -> bytes:
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    "payload",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"[DONE]", id="not JSON"),
        pytest.param(b'{"event":"message","answer":"Hel', id="cut"),
        pytest.param(b'{"event":"message"}{"event":"message"}', id="two objects"),
        pytest.param(b"null", id="null"),
        pytest.param(b"[]", id="an array"),
        pytest.param(b'["\\ud800"]', id="an array with a lone surrogate"),
        pytest.param(b'"message"', id="a string"),
        pytest.param(b'{"event":5}', id="the name is a number"),
        pytest.param(b'{"event":null}', id="the name is null"),
        pytest.param(b'{"event":["\\ud800"]}', id="the name is an array with a lone surrogate"),
        pytest.param(b'{"event":{"a":"\\ud800"}}', id="the name is an object with a lone surrogate"),
        pytest.param(b'{"event":"message","answer":5}', id="a field of a type that no version sends"),
        pytest.param(b'{"event":"message","answer":["\\ud800"]}', id="such a field with a lone surrogate"),
        pytest.param(b'{"event":"message","answer":"\xff"}', id="not UTF-8"),
        pytest.param(b'{"event":"message","x":' + _nested(_TOO_DEEP) + b"}", id="a known event, too deep"),
        pytest.param(
            b'{"event":"node_retry","x":' + _nested(_TOO_DEEP) + b"}", id="an unknown event, too deep"
        ),
        pytest.param(
            b'{"x":' + _nested(_TOO_DEEP) + b',"event":"node_retry"}', id="too deep before its name"
        ),
        pytest.param(
            b'{"x":"\\ud800","event":"node_retry","y":' + _nested(_TOO_DEEP) + b"}",
            id="too deep, with a lone surrogate",
        ),
        pytest.param(_nested(_TOO_DEEP), id="too deep an array"),
    ],
)
def test_what_is_no_event_is_malformed(payload: bytes) -> None:
    with pytest.raises(MalformedEvent):
        decode_event(payload)


@pytest.mark.parametrize(
    ("payload", "answer"),
    [
        pytest.param(rb'{"event":"message","answer":"\ud83d\ude42"}', "🙂", id="an escaped pair"),
        pytest.param(rb'{"event":"message","answer":"\ud83d"}', "\ud83d", id="a high surrogate alone"),
        pytest.param(rb'{"event":"message","answer":"\ude42"}', "\ude42", id="a low surrogate alone"),
        pytest.param(rb'{"event":"message","answer":"a\u0000b"}', "a\x00b", id="NUL"),
        pytest.param('{"event":"message","answer":"a\u2028b"}'.encode(), "a\u2028b", id="raw line separator"),
        pytest.param(rb'{"event":"message","answer":""}', "", id="empty"),
        pytest.param(b'{ "event" : "message", "answer" : "Hi" }', "Hi", id="spaces, as 0.15 writes them"),
    ],
)
def test_text_comes_through_unchanged(payload: bytes, answer: str) -> None:
    assert decode_event(payload) == dify.Message(answer=answer)


def test_an_event_of_several_megabytes_is_read() -> None:
    prompt = "x" * 5_000_000
    payload = {"event": "node_finished", "data": {"node_id": "llm", "process_data": {"prompts": prompt}}}

    event = decode_event(json.dumps(payload).encode())

    assert event == dify.NodeFinished(data=dify.NodeData("llm", process_data={"prompts": prompt}))


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        pytest.param(
            b'{"code":"app_unavailable","message":"App unavailable.","status":400}',
            dify.ErrorBody("app_unavailable", "App unavailable."),
            id="usual",
        ),
        pytest.param(
            b'{"code":"invalid_param","message":"Missing required parameter","params":"query"}',
            dify.ErrorBody("invalid_param", "Missing required parameter", "query"),
            id="up to 1.7: params, no status",
        ),
        pytest.param(
            b'{"errors":{"query":"Missing required parameter in the JSON body"},'
            b'"message":"Input payload validation failed"}',
            dify.ErrorBody(
                None,
                "Input payload validation failed",
                errors={"query": "Missing required parameter in the JSON body"},
            ),
            id="1.8 to 1.10: errors, no code",
        ),
        pytest.param(
            b'{"message":"Internal Server Error","code":"unknown"}',
            dify.ErrorBody("unknown", "Internal Server Error"),
            id="uncaught",
        ),
        pytest.param(
            b'{"code":"plugin_runtime_error","message":"boom","details":{"request_id":"r"},"status":502}',
            dify.ErrorBody("plugin_runtime_error", "boom"),
            id="1.16.1: details",
        ),
        pytest.param(b"{}", dify.ErrorBody(), id="an empty object"),
        pytest.param(b"", None, id="empty"),
        pytest.param(b"<html><body>502 Bad Gateway</body></html>", None, id="HTML"),
        pytest.param(b"[]", None, id="an array"),
        pytest.param(b'{"code":500,"message":"x"}', None, id="another service's shape"),
        pytest.param(b'{"message":"\xff"}', None, id="not UTF-8"),
        pytest.param(b'{"code":"c","x":' + _nested(_TOO_DEEP) + b"}", None, id="too deep"),
    ],
)
def test_an_error_body_of_any_version_is_read(body: bytes, shape: dify.ErrorBody | None) -> None:
    assert decode_error_body(body) == shape
