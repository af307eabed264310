"""What probes and curious people ask: is it there, is it ready."""

import flask
from flask.typing import ResponseReturnValue

from opendify import __version__
from opendify.routes.answers import json_response


def ops_blueprint() -> flask.Blueprint:
    """`/` and `/health/…`, which need no key and ask nobody."""
    blueprint = flask.Blueprint("ops", __name__)

    @blueprint.get("/")
    def index() -> ResponseReturnValue:
        return json_response({"name": "OpenDify", "version": __version__, "api": "/v1"})

    @blueprint.get("/health/live")
    @blueprint.get("/health/ready")
    @blueprint.get("/health")
    def healthy() -> ResponseReturnValue:
        # Dify is no part of readiness: a service without it still answers honestly.
        return json_response({"status": "ok"})

    return blueprint
