import json

import pytest

from opendify.wire.openai_chat import (
    ChatCompletionRequest,
    ChatMessage,
    FilePart,
    FileSource,
    ImagePart,
    ImageURL,
    InputAudio,
    InputAudioPart,
    InputFilePart,
    InputImagePart,
    RefusalPart,
    StreamOptions,
    TextPart,
    UserObject,
)
from opendify.wire.openai_completions import CompletionRequest
from opendify.wire.openai_errors import parse_request


def parse(**body: object) -> ChatCompletionRequest:
    return parse_request(ChatCompletionRequest, json.dumps(body).encode())


def parse_message(**message: object) -> ChatMessage:
    request = parse(model="m", messages=[message])
    assert request.messages
    return request.messages[0]


@pytest.mark.parametrize(
    ("part", "read"),
    [
        pytest.param({"type": "text", "text": "Hi"}, TextPart(type="text", text="Hi"), id="text"),
        pytest.param(
            {"type": "input_text", "text": "Hi"}, TextPart(type="input_text", text="Hi"), id="input_text"
        ),
        pytest.param(
            {"type": "output_text", "text": "Hi", "annotations": []},
            TextPart(type="output_text", text="Hi"),
            id="output_text",
        ),
        pytest.param(
            {"type": "refusal", "refusal": "No."}, RefusalPart(type="refusal", refusal="No."), id="refusal"
        ),
        pytest.param(
            {"type": "image_url", "image_url": {"url": "https://x.example/a.png", "detail": None}},
            ImagePart(type="image_url", image_url=ImageURL(url="https://x.example/a.png")),
            id="image_url",
        ),
        pytest.param(
            {"type": "image_url", "image_url": "https://x.example/a.png"},
            ImagePart(type="image_url", image_url=ImageURL(url="https://x.example/a.png")),
            id="image_url as a bare string",
        ),
        pytest.param(
            {"type": "input_image", "image_url": "https://x.example/a.png", "detail": "auto"},
            InputImagePart(type="input_image", image_url=ImageURL(url="https://x.example/a.png")),
            id="input_image",
        ),
        pytest.param(
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "mp3"}},
            InputAudioPart(type="input_audio", input_audio=InputAudio(data="AAAA", format="mp3")),
            id="input_audio",
        ),
        pytest.param(
            {"type": "file", "file": {"file_data": "data:text/plain;base64,SGk=", "filename": "a.txt"}},
            FilePart(type="file", file=FileSource(file_data="data:text/plain;base64,SGk=", filename="a.txt")),
            id="file",
        ),
        pytest.param(
            {"type": "input_file", "file_url": "https://x.example/a.pdf"},
            InputFilePart(type="input_file", file_url="https://x.example/a.pdf"),
            id="input_file",
        ),
        pytest.param(
            {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}},
            TextPart(type="text", text="Hi"),
            id="with keys that nobody reads",
        ),
    ],
)
def test_every_content_part_is_read(part: object, read: object) -> None:
    assert parse_message(role="user", content=[part]).content == [read]


@pytest.mark.parametrize(
    "message",
    [
        pytest.param({"role": "assistant", "tool_calls": [{"id": "c"}]}, id="no content"),
        pytest.param({"role": "assistant", "content": None}, id="null content"),
        pytest.param({"role": "assistant", "content": "Hi", "reasoning_content": "Hm"}, id="thinking"),
        pytest.param({"role": "assistant", "content": "Hi", "tool_calls": []}, id="empty tool_calls"),
        pytest.param(
            {"role": "user", "content": "Hi", "name": "ann", "id": 7, "files": [{}]}, id="extra keys"
        ),
        pytest.param({"role": "tool", "content": "42", "tool_call_id": "c"}, id="tool"),
        pytest.param({"role": "function", "content": "42", "name": "f"}, id="function"),
        pytest.param(
            {"role": "developer", "content": [{"type": "text", "text": "Be brief"}]}, id="developer"
        ),
    ],
)
def test_real_clients_messages_pass(message: dict[str, object]) -> None:
    assert parse_message(**message).role == message["role"]


