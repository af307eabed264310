"""`/chat/completions`, answered whole."""

import time
from typing import Any, Final

from tests.conformance.judge import Judge, Shape

_SECONDS_A_DAY: Final = 86_400
_FUNCTION: Final = {
    "type": "function",
    "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}},
}

ACCEPTED: Final[dict[str, Shape]] = {
    "the usual optional parameters": {
        "temperature": 0.5,
        "top_p": 1,
        "max_tokens": 64,
        "presence_penalty": 0,
        "frequency_penalty": 0,
        "n": 1,
        "stop": None,
        "seed": 1,
        "stream": False,
        "logit_bias": {},
        "response_format": {"type": "text"},
    },
    "the newer optional parameters": {
        "max_completion_tokens": 64,
        "metadata": {"k": "v"},
        "store": False,
        "service_tier": "auto",
        "reasoning_effort": "low",
        "verbosity": "low",
        "prompt_cache_key": "k",
        "safety_identifier": "s",
        "parallel_tool_calls": True,
        "modalities": ["text"],
    },
    "unknown parameters": {
        "top_k": 5,
        "repetition_penalty": 1.0,
        "enable_thinking": False,
        "chat_template_kwargs": {"x": 1},
        "keep_alive": "5m",
    },
    "explicit nulls": {
        "temperature": None,
        "max_tokens": None,
        "stream": None,
        "tools": None,
        "response_format": None,
    },
    "stream_options without a stream": {"stream_options": {"include_usage": True}},
    "tools that it may ignore": {"tools": [_FUNCTION], "tool_choice": "auto"},
    "max_tokens 5, which Dify's credential check sends": {"max_tokens": 5},
    "max_tokens 0, which OpenAI's own SDK tests send": {"max_tokens": 0},
}


def check_chat(judge: Judge) -> None:
    """A plain answer in every detail, then what requests may also hold."""
    response = judge.chat()
    body = judge.read_json("chat", response)
    if body is None:
        return
    judge.check("chat: x-request-id", response.headers.get("x-request-id"), level="WARN")
    _check_completion(judge, body)
    for name, parameters in {**_messages(judge.target.prompt), **ACCEPTED}.items():
        accepted = judge.read_json(f"chat with {name}", judge.chat(**parameters))
        judge.check_schema(f"chat with {name}", "CreateChatCompletionResponse", accepted)


def _messages(prompt: str) -> dict[str, Shape]:
    user = {"role": "user", "content": prompt}
    system = {"role": "system", "content": "Be brief."}
    history = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    call = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    asked = {"role": "assistant", "content": None, "tool_calls": [call]}
    return {
        "a system message and history": {"messages": [system, *history, user]},
        "a developer message": {"messages": [system | {"role": "developer"}, user]},
        "text as a list of parts": {"messages": [user | {"content": [{"type": "text", "text": prompt}]}]},
        "an assistant message last": {"messages": [user, history[1]]},
        "a tool message last": {
            "messages": [user, asked, {"role": "tool", "tool_call_id": "call_1", "content": "42"}]
        },
        "extra keys on messages": {
            "messages": [
                *history[:1],
                history[1] | {"reasoning_content": "Hm", "id": "m", "annotations": []},
                user,
            ]
        },
        "non-ASCII text": {
            "messages": [{"role": "user", "content": 'héllo 你好 🎉 \u2028 \\ " \n\t'}],
        },
    }


def _check_completion(judge: Judge, body: Shape) -> None:
    judge.check_schema("chat", "CreateChatCompletionResponse", body)
    choices = body.get("choices") or [{}]
    choice, message = choices[0], choices[0].get("message") or {}
    usual = (len(choices), choice.get("index"), message.get("role")) == (1, 0, "assistant")
    judge.check("chat: one choice with index 0 and role assistant", usual, choices)
    content = message.get("content")
    judge.check("chat: the content is text", isinstance(content, str) and content.strip(), message)
    judge.check(
        "chat: finish_reason is stop or length", choice.get("finish_reason") in ("stop", "length"), choice
    )
    judge.check(
        "chat: the id begins chatcmpl-", str(body.get("id")).startswith("chatcmpl-"), body.get("id"), "WARN"
    )
    created: Any = body.get("created")
    if judge.check("chat: created is a whole number", isinstance(created, int), created):
        judge.check("chat: created is now", abs(created - time.time()) < _SECONDS_A_DAY, created, "WARN")
    judge.check(
        "chat: the model asked for", body.get("model") == judge.target.model, body.get("model"), "WARN"
    )
    judge.check(
        "chat: no null system_fingerprint", body.get("system_fingerprint", "") is not None, level="WARN"
    )
    check_usage(judge, "chat", body.get("usage"))


def check_usage(judge: Judge, title: str, usage: object) -> None:
    """Whole numbers that add up; none at all is only unusual."""
    if judge.check(f"{title}: has usage", isinstance(usage, dict), usage, "WARN"):
        assert isinstance(usage, dict)
        parts: list[Any] = [
            usage.get(name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")
        ]
        whole = all(isinstance(part, int) for part in parts)
        judge.check(f"{title}: the token counts add up", whole and parts[0] + parts[1] == parts[2], usage)
