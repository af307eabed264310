"""Endpoints for operators: what is remembered of conversations, and how to forget it."""

import logging
from typing import Annotated

import flask
from flask.typing import ResponseReturnValue
from pydantic import BaseModel, Field

from opendify.access.keys import KeyRing
from opendify.conversation_admin.administration import (
    ConversationAdmin,
    conversation_shape,
    statistics_shape,
    user_deletion_shape,
)
from opendify.errors import GatewayError, InvalidRequest
from opendify.routes.answers import json_response, parse
from opendify.stores.base import StoreUnavailable

_MOST_RECENT = 1_000
_STORE_RETRY_SECONDS = 5

logger = logging.getLogger(__name__)
audit = logging.getLogger("opendify.audit")


class CleanupRequest(BaseModel):
    """`max_age_days` counts from the last use; absent, it is `CONVERSATION_TTL_DAYS`."""

    max_age_days: Annotated[float, Field(strict=True, ge=0, le=36_500, allow_inf_nan=False)] | None = None


def admin_blueprint(admin: ConversationAdmin, keys: KeyRing) -> flask.Blueprint:
    """The routes below `/v1/conversation`, which open with the admin key."""
    blueprint = flask.Blueprint("admin", __name__, url_prefix="/v1/conversation")

    def require_admin() -> None:
        keys.authenticate_admin(flask.request.headers, flask.request.remote_addr)

    @blueprint.get("/mappings")
    def count_conversations() -> ResponseReturnValue:
        keys.authenticate_observer(flask.request.headers, flask.request.remote_addr)
        return json_response(statistics_shape(admin.statistics(), admin.now()))

    @blueprint.get("/recent")
    def list_recent() -> ResponseReturnValue:
        require_admin()
        limit, now = _limit(), admin.now()
        recent = [conversation_shape(each, now) for each in admin.recent(limit)]
        return json_response({"recent_mappings": recent, "limit": limit, "timestamp": int(now)})

    @blueprint.post("/cleanup")
    def clean_up() -> ResponseReturnValue:
        require_admin()
        asked = parse(CleanupRequest) if flask.request.get_data() else CleanupRequest()
        days = admin.default_max_age_days if asked.max_age_days is None else asked.max_age_days
        removed = admin.clean_up(days)
        _note("clean up", removed=removed, max_age_days=days)
        return json_response({"removed_count": removed, "max_age_days": days, "timestamp": int(admin.now())})

    @blueprint.get("/database/info")
    def describe_database() -> ResponseReturnValue:
        require_admin()
        about = dict(admin.about())
        names = {"path": "database_path", "size_bytes": "database_size_bytes"}
        known = {older: about[name] for name, older in names.items() if name in about}
        count = admin.statistics().conversations
        return json_response({**about, **known, "mapping_count": count, "timestamp": int(admin.now())})

    @blueprint.post("/database/optimize")
    def optimize_database() -> ResponseReturnValue:
        require_admin()
        admin.optimize()
        _note("optimize")
        return json_response(
            {
                "status": "success",
                "message": "The conversation store is optimized.",
                "timestamp": int(admin.now()),
            }
        )

    @blueprint.delete("/mappings/<stored_id>")
    def delete_conversation(stored_id: str) -> ResponseReturnValue:
        require_admin()
        at_dify = _flag("dify")
        admin.delete(stored_id, at_dify=at_dify)
        _note("delete conversation", conversation=stored_id, at_dify=at_dify)
        return json_response({"id": stored_id, "deleted": True, "deleted_at_dify": at_dify})

    @blueprint.delete("/users/<path:user>")
    def delete_user(user: str) -> ResponseReturnValue:
        require_admin()
        at_dify = _flag("dify")
        deletion = admin.delete_user(user, flask.request.args.get("key") or None, at_dify=at_dify)
        _note("delete user", deleted=deletion.deleted, failures=len(deletion.failures), at_dify=at_dify)
        return json_response(user_deletion_shape(deletion))

    @blueprint.errorhandler(StoreUnavailable)
    def answer_store_unavailable(error: StoreUnavailable) -> ResponseReturnValue:
        logger.warning("the conversation store did not answer an admin", exc_info=error)
        ours = GatewayError(
            "The conversation store cannot be reached or cannot answer; the log says why.",
            code="store_unavailable",
            retry_after_seconds=_STORE_RETRY_SECONDS,
        )
        flask.g.log_fields["error"] = ours.code
        return json_response(ours.to_body(), 503, ours.headers())

    return blueprint


def _note(action: str, **facts: object) -> None:
    """One line for each thing that an admin changed; never a person's name."""
    audit.info("admin action", extra={"action": action, "request_id": flask.g.request_id, **facts})


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
