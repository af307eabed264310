"""A `Turn` → the body that the app's run endpoint takes: one row an app mode."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlencode

import msgspec

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


class DifyRequest(msgspec.Struct, frozen=True):
    """One run: where to post, what to post, and where to stop it (`{task_id}` left open).

    A run that `goes_on` is listened to by GET; of its body only the `user` counts. One without a
    `stop_path` is left alone by who stops listening.
    """

    path: str
    stop_path: str
    body: Mapping[str, object]
    traceparent: str = ""
    goes_on: bool = False

    def __repr__(self) -> str:
        """Without the body, which is the person's."""
        return f"DifyRequest({self.path!r})"

    def traced(self, trace_id: str, traceparent: str) -> "DifyRequest":
        """The same as a part of a trace; Dify reads the body since 1.7, the header since 1.8."""
        return msgspec.structs.replace(
            self, body={**self.body, "trace_id": trace_id}, traceparent=traceparent
        )


class RunText(msgspec.Struct, frozen=True):
    """What a run is told: the newest message, and inputs that hold earlier ones."""

    query: str
    inputs: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class _ModeRow:
    path: str
    stop_path: str
    place_query: Callable[[RunText, DifyApp, AppProfile], Mapping[str, object]]
    has_conversations: bool


def build_resumption(run_id: str, mode: AppMode, user: str) -> DifyRequest:
    """What tells the rest of a run that was paused; `run_id` is the workflow run's."""
    path = f"/workflow/{quote(run_id, safe='')}/events?{urlencode({'user': user})}"
    return DifyRequest(path, _MODES[mode].stop_path, {"user": user}, goes_on=True)


def build_rejoining(run_id: str, user: str) -> DifyRequest:
    """What tells the rest of a run that others listened to before, and its nodes up to now."""
    query = urlencode({"user": user, "include_state_snapshot": "true"})
    path = f"/workflow/{quote(run_id, safe='')}/events?{query}"
    return DifyRequest(path, "", {"user": user}, goes_on=True)


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
    return DifyRequest(row.path, "" if _goes_on_alone(app, profile) else row.stop_path, body)


def _goes_on_alone(app: DifyApp, profile: AppProfile) -> bool:
    """Whether a run is to go on without its client, where it can be listened to again.

    A chatflow's would meet the next turn of its conversation, and mix up its memory.
    """
    return app.on_disconnect == "continue" and profile.mode == "workflow" and profile.can_be_rejoined


def _query_beside_inputs(text: RunText, app: DifyApp, profile: AppProfile) -> Mapping[str, object]:
    return {"query": text.query, "inputs": merge_inputs(app, profile, text.inputs)}


def _query_in_completion_inputs(text: RunText, app: DifyApp, profile: AppProfile) -> Mapping[str, object]:
    """Completion apps take the text in `query`, else the first required or only text variable."""
    inputs = merge_inputs(app, profile, text.inputs)
    texts = _text_fields(profile)
    named = [each for each in texts if each.name == "query"]
    required = [each for each in texts if each.required]
    name = app.query_input or next((each.name for each in named or required or texts), None)
    if name is None:
        return {"query": text.query, "inputs": inputs}
    return {"query": text.query, "inputs": _with_query(inputs, name, text)}


def _query_in_workflow_inputs(text: RunText, app: DifyApp, profile: AppProfile) -> Mapping[str, object]:
    inputs = merge_inputs(app, profile, text.inputs)
    name = app.query_input or _workflow_query_input(profile, {**app.inputs, **text.inputs})
    return {"inputs": _with_query(inputs, name, text) if name else inputs}


def _with_query(inputs: Mapping[str, object], name: str, text: RunText) -> Mapping[str, object]:
    """`inputs` with the query in its variable, unless the client itself gave that one."""
    return {**inputs, name: text.inputs.get(name, text.query)}


def _workflow_query_input(profile: AppProfile, given: Mapping[str, object]) -> str | None:
    """The variable that takes the person's text; None for a workflow that takes none.

    Raises:
        InvalidRequest: Several could, and none is configured.
    """
    if profile.form is None:
        return _QUERY_NAMES[0]
    texts = {each.name for each in _text_fields(profile)}
    usual = next((name for name in _QUERY_NAMES if name in texts), None)
    if usual:
        return usual
    open_fields = [each for each in _text_fields(profile) if each.name not in given]
    without_default = [each for each in open_fields if each.default is None]
    candidates = [each.name for each in without_default or open_fields]
    if len(candidates) > 1:
        names = ", ".join(map(repr, candidates))
        raise InvalidRequest(
            f"This workflow has several text variables ({names}) and none is configured to take the message: "
            f"set `query_input` for the model, or send all but one of them in `inputs`.",
            param="inputs",
            code="invalid_input",
        )
    return candidates[0] if candidates else None


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
