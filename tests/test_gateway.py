"""What the gateway asks of Dify for one request, and what it answers."""

import json
from collections.abc import Callable

import httpx
import pytest

from opendify.conversations.identity import ClientContext
from opendify.dify.client import DifyClient
from opendify.errors import GatewayError, InvalidRequest, ModelNotFound
from opendify.gateway import Gateway
from opendify.records import Caller
from opendify.runs.person import Person
from opendify.settings import Settings
from opendify.wire.openai_chat import ChatCompletionRequest
from opendify.wire.openai_completions import CompletionRequest
from tests.fakes.frames import END, Shape, event, message, read_frames, text_of
from tests.fakes.memory_store import MemoryStore
from tests.fakes.mock_dify import MockDify, refusal, stream
from tests.fakes.settings import make_settings

ANNA = Person(Caller("team"), ClientContext(user="anna"))
PNG = "data:image/png;base64,iVBORw0KGgo="


def gateway(dify: MockDify, settings: Settings | None = None) -> Gateway:
    settings = settings or make_settings()
    client = DifyClient(settings, transport=dify.transport)
    return Gateway(settings, client, MemoryStore(), now=lambda: 1_700_000_000.9)


def chat(**fields: object) -> ChatCompletionRequest:
    body = {"model": "bot", "messages": [{"role": "user", "content": "Hi"}], **fields}
    return ChatCompletionRequest.model_validate_json(json.dumps(body))


def picture(url: str = PNG) -> list[Shape]:
    parts = [{"type": "text", "text": "What is it?"}, {"type": "image_url", "image_url": {"url": url}}]
    return [{"role": "user", "content": parts}]


def test_a_chat_completion_is_one_streamed_run_for_the_person(dify: MockDify) -> None:
    answer = gateway(dify).create_chat_completion(chat(inputs={"lang": "de"}), ANNA)

    (body,) = dify.bodies("run")
    assert body["response_mode"] == "streaming", "always, whatever the client asked"
    assert (body["query"], body["inputs"]) == ("Hi", {"lang": "de"})
    assert "anna" in body["user"]
    assert "team" in body["user"]
    assert body["auto_generate_name"] is False
    assert answer.body["object"] == "chat.completion"
    assert answer.body["created"] == 1_700_000_000
    assert answer.body["model"] == "bot"
    assert answer.started.conversation_id == "conversation-1"
    choices = answer.body["choices"]
    assert isinstance(choices, list)
    assert choices[0]["message"]["content"] == "Hello"


def test_two_callers_never_share_a_dify_user(dify: MockDify) -> None:
    here = gateway(dify)
    for person in (
        ANNA,
        Person(Caller("other"), ClientContext(user="anna")),
        Person(Caller("team"), ClientContext()),
    ):
        here.create_chat_completion(chat(), person)

    users = [body["user"] for body in dify.bodies("run")]
    assert len(set(users)) == 3


def test_every_answer_has_its_own_id(dify: MockDify) -> None:
    here = gateway(dify)

    ids = {here.create_chat_completion(chat(), ANNA).body["id"] for _ in range(5)}

    assert len(ids) == 5
    assert all(str(each).startswith("chatcmpl-") for each in ids)


def test_a_stream_is_opened_at_once_and_read_when_asked(dify: MockDify) -> None:
    stream_ = gateway(dify).stream_chat_completion(chat(stream=True), ANNA)

    frames = read_frames(stream_.frames())

    assert text_of(frames[:-1]) == "Hello"
    assert frames[-1] == "[DONE]"


def test_a_text_completion_takes_its_prompt_and_may_echo_it(dify: MockDify) -> None:
    dify.answers["info"] = lambda _: httpx.Response(200, json={"mode": "completion"})
    body = json.dumps({"model": "bot", "prompt": "Once", "echo": True})

    answer = gateway(dify).create_completion(CompletionRequest.model_validate_json(body), ANNA)

    choices = answer.body["choices"]
    assert isinstance(choices, list)
    assert choices[0]["text"] == "OnceHello"
    assert dify.asked("run")[0].url.path == "/v1/completion-messages"


