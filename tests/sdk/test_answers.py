"""What the official `openai` package gets from OpenDify when all goes well."""

import asyncio
import time

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.sdk.stand import API_KEY, ODD_NAMES, Stand

HELLO: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Hello there"}]
ANSWER = "ECHO prior=0 images=0 :: Hello there"
MODES = ["demo-chat", "demo-agent-chat", "demo-agent", "demo-chatflow", "demo-completion", "demo-workflow"]


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    models = {model.id: model for model in client.models.list()}

    assert set(MODES) | set(ODD_NAMES) <= models.keys()
    assert models["demo-chat"].object == "model"
    assert isinstance(models["demo-chat"].created, int)


@pytest.mark.parametrize("name", ["demo-chat", *ODD_NAMES])
def test_one_model_is_found_by_its_name_whatever_is_in_it(client: openai.OpenAI, name: str) -> None:
    assert client.models.retrieve(name).id == name


@pytest.mark.parametrize("model", [*MODES, *ODD_NAMES])
def test_a_whole_answer(client: openai.OpenAI, model: str) -> None:
    completion = client.chat.completions.create(model=model, messages=HELLO)

    [choice] = completion.choices
    assert "Hello there" in (choice.message.content or "")
    assert (choice.message.role, choice.finish_reason, choice.index) == ("assistant", "stop", 0)
    assert completion.id.startswith("chatcmpl-")
    assert completion.object == "chat.completion"
    assert completion.model == model
    assert abs(completion.created - time.time()) < 60
    assert completion._request_id
    assert completion._request_id.startswith("req_")


def test_the_token_counts_add_up(client: openai.OpenAI) -> None:
    usage = client.chat.completions.create(model="demo-chat", messages=HELLO).usage

    assert usage is not None
    assert usage.completion_tokens > 0
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens


@pytest.mark.parametrize("model", [*MODES, *ODD_NAMES])
def test_a_streamed_answer_is_the_whole_one_in_pieces(client: openai.OpenAI, model: str) -> None:
    whole = client.chat.completions.create(model=model, messages=HELLO)

    with client.chat.completions.create(model=model, messages=HELLO, stream=True) as stream:
        chunks = list(stream)

    assert (
        "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole.choices[0].message.content
    )
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [chunk.choices[0].finish_reason for chunk in chunks][-2:] == [None, "stop"]
    assert {(chunk.id, chunk.created, chunk.model) for chunk in chunks} == {
        (chunks[0].id, chunks[0].created, model)
    }
    assert not any(chunk.usage for chunk in chunks)


def test_usage_comes_last_when_asked_for(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model="demo-chat", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )

    *before, last = list(stream)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == last.usage.prompt_tokens + last.usage.completion_tokens
    assert not any(chunk.usage for chunk in before)


def test_the_stream_helper_puts_the_answer_together(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="demo-chat", messages=HELLO) as stream:
        kinds = {event.type for event in stream}
        completion = stream.get_final_completion()

    assert kinds == {"chunk", "content.delta", "content.done"}
    assert completion.choices[0].message.content == ANSWER
    assert completion.choices[0].finish_reason == "stop"


def test_the_asynchronous_client_streams(stand: Stand) -> None:
    async def ask() -> str:
        async with openai.AsyncOpenAI(base_url=stand.base_url, api_key=API_KEY) as client:
            stream = await client.chat.completions.create(model="demo-chat", messages=HELLO, stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    assert asyncio.run(ask()) == ANSWER


def test_answers_to_many_at_once_are_whole_and_unmixed(stand: Stand) -> None:
    async def ask(client: openai.AsyncOpenAI, question: str) -> str:
        stream = await client.chat.completions.create(
            model="demo-chat", messages=[{"role": "user", "content": question}], stream=True
        )
        return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

    async def ask_all() -> list[str]:
        async with openai.AsyncOpenAI(base_url=stand.base_url, api_key=API_KEY) as client:
            return await asyncio.gather(*(ask(client, f"question {number}") for number in range(50)))

    assert asyncio.run(ask_all()) == [f"ECHO prior=0 images=0 :: question {number}" for number in range(50)]


def test_azure_clients_are_served_under_their_own_paths(stand: Stand) -> None:
    with openai.AzureOpenAI(azure_endpoint=stand.origin, api_key=API_KEY, api_version="2024-10-21") as client:
        completion = client.chat.completions.create(model="demo-chat", messages=HELLO)
        stream = client.chat.completions.create(model=ODD_NAMES[0], messages=HELLO, stream=True)

        assert completion.choices[0].message.content == ANSWER
        assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == ANSWER
    assert stand.seen[0] == "POST /openai/deployments/demo-chat/chat/completions"


@pytest.mark.parametrize("model", ["demo-completion", "demo-chat"])
def test_legacy_completions_are_answered_and_streamed(client: openai.OpenAI, model: str) -> None:
    whole = client.completions.create(model=model, prompt="Say this", echo=True)
    chunks = list(client.completions.create(model=model, prompt="Say this", echo=True, stream=True))

    assert whole.choices[0].text.startswith("Say this")
    assert whole.choices[0].finish_reason == "stop"
    assert "".join(chunk.choices[0].text for chunk in chunks) == whole.choices[0].text
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_earlier_turns_reach_the_app(client: openai.OpenAI, stand: Stand) -> None:
    client.chat.completions.create(
        model="demo-chat",
        messages=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "My name is Ada"},
            {"role": "assistant", "content": "Hello Ada"},
            {"role": "user", "content": "Who am I?"},
        ],
    )

    query = stand.dify.last_run()["query"]
    assert isinstance(query, str)
    assert query.endswith("Who am I?")
    assert "My name is Ada" in query


def test_inputs_go_to_the_app(client: openai.OpenAI, stand: Stand) -> None:
    client.chat.completions.create(
        model="demo-chat", messages=HELLO, extra_body={"inputs": {"city": "Bern"}}, user="ada"
    )

    assert stand.dify.last_run()["inputs"] == {"city": "Bern"}


def test_text_of_any_script_survives_both_ways(client: openai.OpenAI, stand: Stand) -> None:
    text = 'héllo 你好 🎉👩‍👩‍👧 \u2028 "quoted" \\ back\tslash\nnext line'

    stream = client.chat.completions.create(
        model="demo-chat", messages=[{"role": "user", "content": text}], stream=True
    )

    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == ANSWER.replace(
        "Hello there", text
    )
    assert stand.dify.last_run()["query"] == text


def test_dify_s_ids_are_within_reach(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model="demo-chat", messages=HELLO)

    extension = raw.parse().to_dict()["dify"]
    assert isinstance(extension, dict)
    assert raw.headers["X-Dify-Conversation-Id"] == extension["conversation_id"]
