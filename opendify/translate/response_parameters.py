"""Which parameters of `/v1/responses` are honoured, ignored or refused; see `parameters`."""

from typing import Final

from opendify.errors import InvalidRequest
from opendify.translate.parameters import (
    DECIDED_BY_APP,
    EXTENSIONS,
    Parameter,
    forced,
    refusals_of,
    refuse_unsupported,
)
from opendify.wire.openai_responses import ResponsesRequest, ResponseTextConfig


def _background(value: object) -> str | None:
    if value:
        return "'background' must be false: an answer is worked on only while somebody waits for it."
    return None


def _template(value: object) -> str | None:  # noqa: ARG001 - Any template is unknown.
    return "'prompt' templates are not known here: an app has its own; send its variables as 'inputs'."


def _json_text(value: object) -> str | None:
    shape = value.format if isinstance(value, ResponseTextConfig) else None
    kind = (shape or {}).get("type", "text")
    if kind == "text":
        return None
    return f"'text.format' {kind!r} is not supported: a Dify app decides the form of its answer itself."


RESPONSE_PARAMETERS: Final = (
    Parameter("model", "honoured", "selects the Dify app"),
    Parameter("input", "honoured", "a text, or items: messages with text, images, files and audio"),
    Parameter("instructions", "honoured", "a system text; those of an earlier response are not taken over"),
    Parameter("previous_response_id", "honoured", "goes on where that response ended, or branches there"),
    Parameter("conversation", "honoured", "one of Dify's conversations, else the client's name for the chat"),
    Parameter("stream", "honoured", "must be a boolean"),
    Parameter(
        "store",
        "honoured",
        "`true` if absent; else nothing finds the response by its id",
    ),
    Parameter("user", "honoured", "becomes Dify's `user`; a string, or an object with `id`"),
    Parameter("safety_identifier", "honoured", "becomes Dify's `user` where `user` is absent"),
    Parameter("prompt_cache_key", "honoured", "names the chat where Codex sends it; else accepted"),
    Parameter(
        "metadata",
        "honoured",
        "given back; may name the chat; never handed to the app",
    ),
    Parameter("stop", "honoured", "extension: up to 4 sequences; the answer is cut here"),
    *EXTENSIONS,
    Parameter("background", "refused in part", "only `false`", _background),
    Parameter("prompt", "refused in part", "templates are refused by name", _template),
    Parameter("text", "refused in part", "`format` only `text`; JSON is refused by name", _json_text),
    Parameter("tool_choice", "refused in part", "only `auto` and `none`", forced("tool_choice")),
    Parameter("tools", "ignored", "accepted, since many clients send them; an app uses its own"),
    Parameter("parallel_tool_calls", "ignored", "accepted"),
    Parameter("max_tool_calls", "ignored", "given back"),
    Parameter("include", "ignored", "accepted; there is nothing more to include"),
    Parameter("reasoning", "ignored", "given back; thoughts are sent where the app tells them"),
    Parameter("truncation", "ignored", "given back; must be `auto` or `disabled`"),
    Parameter("temperature", "ignored", DECIDED_BY_APP),
    Parameter("top_p", "ignored", DECIDED_BY_APP),
    Parameter("max_output_tokens", "ignored", DECIDED_BY_APP),
    Parameter("top_logprobs", "ignored", "answers carry `logprobs: []`"),
    Parameter("stream_options", "ignored", "`include_obfuscation` is accepted, nothing is padded"),
    Parameter("service_tier", "ignored", "accepted"),
    Parameter("context_management", "ignored", "accepted"),
)

_REFUSALS: Final = refusals_of(RESPONSE_PARAMETERS)


def refuse_unsupported_in_response(request: ResponsesRequest) -> None:
    """See `refuse_unsupported`.

    Raises:
        InvalidRequest: Also where two parameters name different things to go on with.
    """
    refuse_unsupported(_REFUSALS, request)
    if request.conversation and request.previous_response_id:
        raise InvalidRequest(
            "'conversation' and 'previous_response_id' exclude each other: each names what to go on with.",
            param="previous_response_id",
            code="mutually_exclusive_parameters",
        )
