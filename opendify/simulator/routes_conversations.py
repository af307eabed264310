"""Conversations and messages: listing, renaming, deleting, feedback, suggestions."""

from __future__ import annotations

from flask import Blueprint, Response, abort, request
from flask.typing import ResponseReturnValue

from opendify.simulator.errors import (
    DifyError,
    FieldFault,
    field_error,
    internal_error,
    missing_field,
    not_found,
    whole_body_error,
)
from opendify.simulator.memory import NO_PARENT, Conversation, Message
from opendify.simulator.payload import read_user
from opendify.simulator.serving_context import (
    DEFAULT_USER,
    Caller,
    Json,
    json_response,
    read_body,
    require_chat_app,
    world,
)
from opendify.simulator.starting import AUTO_NAME
from opendify.simulator.turns import stable_id

blueprint = Blueprint("conversations", __name__, url_prefix="/v1")

_MAX_LIMIT = 100
_STORED_CITATION = (
    "position",
    "dataset_id",
    "dataset_name",
    "document_id",
    "document_name",
    "data_source_type",
    "segment_id",
    "score",
    "content",
)
_SUGGESTIONS = ["Simulated question one?", "Simulated question two?", "Simulated question three?"]


@blueprint.get("/conversations")
def list_conversations() -> ResponseReturnValue:
    caller = require_chat_app()
    limit = _read_limit("ConversationListQuery")
    sort_by = request.args.get("sort_by", "-updated_at")
    rows = world().store.conversations_of(caller.app_key, _query_user())
    field = "created_at" if sort_by.endswith("created_at") else "updated_at"
    rows.sort(key=lambda row: float(getattr(row, field)), reverse=sort_by.startswith("-"))
    last_id = request.args.get("last_id")
    if last_id:
        rows = rows[_position(rows, last_id, "Last Conversation Not Exists.") + 1 :]
    return _page([_conversation_row(row) for row in rows[:limit]], limit, has_more=len(rows) > limit)


@blueprint.get("/messages")
def list_messages() -> ResponseReturnValue:
    """The newest page, oldest first within it; `first_id` pages backwards."""
    caller = require_chat_app()
    wanted = request.args.get("conversation_id")
    if not wanted:
        raise missing_field(
            "MessageListQuery", "conversation_id", dict(request.args), world().quirks, "the query string"
        )
    limit = _read_limit("MessageListQuery")
    _get_conversation(wanted, caller, _query_user(), request.path)
    rows = world().store.messages_newest_first(wanted)
    first_id = request.args.get("first_id")
    if first_id:
        rows = rows[_position(rows, first_id, "First Message Not Exists.") + 1 :]
    page = [_message_row(row) for row in reversed(rows[:limit])]
    return _page(page, limit, has_more=len(rows) > limit)


@blueprint.delete("/conversations/<uuid:conversation_id>")
def delete_conversation(conversation_id: object) -> ResponseReturnValue:
    """Newer versions answer 204 whatever happens, and let any user of the app delete."""
    caller = require_chat_app()
    user = str(read_body().get("user") or DEFAULT_USER)
    store = world().store
    if world().quirks.delete_answers_204:
        found = store.conversations.get(str(conversation_id))
        if found is not None and found.app_key == caller.app_key:
            store.delete_conversation(found.id)
        return Response(status=204, content_type="application/json")
    store.delete_conversation(_get_conversation(str(conversation_id), caller, user).id)
    return json_response({"result": "success"})


@blueprint.post("/conversations/<uuid:conversation_id>/name")
def rename_conversation(conversation_id: object) -> ResponseReturnValue:
    caller = require_chat_app()
    body = read_body()
    automatic = bool(body.get("auto_generate"))
    name = AUTO_NAME if automatic else body.get("name")
    if not name and not world().quirks.pydantic_errors:
        return json_response(*internal_error(world().quirks))
    if not name:
        text = "name is required when auto_generate is false"
        raise whole_body_error("ConversationRenamePayload", text, body)
    found = _get_conversation(str(conversation_id), caller, str(body.get("user") or DEFAULT_USER))
    found.name = str(name)
    return json_response(_conversation_row(found))


@blueprint.get("/conversations/<uuid:conversation_id>/variables")
def list_variables(conversation_id: object) -> ResponseReturnValue:
    if not world().quirks.lists_variables:
        abort(404)
    _get_conversation(str(conversation_id), require_chat_app(), _query_user(), request.path)
    return _page([], _read_limit("ConversationVariablesQuery"), has_more=False)


