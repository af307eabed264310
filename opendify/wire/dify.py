"""What Dify's Service API sends: stream events, error bodies, an app's description.

Fields are lenient on purpose: any of them may be missing or null in some
version from 0.15 to 1.16, and unknown keys are passed over.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import msgspec


class Usage(msgspec.Struct, frozen=True):
    """Token counts; prices are decimal strings, `"0E-7"` among them."""

    prompt_tokens: int | float | None = None
    completion_tokens: int | float | None = None
    total_tokens: int | float | None = None
    total_price: str | int | float | None = None
    currency: str | None = None


class Metadata(msgspec.Struct, frozen=True):
    """The part of `message_end.metadata` that is read; `retriever_resources` is a list of objects or null."""

    usage: Usage | None = None
    retriever_resources: object = None


class Event(msgspec.Struct, frozen=True, tag_field="event"):
    """What every data event may carry; `error` has no `task_id`, workflows no message."""

    task_id: str | None = None
    message_id: str | None = None
    conversation_id: str | None = None


class Message(Event, frozen=True, tag="message"):
    """A piece of the answer; `answer` may be empty."""

    answer: str | None = None


class AgentMessage(Event, frozen=True, tag="agent_message"):
    """A piece of an agent's text."""

    answer: str | None = None


class AgentThought(Event, frozen=True, tag="agent_thought"):
    """A round of an agent, sent again under one `id` as it fills up; `thought` repeats streamed text.

    `tool` holds names joined by `;`. `tool_input` and `observation` are JSON as text.
    """

    id: str | None = None
    thought: str | None = None
    tool: str | None = None
    tool_input: object = None
    observation: object = None


class MessageFile(Event, frozen=True, tag="message_file"):
    """A file, or, where `answer` is there, a piece of text (chat apps since 1.7.2)."""

    answer: str | None = None
    id: str | None = None
    type: str | None = None
    belongs_to: str | None = None
    url: str | None = None


class MessageReplace(Event, frozen=True, tag="message_replace"):
    """Moderation: `answer` replaces everything sent so far."""

    answer: str | None = None


class MessageEnd(Event, frozen=True, tag="message_end"):
    """The answer is whole."""

    metadata: Metadata | None = None
    files: object = None
    """A list of file objects, the person's own among them; null in many versions."""


class ErrorEvent(Event, frozen=True, tag="error"):
    """The run failed after the HTTP status was sent; `status` is advisory."""

    code: str | None = None
    status: int | str | None = None
    message: str | None = None


class ReasoningChunkData(msgspec.Struct, frozen=True):
    """`reasoning` is a delta and may be empty."""

    reasoning: str | None = None


class ReasoningChunk(Event, frozen=True, tag="reasoning_chunk"):
    """Thinking of an LLM node in separated mode, since 1.15.0."""

    data: ReasoningChunkData = ReasoningChunkData()


class TextChunkData(msgspec.Struct, frozen=True):
    """`from_variable_selector` is `[node id, variable name]`."""

    text: str | None = None
    from_variable_selector: list[str] | None = None


class TextChunk(Event, frozen=True, tag="text_chunk"):
    """A piece of a workflow's output."""

    data: TextChunkData = TextChunkData()


class NodeData(msgspec.Struct, frozen=True):
    """`id` is of this one execution; `outputs` and `process_data` hold whatever it made, prompts included.

    `iteration_id` and `loop_id` are the `node_id`s of what it lies in.
    """

    node_id: str | None = None
    node_type: str | None = None
    outputs: object = None
    process_data: object = None
    id: str | None = None
    title: str | None = None
    status: str | None = None
    iteration_id: str | None = None
    loop_id: str | None = None
    elapsed_time: object = None
    total_tokens: object = None
    execution_metadata: object = None


class NodeStarted(Event, frozen=True, tag="node_started"):
    """A node of a workflow or chatflow begins."""

    data: NodeData = NodeData()


class IterationStarted(Event, frozen=True, tag="iteration_started"):
    """An iteration node begins; it sends no `node_started`."""

    data: NodeData = NodeData()


class LoopStarted(Event, frozen=True, tag="loop_started"):
    """A loop node begins (since 1.0.1); it sends no `node_started`."""

    data: NodeData = NodeData()


class IterationCompleted(Event, frozen=True, tag="iteration_completed"):
    """An iteration node ended."""

    data: NodeData = NodeData()


class LoopCompleted(Event, frozen=True, tag="loop_completed"):
    """A loop node ended."""

    data: NodeData = NodeData()


class NodeFinished(Event, frozen=True, tag="node_finished"):
    """A node ended; LLM nodes have `usage` in their outputs or process data."""

    data: NodeData = NodeData()


class AgentLogData(msgspec.Struct, frozen=True):
    """`label` is such as `ROUND 1` or `CALL search`; `status` start, success or error."""

    id: str | None = None
    parent_id: str | None = None
    node_id: str | None = None
    label: str | None = None
    status: str | None = None


class AgentLog(Event, frozen=True, tag="agent_log"):
    """What an agent node does (since 1.0.0), sent again under one `id`."""

    data: AgentLogData = AgentLogData()


