"""A `Turn` → the body that the app's run endpoint takes: one row an app mode."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from opendify.errors import InvalidRequest
from opendify.records import AppProfile, InputField
from opendify.settings import AppMode, DifyApp
from opendify.translate.dify_inputs import check_inputs, merge_inputs

# Names that workflows usually give the variable that takes the person's text, best first.
_QUERY_NAMES = (
    "query",
    "input",
    "text",
    "question",
    "prompt",
    "sys.query",
    "user_input",
    "message",
    "content",
)
_TEXT_TYPES = frozenset({"text-input", "paragraph"})


@dataclass(frozen=True, slots=True)
class DifyRequest:
    """One run: where to post, what to post, and where to stop it (`{task_id}` left open)."""

    path: str
    stop_path: str
    body: Mapping[str, object] = field(repr=False)


@dataclass(frozen=True, slots=True)
class RunText:
    """What a run is told: the newest message, and inputs that hold earlier ones."""

    query: str
    inputs: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _ModeRow:
    path: str
    stop_path: str
    place_query: Callable[[RunText, DifyApp, AppProfile], Mapping[str, object]]
    has_conversations: bool


def build_request(
    text: RunText,
    app: DifyApp,
    profile: AppProfile,
    *,
    user: str,
    files: Sequence[Mapping[str, object]] = (),
    conversation_id: str | None = None,
    auto_generate_name: bool = False,
) -> DifyRequest:
    """The request for one turn; it always asks for a stream.

    Only a stream can be stopped, agents refuse anything else, and clouds cut
    silent blocking calls.

    Raises:
        InvalidInput: A required input is missing, or a value cannot fit its variable.
        InvalidRequest: The app has no variable, or several, that could take the text.
    """
    row = _MODES[profile.mode]
    body: dict[str, object] = {"response_mode": "streaming", "user": user}
    body.update(row.place_query(text, app, profile))
    check_inputs(body["inputs"], profile)
    if files:
        body["files"] = list(files)
    if row.has_conversations:
        body["auto_generate_name"] = auto_generate_name
        if conversation_id:
            body["conversation_id"] = conversation_id
    return DifyRequest(row.path, row.stop_path, body)


def _query_beside_inputs(text: RunText, app: DifyApp, profile: AppProfile) -> Mapping[str, object]:
    return {"query": text.query, "inputs": merge_inputs(app, profile, text.inputs)}


def _query_in_completion_inputs(text: RunText, app: DifyApp, profile: AppProfile) -> Mapping[str, object]:
    """Completion apps take the text in the only, or first required, text variable."""
    inputs = merge_inputs(app, profile, text.inputs)
    texts = _text_fields(profile)
    required = [text_field for text_field in texts if text_field.required]
    named = profile.find_input("query")
    candidates = [named.name] if named else [each.name for each in required or texts]
    name = app.query_input or next(iter(candidates), None)
    if name is None:
        return {"query": text.query, "inputs": inputs}
    return {"query": text.query, "inputs": {name: text.query, **_without(inputs, name, text)}}


def _query_in_workflow_inputs(text: RunText, app: DifyApp, profile: AppProfile) -> Mapping[str, object]:
    inputs = merge_inputs(app, profile, text.inputs)
    name = app.query_input or _workflow_query_input(profile, inputs)
    return {"inputs": {name: text.query, **_without(inputs, name, text)} if name else inputs}


def _without(inputs: Mapping[str, object], name: str, text: RunText) -> Mapping[str, object]:
    """`inputs` with a default for the query's own variable left out; a client's own value stands."""
    return {key: value for key, value in inputs.items() if key != name or key in text.inputs}


def _workflow_query_input(profile: AppProfile, inputs: Mapping[str, object]) -> str | None:
    """The variable that takes the person's text; None for a workflow that takes none.

    Raises:
        InvalidRequest: Several could, and none is configured.
    """
    if profile.form is None:
        return _QUERY_NAMES[0]
    named = profile.find_input(*_QUERY_NAMES)
    if named:
        return named.name
    open_fields = [text_field for text_field in _text_fields(profile) if text_field.name not in inputs]
    if len(open_fields) > 1:
        names = ", ".join(repr(open_field.name) for open_field in open_fields)
        raise InvalidRequest(
            f"This workflow has several text variables ({names}) and none is configured to take the message: "
            f"set `query_input` for the model, or send all but one of them in `inputs`.",
            param="inputs",
            code="invalid_input",
        )
    return open_fields[0].name if open_fields else None


def _text_fields(profile: AppProfile) -> list[InputField]:
    return [each for each in profile.form or () if each.type in _TEXT_TYPES]


_CHAT = _ModeRow(
    "/chat-messages", "/chat-messages/{task_id}/stop", _query_beside_inputs, has_conversations=True
)
_MODES: Mapping[AppMode, _ModeRow] = {
    "chat": _CHAT,
    "agent-chat": _CHAT,
    "agent": _CHAT,
    "advanced-chat": _CHAT,
    "completion": _ModeRow(
        "/completion-messages",
        "/completion-messages/{task_id}/stop",
        _query_in_completion_inputs,
        has_conversations=False,
    ),
    "workflow": _ModeRow(
        "/workflows/run",
        "/workflows/tasks/{task_id}/stop",
        _query_in_workflow_inputs,
        has_conversations=False,
    ),
}


def has_conversations(mode: AppMode) -> bool:
    """Whether Dify keeps a memory for apps of `mode`."""
    return _MODES[mode].has_conversations
