"""`POST /v1/completions`: what clients send.

Source: https://platform.openai.com/docs/api-reference/completions/create
"""

from pydantic import StrictBool

from opendify.wire.openai_chat import SamplingParameters


class CompletionRequest(SamplingParameters):
    """The body; `prompt` may also be token lists, which no Dify app can take."""

    prompt: str | list[str | int | list[int]] | None = None
    echo: StrictBool | None = None
    best_of: int | None = None
    logprobs: int | None = None
    suffix: str | None = None
