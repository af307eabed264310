"""What probes and curious people ask: is it there, is it ready."""

from pathlib import Path

import flask
from flask.typing import ResponseReturnValue

from opendify import __version__
from opendify.routes.answers import json_response
from opendify.stores.probe import StoreProbe


def ops_blueprint(store: StoreProbe, drain_file: Path) -> flask.Blueprint:
    """`/` and `/health/…`, which need no key and never ask Dify.

    While `drain_file` exists the service asks for no more traffic, and serves what comes.
    """
    blueprint = flask.Blueprint("ops", __name__)

    @blueprint.get("/")
    def index() -> ResponseReturnValue:
        return json_response({"name": "OpenDify", "version": __version__, "api": "/v1"})

    @blueprint.get("/health/live")
    @blueprint.get("/health")
    def live() -> ResponseReturnValue:
        return json_response({"status": "ok"})

    @blueprint.get("/health/ready")
    def ready() -> ResponseReturnValue:
        if drain_file.exists():
            return json_response({"status": "draining"}, 503)
        # Dify is no part of readiness: a service without it still answers honestly.
        if store.is_reachable():
            return json_response({"status": "ok", "store": "ok"})
        return json_response({"status": "unready", "store": "unreachable"}, 503)

    return blueprint
