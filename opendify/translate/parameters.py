"""Which request parameters are honoured, ignored or refused: one table an endpoint.

`docs/api.md` shows these tables. What is in none of them is accepted and ignored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from opendify.errors import InvalidRequest
from opendify.wire.openai_chat import AnswerRequest

Treatment = Literal["honoured", "ignored", "refused in part"]
Refusal = Callable[[object], str | None]
"""Why a value cannot be served, or None."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row; `refusal` is there only where the treatment is `refused in part`."""

    name: str
    treatment: Treatment
    note: str
    refusal: Refusal | None = None


def refusals_of(parameters: tuple[Parameter, ...]) -> Mapping[str, Refusal]:
    """By name, those of a table that there are."""
    return {each.name: each.refusal for each in parameters if each.refusal}


def refuse_unsupported(refusals: Mapping[str, Refusal], request: AnswerRequest) -> None:
    """Check the values that would change the meaning of an answer.

    Raises:
        InvalidRequest: With the parameter's name as `param` and `unsupported_value`.
    """
    if refusals.keys().isdisjoint(request.model_fields_set):
        return
    for name, refuse in refusals.items():
        value = getattr(request, name, None)
        reason = None if value is None else refuse(value)
        if reason:
            raise InvalidRequest(reason, param=name, code="unsupported_value")


def _audio(value: object) -> str | None:
    if isinstance(value, list) and "audio" in value:
        return "'modalities' must be [\"text\"] with this model: audio output is not supported."
    return None


def _json_format(value: object) -> str | None:
    kind = value.get("type", "text") if isinstance(value, dict) else "text"
    if kind == "text":
        return None
    return f"'response_format' {kind!r} is not supported: a Dify app decides the form of its answer itself."


def forced(name: str) -> Refusal:
    """Refuses to have a tool called for certain."""

    def refuse(value: object) -> str | None:
        is_flat = isinstance(value, dict) and value.get("type") == "allowed_tools" and "mode" in value
        allowed = (value if is_flat else value.get("allowed_tools")) if isinstance(value, dict) else None
        mode = allowed.get("mode") if isinstance(allowed, dict) else value
        if mode in ("auto", "none"):
            return None
        return f"'{name}' must be 'auto' or 'none' with this model: a Dify app cannot call a client's tools."

    return refuse


def _several(name: str) -> Refusal:
    def refuse(value: object) -> str | None:
        if isinstance(value, int) and value > 1:
            return f"'{name}' must be 1 with this model: a Dify app gives one answer a run."
        return None

    return refuse


DECIDED_BY_APP = "checked for its range, then ignored: a Dify app fixes its model's parameters itself"
EXTENSIONS = (
    Parameter("inputs", "honoured", "extension: values of the app's own variables"),
    Parameter("conversation_id", "honoured", "extension: one of Dify's, else the client's name for the chat"),
    Parameter("chat_id", "honoured", "extension: the client's name for the chat"),
    Parameter("session_id", "honoured", "extension: as `chat_id`"),
)

_SHARED = (
    Parameter("model", "honoured", "selects the Dify app"),
    Parameter("stream", "honoured", "must be a boolean"),
    Parameter(
        "stream_options", "honoured", "`include_usage`; `include_obfuscation` is accepted, nothing is padded"
    ),
    Parameter("stop", "honoured", "up to 4 sequences; the answer is cut here and the run is stopped"),
    Parameter("user", "honoured", "becomes Dify's `user`; a string, or an object with `id`"),
    *EXTENSIONS,
    Parameter("metadata", "honoured", "may hold one of the three above; never handed to the app"),
    Parameter("prompt_cache_key", "honoured", "names the chat where Codex sends it; else accepted"),
    Parameter("temperature", "ignored", DECIDED_BY_APP),
    Parameter("top_p", "ignored", DECIDED_BY_APP),
    Parameter("presence_penalty", "ignored", DECIDED_BY_APP),
    Parameter("frequency_penalty", "ignored", DECIDED_BY_APP),
    Parameter("max_tokens", "ignored", DECIDED_BY_APP),
    Parameter("seed", "ignored", DECIDED_BY_APP),
    Parameter("logit_bias", "ignored", "accepted"),
    Parameter("logprobs", "ignored", "answers carry `logprobs: null`"),
)

CHAT_COMPLETION_PARAMETERS = (
    *_SHARED,
    Parameter(
        "messages",
        "honoured",
        "text, images, files and audio; `input` and `instructions` of a Responses-shaped body as well",
    ),
    Parameter("safety_identifier", "honoured", "becomes Dify's `user` where `user` is absent"),
    Parameter("n", "refused in part", "only 1", _several("n")),
    Parameter("modalities", "refused in part", 'only `["text"]`', _audio),
    Parameter(
        "response_format", "refused in part", "only `text`; JSON formats are refused by name", _json_format
    ),
    Parameter("tool_choice", "refused in part", "only `auto` and `none`", forced("tool_choice")),
    Parameter("function_call", "refused in part", "only `auto` and `none`", forced("function_call")),
    Parameter(
        "tools", "ignored", "accepted, since many clients always send them; a Dify app uses its own tools"
    ),
    Parameter("functions", "ignored", "as `tools`"),
    Parameter("parallel_tool_calls", "ignored", "accepted"),
    Parameter("max_completion_tokens", "ignored", DECIDED_BY_APP),
    Parameter("reasoning_effort", "ignored", "accepted"),
    Parameter("top_logprobs", "ignored", "answers carry `logprobs: null`"),
    Parameter("audio", "ignored", "accepted as long as `modalities` does not ask for audio"),
    Parameter("store", "ignored", "accepted; nothing is stored"),
    Parameter("service_tier", "ignored", "accepted"),
    Parameter("verbosity", "ignored", "accepted"),
    Parameter("prediction", "ignored", "accepted"),
    Parameter("web_search_options", "ignored", "accepted"),
)

COMPLETION_PARAMETERS = (
    *_SHARED,
    Parameter("prompt", "honoured", "one string, alone or in a list; token lists are refused"),
    Parameter("n", "refused in part", "only 1", _several("n")),
    Parameter("best_of", "refused in part", "only 1", _several("best_of")),
    Parameter("echo", "honoured", "the prompt stands in front of the answer"),
    Parameter("suffix", "ignored", "accepted"),
)

CHAT_COMPLETION_REFUSALS = refusals_of(CHAT_COMPLETION_PARAMETERS)
COMPLETION_REFUSALS = refusals_of(COMPLETION_PARAMETERS)