def test_unknown_parameters_pass() -> None:
    unknown = {
        "top_k": 5,
        "min_p": 0.1,
        "enable_thinking": True,
        "chat_id": "c",
        "plugins": [],
        "keep_alive": -1,
    }

    assert parse(model="m", messages=[{"role": "user", "content": "Hi"}], **unknown).model == "m"


@pytest.mark.parametrize(
    "shape", [ChatCompletionRequest, CompletionRequest], ids=lambda shape: shape.__name__
)
def test_null_means_absent_for_every_parameter(
    shape: type[ChatCompletionRequest] | type[CompletionRequest],
) -> None:
    nulls = json.dumps(dict.fromkeys(shape.model_fields)).encode()

    assert parse_request(shape, nulls) == shape()


def test_all_parameters_of_the_official_sdk_pass_at_once() -> None:
    request = parse(
        model="m",
        messages=[{"role": "developer", "content": "string", "name": "name"}],
        audio={"format": "wav", "voice": "string"},
        frequency_penalty=-2,
        function_call="none",
        functions=[{"name": "name", "description": "description", "parameters": {"foo": "bar"}}],
        logit_bias={"foo": 0},
        logprobs=True,
        max_completion_tokens=0,
        max_tokens=0,
        metadata={"foo": "string"},
        modalities=["text"],
        n=1,
        parallel_tool_calls=True,
        prediction={"content": "string", "type": "content"},
        presence_penalty=-2,
        prompt_cache_key="prompt-cache-key-1234",
        reasoning_effort="none",
        response_format={"type": "text"},
        safety_identifier="safety-identifier-1234",
        seed=-9007199254740991,
        service_tier="auto",
        stop="\n",
        store=True,
        stream=False,
        stream_options={"include_obfuscation": True, "include_usage": True},
        temperature=1,
        tool_choice="none",
        tools=[{"type": "function", "function": {"name": "name"}}],
        top_logprobs=0,
        top_p=1,
        user="user-1234",
        verbosity="low",
        web_search_options={"search_context_size": "low"},
    )

    assert request.stop == ["\n"]
    assert request.user == UserObject(id="user-1234")
    assert request.stream_options == StreamOptions(include_usage=True)


def test_user_may_be_an_object() -> None:
    assert parse(user={"id": "u1", "name": "Ann"}).user == UserObject(id="u1")


def test_a_body_of_the_responses_api_is_read() -> None:
    request = parse(
        model="m",
        input=[
            {"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": "42"},
        ],
    )

    assert isinstance(request.input, list)
    assert [item.type for item in request.input] == ["message", "function_call", "function_call_output"]


@pytest.mark.parametrize(
    "item",
    [
        pytest.param({"type": "reasoning", "summary": [], "content": None}, id="reasoning"),
        pytest.param(
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm"}]},
            id="reasoning with its text",
        ),
        pytest.param({"type": "item_reference", "id": "msg_1"}, id="item_reference"),
        pytest.param({"type": "invented_later", "content": {"x": 1}, "role": "oracle"}, id="unknown"),
    ],
)
def test_items_that_are_no_messages_pass_whatever_they_hold(item: object) -> None:
    request = parse(model="m", input=[{"role": "user", "content": "Hi"}, item])

    assert isinstance(request.input, list)
    assert len(request.input) == 2


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param("Hi", id="a string"),
        pytest.param(["Hi"], id="a list"),
        pytest.param([1, 2], id="tokens"),
        pytest.param([[1], [2]], id="several prompts of tokens"),
    ],
)
def test_a_prompt_has_four_forms(prompt: object) -> None:
    request = parse_request(CompletionRequest, json.dumps({"prompt": prompt}).encode())

    assert request.prompt == prompt
