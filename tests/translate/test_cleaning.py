import time

import pytest

from opendify.translate.cleaning import MAX_MESSAGE_CHARS, clean


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(
            '{"args": {"description": "x"}, "error_type": "E", "message": "[models] boom"}', id="spaced"
        ),
        pytest.param('{"args":{"description":"x"},"error_type":"E","message":"[models] boom"}', id="compact"),
        pytest.param(
            'req_id: 15d39b5791 PluginInvokeError: {"args": {}, "message": "[models] boom"}',
            id="with a request id",
        ),
        pytest.param(
            'PluginInvokeError: {"args":{},"error_type":"E","message":"[models] boom"}', id="with its class"
        ),
        pytest.param(
            "Run failed: req_id: 15d39b5791 PluginInvokeError: "
            '{"args": {}, "error_type": "E", "message": "[models] boom"}',
            id="in a failed chatflow",
        ),
        pytest.param(
            'Run failed: [xinference] Error: PluginInvokeError: {"args":{"description":"x"},'
            '"error_type":"E","message":"[models] boom"}',
            id="in a provider's error in a failed chatflow",
        ),
    ],
)
def test_a_plugins_failure_is_told_in_the_providers_words(message: str) -> None:
    cleaned = clean(message)

    assert cleaned.endswith("[models] boom")
    assert "args" not in cleaned


def test_a_plugins_words_are_read_as_the_json_text_that_they_are() -> None:
    failure = r'PluginInvokeError: {"args":{},"error_type":"E","message":"no \"gpt\"\nor \u6a21\u578b"}'

    assert clean(failure) == 'no "gpt" or 模型'


def test_a_stack_in_a_plugins_failure_is_not_shown() -> None:
    stack = r"Traceback (most recent call last):\n  File \"/app/x.py\", line 3, in run\nValueError: boom"

    assert clean(f'PluginInvokeError: {{"args":{{}},"message":"{stack}"}}') == "ValueError: boom"


@pytest.mark.parametrize(
    ("message", "secrets"),
    [
        pytest.param("see https://api.internal.example/v1?key=abc now", ["internal", "abc"], id="URL"),
        pytest.param("redis://:pw@cache:6379/0 refused", ["pw", "cache"], id="URL with a password"),
        pytest.param("Pool(host='llm.internal', port=443): refused", ["llm.internal"], id="host="),
        pytest.param("connect to 10.1.2.3:8080 failed", ["10.1.2.3"], id="IPv4"),
        pytest.param("connect to [fd00::12]:8080 failed", ["fd00::12"], id="IPv6"),
        pytest.param("connect to llm.internal.example:8080 failed", ["llm.internal"], id="host and port"),
        pytest.param("connect to plugin_daemon:5002 failed", ["plugin_daemon"], id="container and port"),
        pytest.param("Cannot connect to host ollama:11434 ssl:default", ["ollama"], id="aiohttp's host"),
        pytest.param(
            "Failed to resolve 'llm.corp.example' (Name unknown)", ["llm.corp"], id="resolver's host"
        ),
        pytest.param("Incorrect API key provided: sk-proj-abc123XYZ789.", ["abc123"], id="OpenAI's key"),
        pytest.param("Incorrect API key provided: sk-ab****************yz.", ["yz"], id="a masked key"),
        pytest.param("token app-Q7wErTy1UiOp2AsDfGh3JkLz", ["Q7wErTy1"], id="Dify's key"),
        pytest.param("Authorization: Bearer abcdefgh12345678", ["abcdefgh"], id="bearer token"),
        pytest.param("key AIzaSyD4x8kq1Zb2Yc3Xd4We5Vf6Ug7Th8Si9Rj refused", ["AIzaSy"], id="Google's key"),
        pytest.param("key gsk_A1b2C3d4E5f6G7h8I9j0K1l2 refused", ["A1b2C3"], id="Groq's key"),
        pytest.param("key hf_AbCdEfGhIjKlMnOpQrStUvWxYz refused", ["AbCdEf"], id="Hugging Face's key"),
        pytest.param(
            'Traceback (most recent call last):\n  File "/app/api/x.py", line 3, in run\nValueError: boom',
            ["Traceback", "/app/api"],
            id="stack",
        ),
        pytest.param(
            'Traceback (most recent call last):\n  File "/app/api/x.py", line 3, in run\n    go()',
            ["/app/api"],
            id="a stack that was cut",
        ),
        pytest.param(
            'boom\nTraceback (most recent call last):\n  File "/app/api/x.py", line 3\nValueError: bam',
            ["Traceback", "/app/api"],
            id="a stack after words",
        ),
    ],
)
def test_a_message_shows_no_url_host_key_or_stack(message: str, secrets: list[str]) -> None:
    cleaned = clean(message)

    for secret in secrets:
        assert secret not in cleaned


@pytest.mark.parametrize(
    "message",
    [
        "[openai] Error: the model `gpt-4o` is overloaded",
        "Node LLM-2 failed after 3.5 seconds at 12:30",
        "the app-specific setting of this key-exchange is wrong",
        "version 1.12.1 of the plugin is too old",
        "模型超时",
    ],
)
def test_ordinary_words_stay(message: str) -> None:
    assert clean(message) == message


@pytest.mark.parametrize(
    ("message", "cleaned"),
    [
        pytest.param("a\n\n  b\t c ", "a b c", id="white space"),
        pytest.param("", "no reason was given", id="empty"),
        pytest.param(" \n ", "no reason was given", id="blank"),
        pytest.param("ValueError: boom\n", "ValueError: boom", id="one line"),
    ],
)
def test_a_message_is_one_line(message: str, cleaned: str) -> None:
    assert clean(message) == cleaned


def test_a_message_has_a_bounded_length() -> None:
    assert clean("x" * 500) == "x" * 500
    assert len(clean("x" * 501)) == MAX_MESSAGE_CHARS == 500
    assert clean("x" * 501).endswith("x…")


@pytest.mark.parametrize(
    "unit",
    ["a-", "a.", "a+", "sk-", "x1.y2:80 ", "Error: ", "<b>", "A", " ", "\n", "[::", '{"args": {'],
    ids=repr,
)
def test_a_long_message_takes_little_time(unit: str) -> None:
    message = unit * (20_000 // len(unit))

    begun = time.process_time()
    cleaned = clean(message)

    assert len(cleaned) <= MAX_MESSAGE_CHARS
    # What looks again from every place takes many seconds for this.
    assert time.process_time() - begun < 1


def test_a_key_at_the_border_of_a_long_message_is_not_shown_in_part() -> None:
    for before in range(450, 520):
        assert "Q7wErTy1" not in clean(f"{'x ' * before} app-Q7wErTy1UiOp2AsDfGh3JkLz refused")
        assert "Q7wErTy1" not in clean(f"{'x' * before} app-Q7wErTy1UiOp2AsDfGh3JkLz refused")
