"""Endpoints for operators: what is remembered of conversations, and how to forget it."""

import logging
from typing import Annotated

import flask
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field

from opendify.access.opening import Access
from opendify.audit.log import AuditLog
from opendify.conversation_admin.administration import (
    ConversationAdmin,
    conversation_shape,
    statistics_shape,
    user_deletion_shape,
)
from opendify.errors import GatewayError, InvalidRequest
from opendify.routes.answers import json_response, parse
from opendify.stores.base import StoreUnavailable
from opendify.telemetry.requests import observation

_MOST_RECENT = 1_000
_STORE_RETRY_SECONDS = 5

logger = logging.getLogger(__name__)


class CleanupRequest(BaseModel):
    """`max_age_days` counts from the last use; absent, it is `CONVERSATION_TTL_DAYS`."""

    max_age_days: Annotated[float, Field(strict=True, ge=0, le=36_500, allow_inf_nan=False)] | None = None


def admin_blueprint(admin: ConversationAdmin, access: Access) -> flask.Blueprint:
    """The routes below `/v1/conversation`, which open with the admin key; one looks, the rest acts."""
    blueprint = flask.Blueprint("admin", __name__, url_prefix="/v1/conversation")
    routes = _Routes(admin, access.audit)

    @blueprint.before_request
    def require_admin() -> None:
        request = flask.request
        only_counts = request.endpoint == "admin.count_conversations"
        keys = access.keys
        let_in = keys.authenticate_observer if only_counts else keys.authenticate_admin
        flask.g.admin = let_in(request.headers, request.remote_addr).id

    blueprint.get("/mappings")(routes.count_conversations)
    blueprint.get("/recent")(routes.list_recent)
    blueprint.post("/cleanup")(routes.clean_up)
    blueprint.get("/database/info")(routes.describe_database)
    blueprint.post("/database/optimize")(routes.optimize_database)
    blueprint.delete("/mappings/<stored_id>")(routes.delete_conversation)
    blueprint.delete("/users/<path:user>")(routes.delete_user)
    blueprint.register_error_handler(StoreUnavailable, _answer_store_unavailable)
    return blueprint


class _Routes:
    """What each route does, once it is known that the caller may."""

    def __init__(self, admin: ConversationAdmin, audit: AuditLog) -> None:
        self._admin = admin
        self._audit = audit

    def count_conversations(self) -> ResponseReturnValue:
        return json_response(statistics_shape(self._admin.statistics(), self._admin.now()))

    def list_recent(self) -> ResponseReturnValue:
        limit, now = _limit(), self._admin.now()
        recent = [conversation_shape(each, now) for each in self._admin.recent(limit)]
        return json_response({"recent_mappings": recent, "limit": limit, "timestamp": int(now)})

    def clean_up(self) -> ResponseReturnValue:
        asked = parse(CleanupRequest) if flask.request.get_data() else CleanupRequest()
        days = self._admin.default_max_age_days if asked.max_age_days is None else asked.max_age_days
        removed = self._admin.clean_up(days)
        self._note("clean up", removed=removed, max_age_days=days)
        return json_response(
            {"removed_count": removed, "max_age_days": days, "timestamp": int(self._admin.now())}
        )

    def describe_database(self) -> ResponseReturnValue:
        about = dict(self._admin.about())
        names = {"path": "database_path", "size_bytes": "database_size_bytes"}
        known = {older: about[name] for name, older in names.items() if name in about}
        count = self._admin.statistics().conversations
        return json_response({**about, **known, "mapping_count": count, "timestamp": int(self._admin.now())})

    def optimize_database(self) -> ResponseReturnValue:
        self._admin.optimize()
        self._note("optimize")
        message = "The conversation store is optimized."
        return json_response({"status": "success", "message": message, "timestamp": int(self._admin.now())})

    def delete_conversation(self, stored_id: str) -> ResponseReturnValue:
        at_dify = _flag("dify")
        self._admin.delete(stored_id, at_dify=at_dify)
        self._note("delete conversation", conversation=stored_id, at_dify=at_dify)
        return json_response({"id": stored_id, "deleted": True, "deleted_at_dify": at_dify})

    def delete_user(self, user: str) -> ResponseReturnValue:
        at_dify = _flag("dify")
        deletion = self._admin.delete_user(user, flask.request.args.get("key") or None, at_dify=at_dify)
        self._note("delete user", deleted=deletion.deleted, failures=len(deletion.failures), at_dify=at_dify)
        return json_response(user_deletion_shape(deletion))

    def _note(self, action: str, **facts: object) -> None:
        """One line for each thing that an admin changed; never a person's name."""
        ids = {"caller": flask.g.admin, "request_id": observation().request_id}
        self._audit.note("admin action", action=action, **ids, **facts)


def _answer_store_unavailable(error: StoreUnavailable) -> ResponseReturnValue:
    logger.warning("the conversation store did not answer an admin", exc_info=error)
    ours = GatewayError(
        "The conversation store cannot be reached or cannot answer; the log says why.",
        code="store_unavailable",
        retry_after_seconds=_STORE_RETRY_SECONDS,
    )
    observation().minor_error = ours.code
    return json_response(ours.to_body(), 503, ours.headers())


def _limit() -> int:
    text = flask.request.args.get("limit", "10")
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= _MOST_RECENT):
        raise InvalidRequest(
            f"Invalid 'limit': expected a whole number from 1 to {_MOST_RECENT}.",
            param="limit",
            code="invalid_value",
        )
    return int(text)


def _flag(name: str) -> bool:
    text = flask.request.args.get(name, "false").lower()
    if text not in {"true", "false", "1", "0"}:
        raise InvalidRequest(f"Invalid '{name}': expected true or false.", param=name, code="invalid_value")
    return text in {"true", "1"}
