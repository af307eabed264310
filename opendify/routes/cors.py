"""Which web pages may read our answers."""

import flask

from opendify.access.keys import KeyRing
from opendify.settings import Settings

_METHODS = "GET, POST, DELETE, OPTIONS"
_EXPOSED = (
    "x-request-id, retry-after, x-should-retry, "
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, "
    "X-Dify-Conversation-Id, X-Dify-Message-Id, X-Dify-Workflow-Run-Id, X-OpenDify-Memory, X-OpenDify-Model"
)
_MAX_AGE_SECONDS = "86400"


def install_cors(app: flask.Flask, settings: Settings, keys: KeyRing) -> None:
    """Answer every preflight with 204 and without a key, and mark every answer, errors and streams too.

    Where keys are asked for, any origin may call: a bearer key is no cookie, and
    nothing is sent along without the page's knowing it. In open mode none may.
    `CORS_ORIGINS` decides otherwise.
    """
    allowed = settings.cors_origins
    if allowed is None:
        allowed = () if keys.is_open else ("*",)
    is_open = "*" in allowed

    def preflight() -> flask.Response | None:
        return flask.Response(status=204) if flask.request.method == "OPTIONS" else None

    def mark(response: flask.Response) -> flask.Response:
        origin = "*" if is_open else flask.request.headers.get("Origin", "")
        if not is_open:
            response.vary.add("Origin")
        if origin not in allowed:
            return response
        response.headers.add("Access-Control-Allow-Origin", origin)
        response.headers.add("Access-Control-Expose-Headers", _EXPOSED)
        if flask.request.method == "OPTIONS":
            _permit(response)
        return response

    app.before_request(preflight)
    app.after_request(mark)


def _permit(response: flask.Response) -> None:
    requested = flask.request.headers.get("Access-Control-Request-Headers")
    response.headers["Access-Control-Allow-Methods"] = _METHODS
    # Reflected: openai-node alone adds nine headers, and more with every version.
    response.headers["Access-Control-Allow-Headers"] = requested or "Authorization, Content-Type"
    response.headers["Access-Control-Max-Age"] = _MAX_AGE_SECONDS
