"""What every route needs: the world, the app behind the key, bodies in Dify's style."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from flask import Response, current_app, request

from opendify.simulator.apps import CHAT_MODES, DEMO_APPS, DemoApp
from opendify.simulator.errors import NOT_JSON, NOT_UNDERSTOOD, DifyError, unauthorized, wrong_mode
from opendify.simulator.json_text import plain_json
from opendify.simulator.turns import World

Json = dict[str, object]

EXTENSION = "opendify_simulator"
DEFAULT_USER = "DEFAULT-USER"
ROUTE_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "X-Env, X-Trace-Id, X-Version",
}


@dataclass(frozen=True)
class Caller:
    """The app that a request's key opens."""

    app_key: str
    app: DemoApp


def world() -> World:
    return cast("World", current_app.extensions[EXTENSION])


def require_app() -> Caller:
    """The app of the request's key.

    Raises:
        DifyError: 401 for a missing or unknown key, 403 for an app without API.
    """
    scheme, _, key = (request.headers.get("Authorization") or "").partition(" ")
    if not key.strip():
        raise unauthorized("Authorization header must be provided and start with 'Bearer'")
    if scheme.lower() != "bearer":
        raise unauthorized("Authorization scheme must be 'Bearer'")
    app = DEMO_APPS.get(key.strip())
    if app is None:
        raise unauthorized("Access token is invalid")
    if not app.api_enabled:
        raise DifyError(403, "forbidden", "The app's API service has been disabled.")
    return Caller(key.strip(), app)


def require_chat_app() -> Caller:
    caller = require_app()
    if caller.app.mode not in CHAT_MODES:
        raise wrong_mode("not_chat_app")
    return caller


def read_body() -> Json:
    """The request's JSON object.

    Raises:
        DifyError: 415 without the JSON content type, 400 for what is not JSON.
        TypeError: The body is JSON, but no object; Dify answers 500.
    """
    if not request.is_json:
        raise DifyError(415, "unsupported_media_type", NOT_JSON)
    body = request.get_json(silent=True)
    if body is None:
        raise DifyError(400, "bad_request", NOT_UNDERSTOOD)
    if not isinstance(body, dict):
        raise TypeError("Dify fails on a body that is no object")
    return cast("Json", body)


def json_response(body: Mapping[str, object] | None, status: int = 200, *, of_run: bool = False) -> Response:
    """Routes end their bodies with a line feed, runs do not; only runs name a charset, in newer versions."""
    charset = "; charset=utf-8" if of_run and world().quirks.charset_in_json else ""
    text = plain_json(body) + ("" if of_run else "\n")
    return Response(text, status, content_type=f"application/json{charset}")


def error_response(error: DifyError) -> Response:
    answer = json_response(error.to_body(), error.status)
    if error.status == 401 and world().quirks.authenticate_header:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="api"'
    return answer
