"""A request's id, and the one line that its end leaves in the log."""

import logging
import secrets
import time

import flask

logger = logging.getLogger("opendify.requests")


def observe_requests(app: flask.Flask) -> None:
    """Give every answer, errors included, its `x-request-id`, and log it when its last byte left."""
    app.before_request(_begin)
    app.after_request(_finish)


def _begin() -> None:
    flask.g.request_id = f"req_{secrets.token_hex(12)}"
    flask.g.began_at = time.monotonic()
    flask.g.log_fields = {}


def _finish(response: flask.Response) -> flask.Response:
    response.headers["x-request-id"] = flask.g.request_id
    fields = {
        "request_id": flask.g.request_id,
        "method": flask.request.method,
        # The rule, since a path may name a person.
        "route": flask.request.url_rule.rule if flask.request.url_rule else "none",
        "status": response.status_code,
    }
    began_at, more_fields = flask.g.began_at, flask.g.log_fields
    fields["first_byte_seconds"] = time.monotonic() - began_at

    def log() -> None:
        seconds = time.monotonic() - began_at
        logger.info("request ended", extra={**fields, **more_fields, "seconds": seconds})

    response.call_on_close(log)
    return response
