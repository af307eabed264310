"""What a new Dify conversation must be told: the system prompt and the history so far.

Dify takes one `query`; it keeps the memory itself. Where it cannot know what was
said before, that goes into an input that the app declares for it, or in front of
the query, newest messages first to fit a budget.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from opendify.records import AppProfile, InputField
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
    keeps_memory = has_conversations(profile.mode)
    inputs = dict(turn.inputs)
    blocks = []
    for part in _context_parts(turn, app, profile, max_chars, templates):
        if part.input_name in app.locked_inputs:
            continue  # The operator has said what stands there.
        if part.input_name:
            inputs.setdefault(part.input_name, part.text)
        elif part.placement == "query" or (part.placement == "auto" and keeps_memory):
            blocks.append(part.template.replace("{text}", part.text))
    blocks.append(templates.query.replace("{text}", turn.query))
    return RunText("\n\n".join(blocks), inputs)


def later_turn_text(turn: Turn, app: DifyApp, profile: AppProfile, *, max_chars: int) -> RunText:
    """The query and inputs of a turn whose history Dify holds.

    Inputs count on every turn since Dify 1.0, and required ones must be there; so the
    system prompt's input is filled again, and the history's only where it is required.
    """
    inputs = dict(turn.inputs)
    for part in _context_parts(turn, app, profile, max_chars, Templates()):
        if part.input_name and part.input_name not in app.locked_inputs and part.is_needed_later:
            inputs.setdefault(part.input_name, part.text)
    return RunText(turn.query, inputs)


@dataclass(frozen=True, slots=True)
class _ContextPart:
    text: str
    placement: Placement
    input_name: str | None
    template: str
    is_needed_later: bool


def _context_parts(
    turn: Turn, app: DifyApp, profile: AppProfile, max_chars: int, templates: Templates
) -> Iterator[_ContextPart]:
    """The system prompt and the history, as far as there are any, and where each goes."""
    parts = (
        (turn.system, app.system, _SYSTEM_INPUTS, templates.system, True),
        (
            history_text(turn.history, max_chars, templates),
            app.history,
            _HISTORY_INPUTS,
            templates.history,
            False,
        ),
    )
    for text, placement, usual_names, template, counts_on_every_turn in parts:
        declared = profile.find_input(*usual_names)
        name = _input_for(placement, declared)
        field = profile.find_input(name) if name else None
        if text:
            is_needed = counts_on_every_turn or bool(field and field.required)
            yield _ContextPart(text, placement, name, template, is_needed)


def _input_for(placement: Placement, declared: InputField | None) -> str | None:
    if isinstance(placement, IntoInput):
        return placement.name
    return declared.name if declared and placement == "auto" else None


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
