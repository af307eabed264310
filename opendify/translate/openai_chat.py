"""Chat completions: how a choice is written, streamed and whole.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from collections.abc import Sequence

from opendify.translate.dify_extension import url_annotations
from opendify.translate.reply_writer import Shape, whole_object
from opendify.translate.turn import FinishReason, Reply


class ChatChoice:
    """Choices of `chat.completion.chunk`."""

    object_name = "chat.completion.chunk"

    def opening(self) -> Shape:
        """The role chunk; node's `.stream()` helper crashes without it."""
        return self._choice({"role": "assistant", "content": "", "refusal": None})

    def text(self, text: str) -> Shape:
        """A content delta."""
        return self._choice({"content": text})

    def thought(self, text: str) -> Shape:
        """A `reasoning_content` delta: DeepSeek's name, which most clients read."""
        return self._choice({"reasoning_content": text})

    def finish(self, reason: FinishReason, annotations: Sequence[Shape]) -> Shape:
        """The finish chunk; its delta holds annotations or nothing, as OpenAI's.

        Open WebUI, the AI SDK and OpenAI's SDKs read annotations from any delta, LobeChat from this one.

        Source: https://github.com/lobehub/lobe-chat, `model-runtime`, `streams/openai/openai.ts`
        """
        return self._choice({"annotations": annotations} if annotations else {}, reason)

    def _choice(self, delta: Shape, finish_reason: FinishReason | None = None) -> Shape:
        return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def chat_completion(reply: Reply, *, completion_id: str, created: int, model: str) -> dict[str, object]:
    """The whole answer."""
    message: dict[str, object] = {"role": "assistant", "content": reply.text, "refusal": None}
    if reply.thoughts:
        message["reasoning_content"] = reply.thoughts
    annotations = url_annotations(reply.citations, len(reply.text))
    if annotations:
        message["annotations"] = annotations
    head = {"id": completion_id, "object": "chat.completion", "created": created, "model": model}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return whole_object(head, choice, reply)