@pytest.mark.parametrize(
    ("mode", "path"),
    [
        ("chat", "/v1/chat-messages"),
        ("agent-chat", "/v1/chat-messages"),
        ("agent", "/v1/chat-messages"),
        ("advanced-chat", "/v1/chat-messages"),
        ("completion", "/v1/completion-messages"),
    ],
)
def test_the_app_s_mode_chooses_the_endpoint(dify: MockDify, mode: str, path: str) -> None:
    dify.answers["info"] = lambda _: httpx.Response(200, json={"mode": mode})

    gateway(dify).create_chat_completion(chat(), ANNA)

    assert dify.asked("run")[0].url.path == path


def test_an_inline_picture_is_uploaded_for_the_same_user(dify: MockDify) -> None:
    gateway(dify).create_chat_completion(chat(messages=picture()), ANNA)

    (body,) = dify.bodies("run")
    assert body["files"] == [{"type": "image", "transfer_method": "local_file", "upload_file_id": "upload-1"}]
    (upload,) = dify.asked("upload")
    assert body["user"].encode() in upload.content


def test_a_picture_s_address_is_handed_to_dify(dify: MockDify) -> None:
    gateway(dify).create_chat_completion(chat(messages=picture("https://pics.test/a.png")), ANNA)

    (body,) = dify.bodies("run")
    assert body["files"] == [
        {"type": "image", "transfer_method": "remote_url", "url": "https://pics.test/a.png"}
    ]
    assert not dify.asked("upload")


def test_files_for_an_app_that_takes_none_are_refused_before_anything_is_sent(dify: MockDify) -> None:
    dify.answers["parameters"] = lambda _: httpx.Response(200, json={"file_upload": {"enabled": False}})

    with pytest.raises(InvalidRequest) as caught:
        gateway(dify).create_chat_completion(chat(messages=picture()), ANNA)

    assert caught.value.code == "unsupported_value"
    assert (caught.value.param or "").startswith("messages[0].content[1]")
    assert not dify.asked("upload")
    assert not dify.asked("run")


@pytest.mark.parametrize("model", ["", None])
def test_no_model_is_refused(dify: MockDify, model: str | None) -> None:
    with pytest.raises(InvalidRequest, match="model parameter"):
        gateway(dify).create_chat_completion(chat(model=model), ANNA)


def test_an_unknown_model_is_refused_by_name(dify: MockDify) -> None:
    with pytest.raises(ModelNotFound, match="'gpt-9'"):
        gateway(dify).create_chat_completion(chat(model="gpt-9"), ANNA)

    assert dify.requests == []


@pytest.mark.parametrize("code", ["not_chat_app", "not_workflow_app", "not_completion_app"])
def test_a_wrong_mode_is_asked_again_on_the_next_use(dify: MockDify, code: str) -> None:
    here = gateway(dify)
    here.create_chat_completion(chat(), ANNA)
    dify.answers["run"] = lambda _: refusal(400, code)
    with pytest.raises(GatewayError) as caught:
        here.create_chat_completion(chat(), ANNA)
    assert caught.value.code == "upstream_app_error"
    dify.answers["run"] = lambda _: stream()
    dify.answers["info"] = lambda _: httpx.Response(200, json={"mode": "completion"})

    here.create_chat_completion(chat(), ANNA)

    assert len(dify.asked("info")) == 2
    assert dify.asked("run")[-1].url.path == "/v1/completion-messages"


def test_a_wrong_mode_of_a_stream_is_asked_again_too(dify: MockDify) -> None:
    here = gateway(dify)
    dify.answers["run"] = lambda _: refusal(400, "not_chat_app")
    with pytest.raises(GatewayError):
        next(here.stream_chat_completion(chat(stream=True), ANNA).frames())

    here.get_model("bot", ANNA.caller)
    with pytest.raises(GatewayError):
        next(here.stream_chat_completion(chat(stream=True), ANNA).frames())

    assert len(dify.asked("info")) == 2


