"""The simulator as a Flask app."""

from __future__ import annotations

import time
from collections.abc import Callable

from flask import Flask, Response
from werkzeug.exceptions import HTTPException

from opendify.simulator import (
    routes_about,
    routes_control,
    routes_conversations,
    routes_files,
    routes_human_input,
    routes_run,
)
from opendify.simulator.errors import DifyError, internal_error
from opendify.simulator.memory import Store
from opendify.simulator.options import SimulatorOptions
from opendify.simulator.serving_context import EXTENSION, ROUTE_HEADERS, error_response, json_response, world
from opendify.simulator.turns import World
from opendify.simulator.versions import quirks_of

_BLUEPRINTS = (
    routes_run.blueprint,
    routes_about.blueprint,
    routes_conversations.blueprint,
    routes_files.blueprint,
    routes_files.signed_blueprint,
    routes_human_input.blueprint,
    routes_control.blueprint,
)
_DEFAULT_OPTIONS = SimulatorOptions()


def create_simulator(
    options: SimulatorOptions = _DEFAULT_OPTIONS,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> Flask:
    """A WSGI app that behaves like one Dify server with the apps of `DEMO_APPS`.

    Its state is its own and in memory. `sleep` is called for every wait, so a
    test that hands in both sees no real second pass.

    Raises:
        ValueError: `options.version` is not one that can be imitated.
    """
    app = Flask(__name__)
    app.extensions[EXTENSION] = World(options, quirks_of(options.version), clock, sleep, Store())
    for blueprint in _BLUEPRINTS:
        app.register_blueprint(blueprint)
    app.register_error_handler(DifyError, error_response)
    app.register_error_handler(HTTPException, _answer_http_exception)
    app.register_error_handler(TypeError, _answer_uncaught)
    app.after_request(_add_headers)
    return app


def _answer_http_exception(error: HTTPException) -> Response:
    if error.code == 405:
        body = {"code": "method_not_allowed", "message": error.description, "status": 405}
        answer = json_response(body, 405)
        answer.headers["Allow"] = ", ".join(getattr(error, "valid_methods", None) or [])
        return answer
    return Response(error.get_body(), error.code, content_type="text/html; charset=utf-8")


def _answer_uncaught(error: TypeError) -> Response:
    del error  # Dify says nothing about it either.
    return json_response(*internal_error(world().quirks))


def _add_headers(response: Response) -> Response:
    response.headers["X-Version"] = world().options.version
    response.headers["X-Env"] = "PRODUCTION"
    if response.status_code != 405 and not _is_unknown_page(response):
        for name, value in ROUTE_HEADERS.items():
            if name == "Access-Control-Allow-Origin" or world().quirks.suggests_routes_on_404:
                response.headers[name] = value
    return response


def _is_unknown_page(response: Response) -> bool:
    return response.status_code == 404 and response.mimetype == "text/html"
