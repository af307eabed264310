"""The Responses API: a request → `Turn`; how a response and its items are written.

Source: https://platform.openai.com/docs/api-reference/responses/object
"""

from collections.abc import Sequence

from opendify.errors import GatewayError, InvalidRequest
from opendify.translate.dify_extension import dify_extension, url_annotations
from opendify.translate.openai_messages import messages_from_items, read_messages
from opendify.translate.reply_writer import Shape
from opendify.translate.response_parameters import refuse_unsupported_in_response
from opendify.translate.turn import Citation, CompletionUsage, Extras, Reply, Turn
from opendify.wire.openai_chat import ChatMessage
from opendify.wire.openai_responses import ResponsesRequest

ID_PREFIX = "resp_"


def read_response_turn(request: ResponsesRequest, earlier: Sequence[ChatMessage] = ()) -> Turn:
    """As `read_turn`; `earlier` is what was said up to `previous_response_id`.

    Raises:
        InvalidRequest: Nothing is said, the newest message is empty or has an unreadable file,
            or a parameter cannot be served.
    """
    refuse_unsupported_in_response(request)
    if request.input is None and not earlier:
        raise InvalidRequest(
            "Missing required parameter: 'input'.", param="input", code="missing_required_parameter"
        )
    # With nothing new the assistant is to go on.
    messages = messages_from_items(request.input or []) or [ChatMessage(role="system")]
    return read_messages(messages, "input", request.instructions, request, earlier)


def response_head(
    request: ResponsesRequest, *, response_id: str, created: int, is_stored: bool
) -> dict[str, object]:
    """What of a response is the same from its beginning to its end; `created` is Unix seconds."""
    reasoning = request.reasoning
    return {
        "id": response_id,
        "object": "response",
        "created_at": created,
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": request.instructions,
        "max_output_tokens": request.max_output_tokens,
        "max_tool_calls": request.max_tool_calls,
        "model": request.model or "",
        "parallel_tool_calls": True,
        "previous_response_id": request.previous_response_id,
        "conversation": {"id": request.conversation.id} if request.conversation else None,
        "reasoning": {
            "effort": reasoning.effort if reasoning else None,
            "summary": reasoning.summary if reasoning else None,
        },
        "store": is_stored,
        "temperature": request.temperature,
        "text": {"format": {"type": "text"}},
        "tool_choice": request.tool_choice if isinstance(request.tool_choice, str) else "auto",
        # Those of the client are never called, and Codex's alone are 20 kB.
        "tools": [],
        "top_p": request.top_p,
        "truncation": request.truncation or "disabled",
        "metadata": _metadata(request.metadata),
    }


def _metadata(metadata: object) -> Shape:
    """What the API's shape can hold of it: texts under names."""
    if not isinstance(metadata, dict):
        return {}
    return {name: value for name, value in metadata.items() if isinstance(value, str)}


def begun_response(head: Shape) -> Shape:
    """Nothing was said yet."""
    return {**head, "status": "in_progress", "output": []}


def ended_response(
    head: Shape, output: Sequence[Shape], extras: Extras | Reply, *, completed_at: int, is_whole: bool = True
) -> Shape:
    """The answer ended; one that is not whole was cut by moderation."""
    end: dict[str, object] = {"status": "completed", "completed_at": completed_at}
    if not is_whole:
        end = {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}
    # Where Dify told none, `usage` is left out: the API's shape has no null there.
    usage = {"usage": response_usage(extras.ended.usage)} if extras.ended.usage else {}
    return {**head, **end, "output": output, **usage, "dify": dify_extension(extras)}


def failed_response(head: Shape, output: Sequence[Shape], error: GatewayError) -> Shape:
    """The answer broke off; `output` is what was said before."""
    code = "rate_limit_exceeded" if error.status == 429 else "server_error"
    return {
        **head,
        "status": "failed",
        "error": {"code": code, "message": error.message},
        "output": output,
    }


def whole_response(head: Shape, reply: Reply, *, completed_at: int) -> Shape:
    """An answer that is not streamed."""
    response_id = str(head["id"])
    thoughts = [reasoning_item(item_id("rs", response_id), reply.thoughts)] if reply.thoughts else []
    part = text_part(reply.text, flat_annotations(reply.citations, len(reply.text)))
    message = message_item(item_id("msg", response_id), "completed", [part])
    return ended_response(head, [*thoughts, message], reply, completed_at=completed_at)


def item_id(kind: str, response_id: str, number: int = 0) -> str:
    """An id that no other response's item has; `number` tells a response's own apart."""
    named = f"{kind}_{response_id.removeprefix(ID_PREFIX)}"
    return f"{named}{number:04d}" if number else named


def message_item(item: str, status: str, content: Sequence[Shape]) -> Shape:
    """The answer."""
    return {"id": item, "type": "message", "status": status, "role": "assistant", "content": content}


def text_part(text: str, annotations: Sequence[Shape] = ()) -> Shape:
    """The one part of the answer's message."""
    return {"type": "output_text", "text": text, "annotations": list(annotations), "logprobs": []}


def reasoning_item(item: str, text: str | None) -> Shape:
    """Thoughts, as the summary that clients show; None where none are told yet."""
    summary = [] if text is None else [summary_part(text)]
    return {"id": item, "type": "reasoning", "summary": summary}


def summary_part(text: str) -> Shape:
    """The one part of an item of thoughts."""
    return {"type": "summary_text", "text": text}


def flat_annotations(citations: tuple[Citation, ...], text_length: int) -> list[Shape]:
    """As in chats, but for the level on which the facts are."""
    nested = url_annotations(citations, text_length)
    facts = [annotation["url_citation"] for annotation in nested]
    return [{"type": "url_citation", **each} for each in facts if isinstance(each, dict)]


def response_usage(usage: CompletionUsage) -> Shape:
    """The API's `usage`; what Dify does not tell apart is 0."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.total_tokens,
    }