@blueprint.get("/messages/<uuid:message_id>/suggested")
def suggest_questions(message_id: object) -> ResponseReturnValue:
    caller = require_chat_app()
    user = read_user(request.args.get("user"))
    _get_message(str(message_id), caller, user)
    if not caller.app.suggests_after_answer:
        raise DifyError(400, "bad_request", "Suggested Questions Is Disabled.")
    return json_response({"result": "success", "data": _SUGGESTIONS})


@blueprint.post("/messages/<uuid:message_id>/feedbacks")
def give_feedback(message_id: object) -> ResponseReturnValue:
    caller = require_chat_app()
    body = read_body()
    message = _get_message(str(message_id), caller, read_user(body.get("user")))
    rating = body.get("rating")
    message.feedback = None if rating is None else str(rating)
    return json_response({"result": "success"})


def _conversation_row(row: Conversation) -> Json:
    return {
        "id": row.id,
        "name": row.name,
        "inputs": row.inputs,
        "status": "normal",
        "introduction": row.introduction,
        "created_at": int(row.created_at),
        "updated_at": int(row.updated_at),
    }


def _message_row(row: Message) -> Json:
    quirks = world().quirks
    fields: Json = {
        "id": row.id,
        "conversation_id": row.conversation_id,
        "parent_message_id": NO_PARENT,
        "inputs": row.inputs,
        "query": row.query,
        "answer": row.answer,
        "message_files": [_file_row(file) for file in row.files],
        "feedback": {"rating": row.feedback} if row.feedback else None,
        "retriever_resources": [_citation_row(row, resource) for resource in row.resources],
        "created_at": int(row.time),
        "agent_thoughts": row.thoughts,
        "status": row.status,
        "error": row.error,
    }
    if quirks.extra_contents:
        fields["extra_contents"] = []
    if quirks.message_costs:
        tokens = {
            "message_tokens": 0,
            "answer_tokens": 0,
            "total_tokens": 0,
            "provider_response_latency": 0.0,
        }
        fields |= tokens | {"total_price": "0", "currency": "USD"}
    return fields


def _citation_row(row: Message, resource: Json) -> Json:
    """A citation as stored: with an id, without the counts that `message_end` may give."""
    new = world().quirks.whole_metadata
    count = None if new else 0
    fields: Json = {"id": stable_id(row.id, "citation"), "message_id": row.id, "index_node_hash": None}
    fields |= dict.fromkeys(("hit_count", "word_count", "segment_position"), count)
    fields |= {"summary": None, "created_at": None} if new else {"created_at": int(row.time)}
    return fields | {name: resource[name] for name in _STORED_CITATION}


def _file_row(file: Json) -> Json:
    fields: Json = {
        "id": stable_id(str(file["related_id"]), "message"),
        "filename": file["filename"],
        "type": file["type"],
        "url": file.get("url") or world().uploaded_file_url(str(file["related_id"])),
        "mime_type": file["mime_type"],
        "size": file["size"],
        "transfer_method": file["transfer_method"],
        "belongs_to": file.get("belongs_to") or "user",
    }
    if world().quirks.rich_uploads:
        fields["upload_file_id"] = file["related_id"]
    return fields


def _page(rows: list[Json], limit: int, *, has_more: bool) -> Response:
    return json_response({"limit": limit, "has_more": has_more, "data": rows})


def _get_conversation(conversation_id: str, caller: Caller, user: str, path: str = "") -> Conversation:
    found = world().store.find_conversation(conversation_id, caller.app_key, user)
    if found is None:
        raise not_found("Conversation Not Exists.", world().quirks, path)
    return found


def _get_message(message_id: str, caller: Caller, user: str) -> Message:
    found = world().store.find_message(message_id, caller.app_key, user)
    if found is None:
        raise not_found("Message Not Exists.", world().quirks)
    return found


def _position(rows: list[Conversation] | list[Message], wanted: str, absent: str) -> int:
    ids = [row.id for row in rows]
    if wanted not in ids:
        raise not_found(absent, world().quirks, request.path)
    return ids.index(wanted)


def _query_user() -> str:
    return request.args.get("user") or DEFAULT_USER


def _read_limit(model: str) -> int:
    text = request.args.get("limit", "20")
    if text.isdigit() and 1 <= int(text) <= _MAX_LIMIT:
        return int(text)
    kind, wanted = "greater_than_equal", "Input should be greater than or equal to 1"
    if not text.lstrip("-").isdigit():
        kind, wanted = "int_parsing", "Input should be a valid integer, unable to parse string as an integer"
    elif int(text) > _MAX_LIMIT:
        kind, wanted = "less_than_equal", f"Input should be less than or equal to {_MAX_LIMIT}"
    old = f"Invalid argument: {text}. argument must be within the range 1 - {_MAX_LIMIT}"
    raise field_error(FieldFault(model, "limit", kind, wanted, text, old), world().quirks)
