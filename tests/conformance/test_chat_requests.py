"""What real clients put into a chat request, and what Dify then gets."""

from typing import Any

import httpx
import pytest

from tests.conformance.judge import schema_faults
from tests.conftest import Serve
from tests.fakes.frames import END, event, message
from tests.fakes.mock_dify import MockDify, stream
from tests.fakes.openai_errors import assert_openai_error

CHAT = "/v1/chat/completions"
PNG = "data:image/png;base64,iVBORw0KGgo="
REMOTE = "https://pictures.example/cat.png"

Content = str | list[dict[str, object]]


def ask(serve: Serve, content: Content, **more: object) -> Any:
    """The whole answer's only message, after its schema was checked."""
    body = {"model": "bot", "messages": [{"role": "user", "content": content}], **more}
    response = serve().post(CHAT, json=body)
    assert response.status_code == 200, response.text
    assert schema_faults("CreateChatCompletionResponse", response.json) == []
    assert response.json is not None
    return response.json["choices"][0]["message"]


def test_text_as_a_list_of_parts_is_the_same_question(serve: Serve, dify: MockDify) -> None:
    ask(serve, "Hello there")
    ask(serve, [{"type": "text", "text": "Hello there"}])

    [as_text, as_parts] = dify.bodies("run")
    assert as_parts == as_text


@pytest.mark.parametrize(
    "part",
    [
        pytest.param({"type": "image_url", "image_url": {"url": REMOTE, "detail": None}}, id="a URL"),
        pytest.param(
            {"type": "image_url", "image_url": {"url": REMOTE, "detail": "original"}}, id="in full detail"
        ),
        pytest.param({"type": "image_url", "image_url": REMOTE}, id="a URL as a bare string"),
        pytest.param({"type": "input_image", "image_url": REMOTE}, id="as in the Responses API"),
    ],
)
def test_an_image_on_the_web_is_named_to_dify(serve: Serve, dify: MockDify, part: dict[str, object]) -> None:
    ask(serve, [{"type": "text", "text": "What is this?"}, part])

    [body] = dify.bodies("run")
    assert body["files"] == [{"type": "image", "transfer_method": "remote_url", "url": REMOTE}]
    assert body["query"] == "What is this?"


@pytest.mark.parametrize(
    ("part", "kind"),
    [
        pytest.param({"type": "image_url", "image_url": {"url": PNG}}, "image", id="an image"),
        pytest.param({"type": "image_url", "image_url": PNG}, "image", id="an image as a bare string"),
        pytest.param(
            {
                "type": "file",
                "file": {"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"},
            },
            "document",
            id="a document",
        ),
        pytest.param(
            {"type": "image_url", "image_url": {"url": "data:audio/mpeg;base64,SUQz"}},
            "audio",
            id="sound, which Dify as a client sends as an image",
        ),
        pytest.param(
            {"type": "image_url", "image_url": {"url": "data:video/mp4;base64,AAAA"}}, "video", id="a film"
        ),
        pytest.param(
            {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
            "audio",
            id="speech",
        ),
    ],
)
def test_content_in_the_request_is_uploaded_under_its_own_kind(
    serve: Serve, dify: MockDify, part: dict[str, object], kind: str
) -> None:
    ask(serve, [{"type": "text", "text": "What is this?"}, part])

    [body] = dify.bodies("run")
    assert body["files"] == [{"type": kind, "transfer_method": "local_file", "upload_file_id": "upload-1"}]


def test_an_image_without_text_still_asks_something(serve: Serve, dify: MockDify) -> None:
    ask(serve, [{"type": "image_url", "image_url": {"url": REMOTE}}])

    [body] = dify.bodies("run")
    assert body["query"].strip()
    assert body["files"]


def test_a_responses_shaped_body_is_answered_as_a_chat(serve: Serve, dify: MockDify) -> None:
    body = {
        "model": "bot",
        "instructions": "Be brief.",
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hello there"}]}],
    }

    response = serve().post(CHAT, json=body)

    assert schema_faults("CreateChatCompletionResponse", response.json) == []
    assert dify.bodies("run")[0]["query"].endswith("Hello there")


def test_a_user_that_is_an_object_counts_by_its_id(serve: Serve, dify: MockDify) -> None:
    ask(serve, "Hi", user={"id": "ada", "name": "Ada", "email": "ada@example.org", "role": "user"})
    ask(serve, "Hi", user="ada")
    ask(serve, "Hi", user="bob")

    [as_object, as_text, other] = [body["user"] for body in dify.bodies("run")]
    assert as_object == as_text != other


def test_thinking_is_apart_from_the_answer(serve: Serve, dify: MockDify) -> None:
    dify.answers["run"] = lambda _: stream(message("<think>Hm.</think>") + message("Yes.") + END)

    answer = ask(serve, "Is it?")

    assert (answer["content"], answer["reasoning_content"]) == ("Yes.", "Hm.")


def test_an_answer_with_sources_is_a_valid_one(serve: Serve, dify: MockDify) -> None:
    source = {
        "position": 1,
        "document_name": "guide.md",
        "dataset_name": "Guides",
        "score": 0.9,
        "content": "Press the button.",
        "url": "https://docs.example/guide",
    }
    end = event("message_end", metadata={"retriever_resources": [source]})
    dify.answers["run"] = lambda _: stream(message("Press it.") + end)

    ask(serve, "How?")


def test_an_empty_answer_is_still_a_choice(serve: Serve, dify: MockDify) -> None:
    dify.answers["run"] = lambda _: stream(message("") + END)

    assert ask(serve, "Say nothing")["content"] == ""


def test_the_models_are_listed_without_asking_dify(serve: Serve, dify: MockDify) -> None:
    def break_off(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("down")

    dify.answers |= dict.fromkeys(("info", "parameters", "run"), break_off)

    response = serve().get("/v1/models")

    assert schema_faults("ListModelsResponse", response.json) == []
    assert dify.requests == []


def test_a_fault_of_ours_is_told_without_its_inside(serve: Serve, dify: MockDify) -> None:
    def crash(_: httpx.Request) -> httpx.Response:
        raise RuntimeError("a secret of the inside")

    dify.answers |= dict.fromkeys(("info", "parameters", "run"), crash)

    response = serve().post(CHAT, json={"model": "bot", "messages": [{"role": "user", "content": "Hi"}]})

    message = assert_openai_error(response, 500, "internal_error")
    assert "secret" not in message
    assert response.headers["x-should-retry"] == "false"


@pytest.mark.parametrize("advice", ["1", "3600", "0", "-5", "soon", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_dify_s_own_rate_limit_advises_to_wait_a_minute_at_most(
    serve: Serve, dify: MockDify, advice: str
) -> None:
    dify.answers["run"] = lambda _: httpx.Response(
        429, headers={"Retry-After": advice}, json={"code": "rate_limit_error", "message": "no"}
    )

    response = serve().post(CHAT, json={"model": "bot", "messages": [{"role": "user", "content": "Hi"}]})

    assert_openai_error(response, 429, "rate_limit_exceeded")
    assert 1 <= int(response.headers["Retry-After"]) <= 60
