"""Which web pages may read our answers."""

import flask

from opendify.access.keys import KeyRing
from opendify.serving.heads import Head
from opendify.settings import Settings

_METHODS = "GET, POST, DELETE, OPTIONS"
_EXPOSED = (
    "Access-Control-Expose-Headers",
    "x-request-id, retry-after, x-should-retry, "
    "x-ratelimit-limit-requests, x-ratelimit-remaining-requests, x-ratelimit-reset-requests, "
    "x-ratelimit-limit-tokens, x-ratelimit-remaining-tokens, x-ratelimit-reset-tokens, "
    "X-Dify-Conversation-Id, X-Dify-Message-Id, X-Dify-Workflow-Run-Id, X-OpenDify-Memory, X-OpenDify-Model",
)
_MAX_AGE_SECONDS = "86400"


def answer_preflights(app: flask.Flask) -> None:
    """With 204 and without a key."""
    app.before_request(lambda: flask.Response(status=204) if flask.request.method == "OPTIONS" else None)


class CorsHeaders:
    """Marks every answer, errors and streams too; see `heads`.

    Where keys are asked for, any origin may call: a bearer key is no cookie, and
    nothing is sent along without the page's knowing it. In open mode none may.
    `CORS_ORIGINS` decides otherwise.
    """

    def __init__(self, settings: Settings, keys: KeyRing) -> None:
        allowed = settings.cors_origins
        if allowed is None:
            allowed = () if keys.is_open else ("*",)
        self._allowed = allowed
        self._is_open = "*" in allowed

    def __call__(self, head: Head) -> None:
        """Say whether the page that asks may read it."""
        origin = "*" if self._is_open else head.environ.get("HTTP_ORIGIN", "")
        if not self._is_open:
            head.headers.append(("Vary", "Origin"))
        if origin not in self._allowed:
            return
        head.headers += (("Access-Control-Allow-Origin", origin), _EXPOSED)
        if head.environ["REQUEST_METHOD"] == "OPTIONS":
            _permit(head)


def _permit(head: Head) -> None:
    requested = head.environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS")
    head.headers += (
        ("Access-Control-Allow-Methods", _METHODS),
        # Reflected: openai-node alone adds nine headers, and more with every version.
        ("Access-Control-Allow-Headers", requested or "Authorization, Content-Type"),
        ("Access-Control-Max-Age", _MAX_AGE_SECONDS),
    )
