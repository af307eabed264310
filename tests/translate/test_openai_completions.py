import pytest

from opendify.errors import InvalidRequest
from opendify.translate.openai_completions import read_prompt, text_completion
from opendify.translate.turn import CompletionUsage, Reply, ReplyEnded, ReplyStarted, Turn
from opendify.wire.openai_completions import CompletionRequest


@pytest.mark.parametrize("prompt", ["Once", ["Once"]], ids=["a string", "one string in a list"])
def test_the_prompt_is_the_query(prompt: str | list[str | int | list[int]]) -> None:
    request = CompletionRequest(prompt=prompt, inputs={"lang": "de"}, stop=["", "\n"])

    assert read_prompt(request) == Turn(query="Once", inputs={"lang": "de"}, stop=("\n",))


@pytest.mark.parametrize(
    ("request_", "param", "code"),
    [
        pytest.param(CompletionRequest(), "prompt", "missing_required_parameter", id="none"),
        pytest.param(CompletionRequest(prompt=" \n"), "prompt", "invalid_value", id="blank"),
        pytest.param(CompletionRequest(prompt=[""]), "prompt", "invalid_value", id="blank in a list"),
        pytest.param(CompletionRequest(prompt=[]), "prompt", "empty_array", id="an empty list"),
        pytest.param(CompletionRequest(prompt=["a", "b"]), "prompt", "unsupported_value", id="several"),
        pytest.param(CompletionRequest(prompt=[1, 2]), "prompt", "unsupported_value", id="tokens"),
        pytest.param(CompletionRequest(prompt=[1]), "prompt", "unsupported_value", id="one token"),
        pytest.param(CompletionRequest(prompt=[[1, 2]]), "prompt", "unsupported_value", id="a token list"),
        pytest.param(CompletionRequest(prompt="x", n=2), "n", "unsupported_value", id="n"),
        pytest.param(CompletionRequest(prompt="x", best_of=3), "best_of", "unsupported_value", id="best_of"),
    ],
)
def test_a_prompt_that_no_app_can_take_is_refused_by_name(
    request_: CompletionRequest, param: str, code: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_prompt(request_)

    assert (caught.value.status, caught.value.param, caught.value.code) == (400, param, code)


def test_parameters_that_change_nothing_pass() -> None:
    request = CompletionRequest(prompt="Once", n=1, best_of=1, suffix="The end", logprobs=3, echo=True)

    assert read_prompt(request).query == "Once"


@pytest.mark.parametrize(
    ("echo", "text"), [("", "Hi"), ("Once ", "Once Hi")], ids=["without echo", "with the prompt in front"]
)
def test_a_whole_answer_has_every_required_key(echo: str, text: str) -> None:
    reply = Reply("Hi", "left out", ReplyStarted("tid"), ReplyEnded(CompletionUsage(10, 2)))

    assert text_completion(reply, completion_id="cmpl-1", created=1_770_000_000, model="m", echo=echo) == {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1_770_000_000,
        "model": "m",
        "choices": [{"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
        "dify": {"task_id": "tid"},
    }


def test_usage_that_dify_did_not_tell_is_left_out() -> None:
    reply = Reply("Hi", "", ReplyStarted(None), ReplyEnded())

    assert "usage" not in text_completion(reply, completion_id="c", created=1, model="m", echo="")
