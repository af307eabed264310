"""A transcript of OpenAI messages → the one `Turn` that Dify needs."""

from collections.abc import Sequence

from opendify.errors import InvalidRequest
from opendify.translate.attachments import attachment_digest, attachment_name, read_attachment
from opendify.translate.parameters import CHAT_COMPLETION_REFUSALS, refuse_unsupported
from opendify.translate.turn import Attachment, HistoryMessage, HistoryRole, Turn
from opendify.wire.openai_chat import (
    AnswerRequest,
    ChatCompletionRequest,
    ChatMessage,
    ContentPart,
    InputItem,
    RefusalPart,
    TextPart,
)

# Dify refuses an empty query; these stand in where the client's own words are missing.
QUERY_FOR_FILES = "Please look at the attached file."
QUERY_TO_CONTINUE = "Please continue."

_HISTORY_ROLES: dict[str, HistoryRole] = {
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_SYSTEM_ROLES = frozenset({"system", "developer"})


def read_turn(request: ChatCompletionRequest) -> Turn:
    """The newest message as `query`, what came before it as `history`, system texts joined.

    A transcript that ends with the assistant asks to go on; one that ends with
    tool results hands them over; one without a user asks with its last message.

    Raises:
        InvalidRequest: No messages, an empty newest message, an unreadable file in it,
            or a parameter that cannot be served.
    """
    refuse_unsupported(CHAT_COMPLETION_REFUSALS, request)
    messages, param = _messages(request)
    return read_messages(messages, param, request.instructions, request)


def read_messages(
    messages: Sequence[ChatMessage],
    param: str,
    instructions: str | None,
    request: AnswerRequest,
    earlier: Sequence[ChatMessage] = (),
) -> Turn:
    """See `read_turn`; `param` is the name of `messages`, behind `earlier` ones that are only known here."""
    newest = _index_of_newest(messages, goes_on=bool(earlier))
    known = [*earlier, *messages]
    asked = None if newest is None else known.pop(len(earlier) + newest)
    system = [_text(message) for message in known if message.role in _SYSTEM_ROLES]
    history = [message for message in known if message.role in _HISTORY_ROLES]
    attachments = _attachments(asked, f"{param}[{newest}]") if asked else ()
    return Turn(
        query=_query(asked, f"{param}[{newest}]", has_files=bool(attachments)),
        history=tuple(filter(None, map(_history_message, history))),
        system="\n\n".join(filter(None, [instructions, *system])),
        attachments=attachments,
        inputs=request.inputs or {},
        stop=tuple(filter(None, request.stop or ())),
        newest=_history_message(asked) if asked else None,
    )


def _messages(request: ChatCompletionRequest) -> tuple[Sequence[ChatMessage], str]:
    """The messages and the name under which the client sent them."""
    if request.messages is not None:
        return request.messages, "messages"
    if request.input is not None:
        return messages_from_items(request.input), "input"
    raise InvalidRequest(
        "Missing required parameter: 'messages'.", param="messages", code="missing_required_parameter"
    )


def messages_from_items(items: str | Sequence[InputItem]) -> list[ChatMessage]:
    """The `input` of the Responses API as messages; a text alone is the user's."""
    if isinstance(items, str):
        return [ChatMessage(role="user", content=items)]
    # `reasoning`, `function_call` and the like tell an app nothing; an empty text keeps their place.
    return [ChatMessage(role=item.role or "system", content=item.content) for item in items]


def _index_of_newest(messages: Sequence[ChatMessage], *, goes_on: bool) -> int | None:
    """Which message is the query; None where the assistant spoke last, and is to go on.

    A system message behind the assistant's asks for something of its own: NextChat
    has a chat summed up that way.
    """
    spoken = [number for number, message in enumerate(messages) if message.role in _HISTORY_ROLES]
    last = len(messages) - 1
    if not spoken:
        return None if goes_on and not _text(messages[last]).strip() else last
    if messages[spoken[-1]].role != "assistant":
        return spoken[-1]
    return last if last > spoken[-1] and _text(messages[last]).strip() else None


def _query(asked: ChatMessage | None, param: str, *, has_files: bool) -> str:
    if asked is None:
        return QUERY_TO_CONTINUE
    text = _text(asked)
    if text.strip():
        return text
    if has_files:
        return QUERY_FOR_FILES
    if asked.role in {"tool", "function"}:
        return QUERY_TO_CONTINUE
    path = f"{param}.content"
    raise InvalidRequest(f"Invalid '{path}': the newest message is empty.", param=path, code="invalid_value")


def _attachments(message: ChatMessage, param: str) -> tuple[Attachment, ...]:
    parts = message.content
    if not isinstance(parts, list):
        return ()
    found = [read_attachment(part, f"{param}.content[{number}]") for number, part in enumerate(parts)]
    return tuple(attachment for attachment in found if attachment)


def _history_message(message: ChatMessage) -> HistoryMessage | None:
    """An earlier message, or None where nothing of it can be told."""
    role, text = _HISTORY_ROLES.get(message.role, "user"), _text(message)
    if not isinstance(message.content, list):
        return HistoryMessage(role, text) if text else None
    files = [part for part in message.content if not isinstance(part, TextPart | RefusalPart)]
    if not text and not files:
        return None
    names, digests = map(attachment_name, files), map(attachment_digest, files)
    return HistoryMessage(role, text, tuple(names), tuple(digests))


def _text(message: ChatMessage) -> str:
    if not isinstance(message.content, list):
        return message.content or ""
    return "\n".join(filter(None, map(_part_text, message.content)))


def _part_text(part: ContentPart) -> str:
    if isinstance(part, TextPart):
        return part.text
    return part.refusal if isinstance(part, RefusalPart) else ""
