"""The events that chat, agent and completion apps send, and those they share with chatflows."""

from __future__ import annotations

from opendify.simulator.turns import Turn, stable_id

Json = dict[str, object]

_CITATION: Json = {
    "position": 1,
    "dataset_id": stable_id("dataset"),
    "dataset_name": "kb",
    "document_id": stable_id("document"),
    "document_name": "facts.txt",
    "data_source_type": "upload_file",
    "segment_id": stable_id("segment"),
    "retriever_from": "api",
    "score": 0.81,
    "content": "The capital of France is Paris.",
}
_LATER_CITATION_KEYS = (
    "hit_count",
    "word_count",
    "segment_position",
    "index_node_hash",
    "page",
    "doc_metadata",
    "title",
    "files",
    "summary",
)


def envelope(turn: Turn, event: str, *, with_task: bool = True) -> Json:
    """The fields around every event of the app's mode; `error` events have no `task_id`."""
    fields: Json = {"event": event}
    if turn.message is None:
        return fields | {"workflow_run_id": turn.run_id, "task_id": turn.task.id}
    if turn.conversation is not None:
        fields["conversation_id"] = turn.conversation.id
    fields |= {"message_id": turn.message.id, "created_at": int(turn.message.time)}
    if with_task:
        fields["task_id"] = turn.task.id
    return fields


def text_event(turn: Turn, event: str, answer: str, selector: list[str] | None = None) -> Json:
    """`message`, `agent_message`, or the `message_file` that carries text."""
    fields = envelope(turn, event) | {"id": _message_id(turn), "answer": answer}
    if event != "agent_message":
        nothing: list[str] | None = [] if turn.quirks.synthetic_ends else None
        fields["from_variable_selector"] = nothing if selector is None else selector
    return fields


def file_event(turn: Turn, url: str) -> Json:
    fields: Json = {
        "id": stable_id(turn.task.id, url),
        "type": "image",
        "belongs_to": "assistant",
        "url": url,
    }
    return envelope(turn, "message_file") | fields


def replace_event(turn: Turn, answer: str) -> Json:
    fields = envelope(turn, "message_replace") | {"answer": answer}
    if turn.quirks.replace_has_reason:
        fields["reason"] = ""
    return fields


def end_event(turn: Turn, metadata: Json) -> Json:
    turn.outcome.metadata = metadata
    return envelope(turn, "message_end") | {
        "id": _message_id(turn),
        "metadata": metadata,
        "files": _files_at_end(turn),
    }


def error_event(turn: Turn, code: str, status: int, message: str) -> Json:
    return envelope(turn, "error", with_task=False) | {"code": code, "status": status, "message": message}


def build_metadata(turn: Turn, usage: Json | None, annotation: Json | None = None) -> Json:
    resources = cite(turn)
    metadata: Json = {}
    if turn.quirks.whole_metadata or annotation:
        metadata["annotation_reply"] = annotation
    if turn.quirks.whole_metadata or resources:
        metadata["retriever_resources"] = resources
    if usage is not None:
        metadata["usage"] = usage
    if turn.quirks.reasoning_chunks:
        metadata["reasoning"] = {}
    return metadata


def annotation_of(turn: Turn) -> Json:
    account: Json = {"id": stable_id("account"), "name": "admin"}
    return {"id": stable_id(turn.app_key, "annotation"), "account": account}


def cite(turn: Turn) -> list[Json]:
    """The retrieved segments of this turn, remembered with its message."""
    if "CITE" not in turn.words and not turn.app.cites:
        return []
    resource = dict(_CITATION)
    if turn.quirks.whole_metadata:
        resource |= dict.fromkeys(_LATER_CITATION_KEYS)
        if host := turn.words.values.get("CITE"):
            resource["doc_metadata"] = {"source_url": f"https://{host}"}
    if turn.message is not None:
        turn.message.resources = [resource]
    return [resource]


def image_url(turn: Turn) -> str:
    return turn.world.file_url(f"tools/{stable_id(turn.task.id, 'image')}.png")


def produced_file(turn: Turn) -> Json:
    """A graph's file object, as `message_end` and `workflow_finished` list it."""
    return {
        "dify_model_identity": "__dify__file__",
        "id": None,
        "tenant_id": stable_id("tenant"),
        "type": "image",
        "transfer_method": "tool_file",
        "remote_url": "",
        "related_id": stable_id(turn.task.id, "image"),
        "filename": "drawing.png",
        "extension": ".png",
        "mime_type": "image/png",
        "size": 74,
        "url": image_url(turn),
    }


def _files_at_end(turn: Turn) -> list[Json] | None:
    if turn.is_graph:
        return [produced_file(turn)] if "FILE" in turn.words else []
    return [] if turn.quirks.files_listed_at_end else None


def _message_id(turn: Turn) -> str | None:
    return None if turn.message is None else turn.message.id
