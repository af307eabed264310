"""What is wrong is refused with the right status, in OpenAI's form."""

from typing import Final

from tests.conformance.check_models import UNKNOWN_MODEL
from tests.conformance.judge import INVALID_REQUEST_CODES, Judge, Shape

_UNPARSABLE: Final = {"text that is not JSON": b"{not json", "a JSON array": b"[]", "an empty body": b""}
_INVALID: Final[dict[str, tuple[Shape, str | None]]] = {
    "no model": ({"model": ...}, None),
    "no messages": ({"messages": ...}, "messages"),
    "no message in messages": ({"messages": []}, "messages"),
    "messages as a string": ({"messages": "hi"}, "messages"),
    "a message that is no object": ({"messages": ["hi"]}, "messages[0]"),
    "a message without role": ({"messages": [{"content": "hi"}]}, "messages[0].role"),
    "an unknown role": ({"messages": [{"role": "robot", "content": "hi"}]}, "messages[0].role"),
    "content as a number": ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    "an unknown content part": (
        {"messages": [{"role": "user", "content": [{"type": "hologram"}]}]},
        "messages[0].content[0].type",
    ),
    "a text part without text": (
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        "messages[0].content[0].text",
    ),
    "an image part without URL": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
        "messages[0].content[0].image_url.url",
    ),
    "a temperature of 3": ({"temperature": 3}, "temperature"),
    "a temperature as a word": ({"temperature": "hot"}, "temperature"),
    "stream as a word": ({"stream": "yes"}, "stream"),
    "n of 0": ({"n": 0}, "n"),
    "no message in messages, streamed": ({"messages": [], "stream": True}, "messages"),
    "audio among the modalities": ({"modalities": ["text", "audio"]}, "modalities"),
    "a forced tool": ({"tool_choice": "required"}, "tool_choice"),
    "a named tool": (
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        "tool_choice",
    ),
}


def check_errors(judge: Judge) -> None:
    """Bodies, models, URLs, methods and keys that are wrong."""
    for name, content in _UNPARSABLE.items():
        response = judge.ask("POST", "/chat/completions", content=content)
        judge.check_error(f"chat with {name}", response, [400])
    for name, (parameters, param) in _INVALID.items():
        response = judge.chat(**parameters)
        judge.check_error(f"chat with {name}", response, [400], INVALID_REQUEST_CODES, param)
    _check_several_choices(judge)
    _check_unknown_model(judge)
    judge.check_error("an unknown URL", judge.ask("GET", "/no/such/path"), [404])
    judge.check_error("GET /chat/completions", judge.ask("GET", "/chat/completions"), [404, 405])
    if judge.target.bad_key:
        _check_keys(judge, judge.target.bad_key)


def _check_several_choices(judge: Judge) -> None:
    response = judge.chat(n=2)
    if response.status_code == 200:
        choices = response.json().get("choices", [])
        judge.check("chat with n of 2: two choices, or status 400", len(choices) == 2, choices)
    else:
        judge.check_error("chat with n of 2", response, [400], param="n")


def _check_unknown_model(judge: Judge) -> None:
    for stream in (False, True):
        title = f"chat with an unknown model, {'streamed' if stream else 'whole'}"
        response = judge.chat(model=UNKNOWN_MODEL, stream=stream)
        error = judge.check_error(title, response, [404], ["model_not_found"])
        judge.check(
            f"{title}: the message names it", UNKNOWN_MODEL in str(error.get("message")), error, "WARN"
        )


def _check_keys(judge: Judge, bad_key: str) -> None:
    codes = ["invalid_api_key", None]
    refused = judge.ask("POST", "/chat/completions", body=judge.chat_body(), key=bad_key)
    error = judge.check_error("a wrong key", refused, [401], codes)
    judge.check("a wrong key: not repeated whole", bad_key not in str(error.get("message")), error, "WARN")
    for name, headers in {
        "no key": {},
        "an Authorization without Bearer": {"Authorization": bad_key},
        "a Bearer without key": {"Authorization": "Bearer"},
    }.items():
        response = judge.ask("POST", "/chat/completions", body=judge.chat_body(), headers=headers, key="")
        judge.check_error(name, response, [401], codes)
    judge.check_error("GET /models with a wrong key", judge.ask("GET", "/models", key=bad_key), [401], codes)
    for header in ("api-key", "x-api-key"):
        accepted = judge.ask("GET", "/models", headers={header: judge.target.api_key or ""}, key="")
        judge.check(f"the key in `{header}`", accepted.status_code == 200, accepted.text, "WARN")
