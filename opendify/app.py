"""The composition root: settings in, a Flask app out; opens nothing."""

import time

import flask

from opendify.access.keys import KeyRing
from opendify.dify.client import DifyClient, TransportFactory
from opendify.gateway import Gateway
from opendify.records import Clock
from opendify.routes.answers import register_error_handlers
from opendify.routes.cors import install_cors
from opendify.routes.ops import ops_blueprint
from opendify.routes.paths import CanonicalPaths
from opendify.routes.v1 import v1_blueprint
from opendify.settings import Settings
from opendify.telemetry.requests import observe_requests


def create_app(
    settings: Settings,
    *,
    transport: TransportFactory | None = None,
    clock: Clock = time.monotonic,
    now: Clock = time.time,
) -> flask.Flask:
    """The service as a WSGI app.

    Connections are made by each process on first use, since the app is loaded once
    and then forked.

    Args:
        transport: Makes the transport to Dify, in place of httpx's own.
        clock: Monotonic seconds, for limits.
        now: Unix time, for `created`.
    """
    keys = KeyRing(settings)
    gateway = Gateway(settings, DifyClient(settings, transport=transport, clock=clock), clock=clock, now=now)
    app = flask.Flask("opendify", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_request_bytes
    app.url_map.merge_slashes = False
    observe_requests(app)
    install_cors(app, settings, keys)
    register_error_handlers(app)
    app.extensions["opendify"] = gateway
    app.register_blueprint(v1_blueprint(gateway, keys))
    app.register_blueprint(ops_blueprint())
    # Flask's own way to put a middleware in front of an app.
    app.wsgi_app = CanonicalPaths(app.wsgi_app, settings.url_prefix)  # type: ignore[method-assign]
    return app
