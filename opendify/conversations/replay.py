"""What a new Dify conversation must be told: the system prompt and the history so far.

Dify takes one `query`; it keeps the memory itself. Where it cannot know what was
said before, that goes into an input that the app declares for it, or in front of
the query, newest messages first to fit a budget.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from opendify.records import AppProfile
from opendify.settings import DifyApp, IntoInput, Placement
from opendify.translate.dify_request import RunText, has_conversations
from opendify.translate.turn import HistoryMessage, HistoryRole, Turn

_SYSTEM_INPUTS = ("system", "system_prompt", "instructions")
_HISTORY_INPUTS = ("history", "messages", "chat_history")
_BETWEEN = "\n\n"


@dataclass(frozen=True, slots=True)
class Templates:
    """The wording around replayed texts, whose place is `{text}`, and the speakers' names."""

    system: str = "<instructions>\n{text}\n</instructions>"
    history: str = "<conversation_so_far>\n{text}\n</conversation_so_far>"
    query: str = "{text}"
    user: str = "User"
    assistant: str = "Assistant"
    tool: str = "Tool"
    omitted: str = "[Earlier messages are left out.]"

    def speaker(self, role: HistoryRole) -> str:
        """What a message of `role` begins with."""
        return {"user": self.user, "assistant": self.assistant, "tool": self.tool}[role]


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
    inputs, query = dict(turn.inputs), templates.query.replace("{text}", turn.query)
    if not (turn.system or turn.history):
        return RunText(query, inputs)
    parts = (
        (turn.system, app.system, _SYSTEM_INPUTS, templates.system),
        (history_text(turn.history, max_chars, templates), app.history, _HISTORY_INPUTS, templates.history),
    )
    blocks = []
    for text, placement, usual_names, template in parts:
        name = _input_for(placement, usual_names, profile)
        if name:
            _fill(inputs, name, text, app)
        elif text and _goes_before_query(placement, profile):
            blocks.append(template.replace("{text}", text))
    return RunText("\n\n".join([*blocks, query]), inputs)


def later_turn_text(
    turn: Turn, app: DifyApp, profile: AppProfile, *, max_chars: int, templates: Templates | None = None
) -> RunText:
    """The query and inputs of a turn whose history Dify holds.

    Inputs count on every turn since Dify 1.0, and required ones must be there; so the
    system prompt's input is filled again, and the history's only where it is required.
    """
    inputs = dict(turn.inputs)
    system_input = _input_for(app.system, _SYSTEM_INPUTS, profile)
    if system_input:
        _fill(inputs, system_input, turn.system, app)
    history_input = _input_for(app.history, _HISTORY_INPUTS, profile)
    field = profile.find_input(history_input) if history_input else None
    if field and field.required:
        _fill(inputs, field.name, history_text(turn.history, max_chars, templates), app)
    return RunText(turn.query, inputs)


def _input_for(placement: Placement, usual_names: Sequence[str], profile: AppProfile) -> str | None:
    """The input that takes a text: the configured one, else one of a usual name."""
    if isinstance(placement, IntoInput):
        return placement.name
    declared = profile.find_input(*usual_names) if placement == "auto" else None
    return declared.name if declared else None


def _goes_before_query(placement: Placement, profile: AppProfile) -> bool:
    return placement == "query" or (placement == "auto" and has_conversations(profile.mode))


def _fill(inputs: dict[str, object], name: str, text: str, app: DifyApp) -> None:
    """Put `text` into an input, unless the client did, or the operator says what stands there."""
    if text and name not in app.locked_inputs:
        inputs.setdefault(name, text)


def history_text(
    history: Sequence[HistoryMessage], max_chars: int, templates: Templates | None = None
) -> str:
    """The messages as a dialogue of at most `max_chars`; the oldest are left out when that is short."""
    templates = templates or Templates()
    omitted = templates.omitted
    lines = [_line(message, templates) for message in history]
    size = sum(len(line) + len(_BETWEEN) for line in lines) - len(_BETWEEN)
    if size <= max_chars:
        return _BETWEEN.join(lines)
    size += len(omitted) + len(_BETWEEN)
    oldest = 0
    while oldest < len(lines) and size > max_chars:
        size -= len(lines[oldest]) + len(_BETWEEN)
        oldest += 1
    return _BETWEEN.join([omitted, *lines[oldest:]]) if size <= max_chars else omitted[:max_chars]


def _line(message: HistoryMessage, templates: Templates) -> str:
    names = [f"[File: {name}]" for name in message.attachment_names]
    return f"{templates.speaker(message.role)}: {' '.join(filter(None, [message.text, *names]))}"
