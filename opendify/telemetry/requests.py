"""A request's id, and the one line that its end leaves in the log."""

import logging
import secrets
import time

import flask

from opendify.telemetry.observation import Observation

logger = logging.getLogger("opendify.requests")


def observe_requests(app: flask.Flask) -> None:
    """Give every answer, errors included, its `x-request-id`, and tell of it when its last byte left."""
    app.before_request(_begin)
    app.after_request(_finish)


def observation() -> Observation:
    """That of the request at hand."""
    observed: Observation = flask.g.observation
    return observed


def _begin() -> None:
    flask.g.request_id = f"req_{secrets.token_hex(12)}"
    flask.g.log_fields = {}
    flask.g.observation = Observation(
        request_id=flask.g.request_id, began_at=time.monotonic(), method=flask.request.method
    )


def _finish(response: flask.Response) -> flask.Response:
    response.headers["x-request-id"] = flask.g.request_id
    observed, more_fields = observation(), flask.g.log_fields
    # The rule, since a path may name a person.
    observed.route = flask.request.url_rule.rule if flask.request.url_rule else "none"
    observed.status = response.status_code
    observed.first_byte_at = time.monotonic()

    def end() -> None:
        observed.end()
        fields = {
            "request_id": observed.request_id,
            "method": observed.method,
            "route": observed.route,
            "status": observed.status,
            "first_byte_seconds": (observed.first_byte_at or 0.0) - observed.began_at,
        }
        logger.info("request ended", extra={**fields, **more_fields, "seconds": observed.seconds})

    response.call_on_close(end)
    return response
