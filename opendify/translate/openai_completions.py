"""Legacy completions: a prompt → a `Turn`; `ReplyEvent`s → text completion objects.

Source: https://platform.openai.com/docs/api-reference/completions
"""

from collections.abc import Sequence

from opendify.errors import InvalidRequest
from opendify.translate.parameters import COMPLETION_REFUSALS, refuse_unsupported
from opendify.translate.reply_writer import Shape, whole_object
from opendify.translate.turn import FinishReason, Reply, Turn
from opendify.wire.openai_completions import CompletionRequest


def read_prompt(request: CompletionRequest) -> Turn:
    """The prompt as `query`.

    Raises:
        InvalidRequest: No prompt, several, an empty one, token lists, or a parameter
            that cannot be served.
    """
    refuse_unsupported(COMPLETION_REFUSALS, request)
    prompt = request.prompt
    if isinstance(prompt, list):
        prompt = _only_prompt(prompt)
    if prompt is None:
        raise InvalidRequest(
            "Missing required parameter: 'prompt'.", param="prompt", code="missing_required_parameter"
        )
    if not prompt.strip():
        raise InvalidRequest("Invalid 'prompt': it is empty.", param="prompt", code="invalid_value")
    return Turn(query=prompt, inputs=request.inputs or {}, stop=tuple(filter(None, request.stop or ())))


def _only_prompt(prompts: list[str | int | list[int]]) -> str:
    match prompts:
        case [str(prompt)]:
            return prompt
        case []:
            raise InvalidRequest("Invalid 'prompt': empty array.", param="prompt", code="empty_array")
        case _:
            raise InvalidRequest(
                "'prompt' must be one string: a Dify app takes neither several prompts nor token ids.",
                param="prompt",
                code="unsupported_value",
            )


class CompletionChoice:
    """Choices of `text_completion`; `echo` stands in front of the answer."""

    object_name = "text_completion"

    def __init__(self, echo: str) -> None:
        self._echo = echo

    def opening(self) -> Shape:
        """The echoed prompt, or no text."""
        return self.text(self._echo)

    def text(self, text: str) -> Shape:
        """More of the answer."""
        return {"index": 0, "text": text, "logprobs": None, "finish_reason": None}

    def thought(self, text: str) -> None:  # noqa: ARG002 - The endpoint has no place for thinking.
        """Left out."""
        return

    def finish(self, reason: FinishReason, annotations: Sequence[Shape]) -> Shape:  # noqa: ARG002 - No place either.
        """The last choice, without text."""
        return {"index": 0, "text": "", "logprobs": None, "finish_reason": reason}


def text_completion(
    reply: Reply, *, completion_id: str, created: int, model: str, echo: str
) -> dict[str, object]:
    """The whole answer, behind the echoed prompt if that was asked for."""
    head = {"id": completion_id, "object": "text_completion", "created": created, "model": model}
    choice = {"index": 0, "text": echo + reply.text, "logprobs": None, "finish_reason": "stop"}
    return whole_object(head, choice, reply)
