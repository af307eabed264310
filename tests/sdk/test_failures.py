"""What the official `openai` package makes of OpenDify's failures, and how often it asks again."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import openai
import pydantic
import pytest
from openai.types.chat import ChatCompletionMessageParam

from tests.fakes.waiting import wait_until
from tests.sdk.stand import API_KEY, UNREACHABLE, Stand

CHAT = "POST /v1/chat/completions"


def asked(text: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def impatient(stand: Stand) -> Iterator[openai.OpenAI]:
    """The SDK with its own retries, waiting a millisecond where the service advises seconds."""

    def hurry(response: object) -> None:
        headers = getattr(response, "headers", {})
        if "retry-after" in headers:
            headers["retry-after-ms"] = "1"

    http_client = openai.DefaultHttpxClient(event_hooks={"response": [hurry]})
    with openai.OpenAI(base_url=stand.base_url, api_key=API_KEY, http_client=http_client) as made:
        yield made


@pytest.fixture(params=[False, True], ids=["whole", "streamed"])
def ask(request: pytest.FixtureRequest, impatient: openai.OpenAI) -> Callable[[str, str], object]:
    """Ask a model something, and read the answer to its end."""

    def ask_whole(model: str, text: str) -> object:
        return impatient.chat.completions.create(model=model, messages=asked(text))

    def ask_streamed(model: str, text: str) -> object:
        return list(impatient.chat.completions.create(model=model, messages=asked(text), stream=True))

    return ask_streamed if request.param else ask_whole


def test_a_wrong_key_is_an_authentication_error_that_does_not_repeat_it(stand: Stand) -> None:
    key = "sk-a-wrong-key-with-a-secret-part"
    with (
        openai.OpenAI(base_url=stand.base_url, api_key=key) as client,
        pytest.raises(openai.AuthenticationError) as caught,
    ):
        client.models.list()

    assert caught.value.code == "invalid_api_key"
    assert "Incorrect API key provided" in caught.value.message
    assert key not in caught.value.message


def test_an_unknown_model_is_not_found_and_named(ask: Callable[[str, str], object]) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        ask("gpt-4o", "Hi")

    assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
    assert "'gpt-4o' does not exist" in caught.value.message
    assert caught.value.request_id
    assert caught.value.request_id.startswith("req_")


def test_a_value_out_of_range_is_a_bad_request_that_names_it(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="demo-chat", messages=asked("Hi"), temperature=3, stream=True)

    assert (caught.value.param, caught.value.code) == ("temperature", "decimal_above_max_value")
    assert "decimal above maximum value" in caught.value.message
    assert caught.value.type == "invalid_request_error"


def test_a_wish_for_structured_output_is_refused_by_name(client: openai.OpenAI) -> None:
    class Weather(pydantic.BaseModel):
        degrees: int

    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.parse(model="demo-chat", messages=asked("Hi"), response_format=Weather)

    assert (caught.value.param, caught.value.code) == ("response_format", "unsupported_value")


def test_a_forced_tool_is_refused_by_name(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(
            model="demo-chat",
            messages=asked("Hi"),
            tools=[{"type": "function", "function": {"name": "f"}}],
            tool_choice={"type": "function", "function": {"name": "f"}},
        )

    assert caught.value.param == "tool_choice"


@pytest.mark.parametrize(
    ("steering", "status", "code"),
    [
        pytest.param("FAIL500", 502, "upstream_run_failed", id="the model fails inside Dify"),
        pytest.param("STATUS:500", 502, "upstream_error", id="Dify fails"),
        pytest.param("STATUS:401", 502, "upstream_auth_error", id="Dify refuses our key"),
        pytest.param("STATUS:503", 502, "upstream_error", id="a proxy before Dify fails"),
        pytest.param("HTML", 502, "upstream_error", id="a page in place of a stream"),
        pytest.param("EOF:0", 502, "upstream_error", id="a stream without anything"),
    ],
)
def test_a_run_that_failed_is_never_repeated(
    ask: Callable[[str, str], object], stand: Stand, steering: str, status: int, code: str
) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        ask("demo-chat", f"{steering} please")

    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert caught.value.response.headers["x-should-retry"] == "false"
    assert stand.dify.count("requests") == 1
    assert stand.seen == [CHAT]


def test_a_dify_that_cannot_be_reached_is_tried_again_by_the_sdk(
    ask: Callable[[str, str], object], stand: Stand
) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        ask(UNREACHABLE, "Hi")

    assert (caught.value.status_code, caught.value.code) == (503, "upstream_unreachable")
    assert 1 <= int(caught.value.response.headers["Retry-After"]) <= 60
    assert stand.seen == [CHAT] * 3


def test_too_many_requests_at_dify_are_a_rate_limit_and_tried_again(
    ask: Callable[[str, str], object], stand: Stand
) -> None:
    with pytest.raises(openai.RateLimitError) as caught:
        ask("demo-chat", "STATUS:429 please")

    assert caught.value.code == "rate_limit_exceeded"
    assert 1 <= int(caught.value.response.headers["Retry-After"]) <= 60
    assert stand.dify.count("requests") == 3


@pytest.mark.parametrize("steering", ["ERRMID", "FAILMID", "DROP:4", "EOF:4"])
def test_a_failure_in_the_middle_of_a_stream_raises_after_what_was_said(
    impatient: openai.OpenAI, stand: Stand, steering: str
) -> None:
    stream = impatient.chat.completions.create(
        model="demo-chat", messages=asked(f"{steering} please"), stream=True
    )

    said: list[str] = []

    def read_to_the_end() -> None:
        said.extend(chunk.choices[0].delta.content or "" for chunk in stream)

    with pytest.raises(openai.APIError) as caught:
        read_to_the_end()

    assert "".join(said).startswith("ECHO prior=0")
    assert caught.value.code in {"upstream_run_failed", "upstream_error"}
    assert caught.value.message
    assert stand.dify.count("requests") == 1


def test_a_stream_that_is_left_is_stopped_at_dify(client: openai.OpenAI, stand: Stand) -> None:
    stream = client.chat.completions.create(
        model="demo-chat", messages=asked("LONG:50 GAP:5 please"), stream=True
    )
    next(iter(stream))

    stream.close()

    assert wait_until(lambda: stand.dify.count("stops") == 1)


def test_a_cancelled_task_is_stopped_at_dify(stand: Stand) -> None:
    async def ask(has_begun: asyncio.Event) -> None:
        async with openai.AsyncOpenAI(base_url=stand.base_url, api_key=API_KEY) as client:
            stream = await client.chat.completions.create(
                model="demo-chat", messages=asked("LONG:50 GAP:5 please"), stream=True
            )
            async for _ in stream:
                has_begun.set()

    async def ask_and_cancel() -> None:
        has_begun = asyncio.Event()
        task = asyncio.create_task(ask(has_begun))
        await has_begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(ask_and_cancel())

    assert wait_until(lambda: stand.dify.count("stops") == 1)


def test_those_who_leave_do_not_disturb_those_who_stay(stand: Stand) -> None:
    client = openai.OpenAI(base_url=stand.base_url, api_key=API_KEY, max_retries=0)

    def leave(_: int) -> str:
        stream = client.chat.completions.create(
            model="demo-chat", messages=asked("LONG:30 GAP:0.1 please"), stream=True
        )
        with stream:
            return next(iter(stream)).choices[0].delta.role or ""

    def stay(_: int) -> str:
        completion = client.chat.completions.create(model="demo-chat", messages=asked("Hello"))
        return completion.choices[0].finish_reason

    with client, ThreadPoolExecutor(2) as leaving, ThreadPoolExecutor(2) as staying:
        left, stayed = leaving.map(leave, range(30)), staying.map(stay, range(100))

        assert set(left) == {"assistant"}
        assert set(stayed) == {"stop"}