def test_models_and_aliases_are_listed_in_table_order_without_asking_anybody(dify: MockDify) -> None:
    table: dict[str, object] = {
        "zoo": {"api_key": "app-zoo", "aliases": ["gpt-4o", "animals"]},
        "bot": "app-bot",
    }
    here = gateway(dify, make_settings(table))

    assert [model["id"] for model in here.list_models(ANNA.caller)] == ["zoo", "gpt-4o", "animals", "bot"]
    assert all(isinstance(model["created"], int) for model in here.list_models(ANNA.caller))
    assert here.list_models(ANNA.caller) == gateway(dify, make_settings(table)).list_models(ANNA.caller)
    assert dify.requests == []


def test_one_model_tells_what_is_known_of_its_app(dify: MockDify) -> None:
    here = gateway(dify)
    before = here.get_model("bot", ANNA.caller)
    here.create_chat_completion(chat(), ANNA)
    after = here.get_model("bot", ANNA.caller)

    assert "dify" not in before
    about = after["dify"]
    assert isinstance(about, dict)
    assert (about["mode"], about["name"]) == ("chat", "Mock")
    assert before["created"] == after["created"]


def test_an_alias_is_the_same_app_under_the_name_that_was_asked_for(dify: MockDify) -> None:
    here = gateway(dify, make_settings({"bot": {"api_key": "app-bot", "aliases": ["gpt-4o"]}}))

    answer = here.create_chat_completion(chat(model="gpt-4o"), ANNA)

    assert answer.body["model"] == "gpt-4o"
    assert here.get_model("gpt-4o", ANNA.caller)["id"] == "gpt-4o"


@pytest.mark.parametrize(
    "run", [lambda _: refusal(400, "invalid_param", "query is required"), lambda _: stream(message("Hel"))]
)
def test_a_whole_answer_that_fails_is_only_its_error(
    dify: MockDify, run: Callable[[httpx.Request], httpx.Response]
) -> None:
    dify.answers["run"] = run

    with pytest.raises(GatewayError):
        gateway(dify).create_chat_completion(chat(), ANNA)


def test_closing_twice_is_no_fault(dify: MockDify) -> None:
    here = gateway(dify)
    here.create_chat_completion(chat(), ANNA)

    here.close()
    here.close()


def test_a_model_whose_app_is_full_is_stood_in_for(dify: MockDify) -> None:
    table: dict[str, object] = {
        "bot": {"api_key": "app-bot", "max_concurrency": 1, "fallbacks": ["spare"]},
        "spare": "app-spare",
    }
    here = gateway(dify, make_settings(table, QUEUE_SECONDS="0"))
    first = here.stream_chat_completion(chat(stream=True), ANNA).frames()
    next(first)

    second = here.create_chat_completion(chat(), ANNA)
    first.close()

    assert second.started.answered_by == "spare"
    assert second.body["model"] == "bot"


def test_a_chat_goes_on_when_the_client_sends_the_link_of_a_file_back(dify: MockDify) -> None:
    made_file = event("message_file", type="image", url="/files/tools/a.png?s=1")
    dify.answers["run"] = lambda _: stream(message("See:") + made_file + END)
    made = gateway(dify)
    answer = made.create_chat_completion(chat(), ANNA).body["choices"]
    assert isinstance(answer, list)
    text = answer[0]["message"]["content"]
    assert text == "See:\n\n![a.png](http://dify.test/files/tools/a.png?s=1)\n\n"

    for sent_back in (text, text.strip()):
        turns = [
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": sent_back},
            {"role": "user", "content": "Again"},
        ]
        made.create_chat_completion(chat(messages=turns), ANNA)
    queries = [(body["query"], body.get("conversation_id")) for body in dify.bodies("run")]
    assert queries[:2] == [("Hi", None), ("Again", "conversation-1")]
