"""What a new Dify conversation must be told: the system prompt and the history so far.

Dify takes one `query`; it keeps the memory itself. Where it cannot know what was
said before, that goes into an input that the app declares for it, or in front of
the query, newest messages first to fit a budget.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from opendify.records import AppProfile, InputField
from opendify.settings import DifyApp, IntoInput, Placement
from opendify.translate.dify_request import RunText, has_conversations
from opendify.translate.turn import HistoryMessage, HistoryRole, Turn

_SYSTEM_INPUTS = ("system", "system_prompt", "instructions")
_HISTORY_INPUTS = ("history", "messages", "chat_history")
_SPEAKERS: dict[HistoryRole, str] = {"user": "User", "assistant": "Assistant", "tool": "Tool"}
_OMITTED = "[Earlier messages are left out.]"
_BETWEEN = "\n\n"


@dataclass(frozen=True, slots=True)
class Templates:
    """The wording around replayed texts; `{text}` stands for them."""

    system: str = "<instructions>\n{text}\n</instructions>"
    history: str = "<conversation_so_far>\n{text}\n</conversation_so_far>"
    query: str = "{text}"


def first_turn_text(
    turn: Turn, app: DifyApp, profile: AppProfile, *, max_chars: int, templates: Templates | None = None
) -> RunText:
    """The query and inputs of a conversation's first turn.

    Workflow and completion apps get the newest message alone, unless the model's
    settings or the app's form say where the rest goes: a translator must not
    translate the transcript.

    Args:
        max_chars: Budget for the history's text.
    """
    templates = templates or Templates()
    keeps_memory = has_conversations(profile.mode)
    inputs = dict(turn.inputs)
    blocks = []
    parts = (
        (turn.system, app.system, _SYSTEM_INPUTS, templates.system),
        (history_text(turn.history, max_chars), app.history, _HISTORY_INPUTS, templates.history),
    )
    for text, placement, usual_names, template in parts:
        if not text:
            continue
        input_name = _input_for(placement, profile.find_input(*usual_names))
        if input_name in app.locked_inputs:
            continue  # The operator has said what stands there.
        if input_name:
            inputs.setdefault(input_name, text)
        elif placement == "query" or (placement == "auto" and keeps_memory):
            blocks.append(template.replace("{text}", text))
    blocks.append(templates.query.replace("{text}", turn.query))
    return RunText("\n\n".join(blocks), inputs)


def _input_for(placement: Placement, declared: InputField | None) -> str | None:
    if isinstance(placement, IntoInput):
        return placement.name
    return declared.name if declared and placement == "auto" else None


def history_text(history: Sequence[HistoryMessage], max_chars: int) -> str:
    """The messages as a dialogue of at most `max_chars`; the oldest are left out when that is short."""
    lines = [_line(message) for message in history]
    size = sum(len(line) + len(_BETWEEN) for line in lines) - len(_BETWEEN)
    if size <= max_chars:
        return _BETWEEN.join(lines)
    size += len(_OMITTED) + len(_BETWEEN)
    oldest = 0
    while oldest < len(lines) and size > max_chars:
        size -= len(lines[oldest]) + len(_BETWEEN)
        oldest += 1
    return _BETWEEN.join([_OMITTED, *lines[oldest:]]) if size <= max_chars else _OMITTED[:max_chars]


def _line(message: HistoryMessage) -> str:
    names = [f"[File: {name}]" for name in message.attachment_names]
    return f"{_SPEAKERS[message.role]}: {' '.join(filter(None, [message.text, *names]))}"