class WorkflowStarted(Event, frozen=True, tag="workflow_started"):
    """A workflow or chatflow run begins."""

    workflow_run_id: str | None = None


class WorkflowFinishedData(msgspec.Struct, frozen=True):
    """`status`: succeeded, failed, stopped, or partial-succeeded (with a hyphen)."""

    status: str | None = None
    outputs: dict[str, object] | None = None
    error: str | None = None
    total_tokens: int | float | None = None
    files: object = None


class WorkflowFinished(Event, frozen=True, tag="workflow_finished"):
    """A run ended, well or not."""

    workflow_run_id: str | None = None
    data: WorkflowFinishedData = WorkflowFinishedData()


class HumanInputRequiredData(msgspec.Struct, frozen=True):
    """A form: `actions` are objects with `id` and `title`, `inputs` its fields.

    `form_token` is null where the form goes out by other channels.
    """

    form_content: str | None = None
    form_token: str | None = None
    inputs: object = None
    actions: object = None
    expiration_time: object = None


class HumanInputRequired(Event, frozen=True, tag="human_input_required"):
    """A node asks a person (since 1.13.0); `workflow_paused` follows."""

    workflow_run_id: str | None = None
    data: HumanInputRequiredData = HumanInputRequiredData()


class WorkflowPaused(Event, frozen=True, tag="workflow_paused"):
    """The run waits for a person (since 1.13.0); the stream closes after it."""

    workflow_run_id: str | None = None


class UnknownEvent(msgspec.Struct, frozen=True):
    """An event that the proxy has no use for, or that a newer Dify invented."""

    event: str = ""


class Messages(msgspec.Struct, frozen=True, gc=False):
    """Several `Message` events of one read that are `like` one before them but for their texts.

    `text` is what they say together; `texts` is each as it stands between its quotes, none empty, and
    as `encode_json` would write it.
    """

    text: str
    texts: Sequence[bytes]
    like: Message

    def one_by_one(self) -> Iterator[Message]:
        """Each as the event that it was."""
        return (msgspec.structs.replace(self.like, answer=text.decode()) for text in self.texts)


KnownEvent = (
    Message
    | AgentMessage
    | AgentThought
    | MessageFile
    | MessageReplace
    | MessageEnd
    | ErrorEvent
    | ReasoningChunk
    | TextChunk
    | NodeStarted
    | IterationStarted
    | IterationCompleted
    | LoopStarted
    | LoopCompleted
    | NodeFinished
    | AgentLog
    | WorkflowStarted
    | WorkflowFinished
    | HumanInputRequired
    | WorkflowPaused
)
StreamEvent = KnownEvent | UnknownEvent | Messages

_decode_known: Callable[[bytes], KnownEvent] = msgspec.json.Decoder(KnownEvent).decode
_convert_known: Callable[[object], KnownEvent] = partial(msgspec.convert, type=KnownEvent)
_decode_name = msgspec.json.Decoder(UnknownEvent).decode
_KNOWN_TAGS = frozenset(
    str(kind.__struct_config__.tag) for kind in Event.__subclasses__() if kind.__struct_config__.tag
)


class MalformedEvent(ValueError):
    """A `data:` line that is not an event of Dify's."""


def decode_event(payload: bytes) -> StreamEvent:
    """Read the JSON of one `data:` line.

    Raises:
        MalformedEvent: Not JSON, not UTF-8, not an object, or a known event whose
            fields have types that no version sends.
    """
    try:
        return _decode_known(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _decode_unknown(payload) or _decode_leniently(payload)


def _decode_unknown(payload: bytes) -> UnknownEvent | None:
    """An event of another name, found without looking into it; None where that is not enough."""
    try:
        unknown = _decode_name(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return None if unknown.event in _KNOWN_TAGS else unknown


def _decode_leniently(payload: bytes) -> StreamEvent:
    """Read what msgspec refuses and versions of Dify still send.

    Lone surrogates as `\\ud800` escapes, NaN, and null where an object is meant.
    """
    try:
        shape = json.loads(payload.decode(), parse_constant=lambda _: None)
        if not isinstance(shape, dict) or not isinstance(shape.get("event", ""), str):
            raise MalformedEvent("not an event")
        if shape.get("event") not in _KNOWN_TAGS:
            return UnknownEvent(shape.get("event", ""))
        return _convert_known({name: value for name, value in shape.items() if value is not None})
    except (ValueError, RecursionError) as error:
        raise MalformedEvent(str(error)) from error


class ErrorBody(msgspec.Struct, frozen=True):
    """The JSON of an HTTP error, in the forms of all versions.

    Up to 1.7 `params` names the field; 1.8 to 1.10 have `errors` and no `code`;
    from 1.11 on `message` holds several lines of a validator's text.
    """

    code: str | None = None
    message: str | None = None
    params: str | None = None
    errors: dict[str, str] | None = None


_decode_error_body = msgspec.json.Decoder(ErrorBody).decode


def decode_error_body(body: bytes) -> ErrorBody | None:
    """The error body, or None where it is HTML, empty, or of no known shape."""
    try:
        return _decode_error_body(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
