"""A request's id, and the one line that its end leaves in the log."""

import logging
import secrets
import time
from collections.abc import Mapping
from functools import partial

import flask
from flask.globals import request_ctx

from opendify.telemetry.logs import REQUEST_LOGGER
from opendify.telemetry.observation import NO_MODEL, Observation
from opendify.telemetry.tracing import Tracing

logger = logging.getLogger(REQUEST_LOGGER)


def observe_requests(app: flask.Flask, tracing: Tracing | None = None) -> None:
    """Give every answer, errors included, its `x-request-id`, and tell of it when its last byte left."""

    app.before_request(_begin)
    if tracing:
        app.before_request(partial(_begin_trace, tracing))
    app.after_request(_finish)


def this_request() -> flask.Request:
    """The request at hand; `flask.request` looks for it with each of its names."""
    return request_ctx.request


def observation() -> Observation:
    """That of the request at hand."""
    observed: Observation = flask.g.observation
    return observed


def _begin_trace(tracing: Tracing) -> None:
    observation().trace = tracing.begin(flask.request.method, flask.request.headers)


def _begin() -> None:
    flask.g.observation = Observation(
        request_id=f"req_{secrets.token_hex(12)}", began_at=time.monotonic(), method=flask.request.method
    )


def _finish(response: flask.Response) -> flask.Response:
    observed, rule = observation(), flask.request.url_rule
    response.headers.add("x-request-id", observed.request_id)
    # The rule, since a path may name a person.
    observed.route = rule.rule if rule else "none"
    observed.status = response.status_code
    observed.first_byte_at = time.monotonic()

    def end() -> None:
        observed.end()
        if logger.isEnabledFor(logging.INFO):
            logger.info("request ended", extra=_fields(observed))

    response.call_on_close(end)
    return response


def _fields(seen: Observation) -> Mapping[str, object]:
    """What the line says; what a request does not have is left out."""
    first_byte_at = seen.began_at if seen.first_byte_at is None else seen.first_byte_at
    always = {
        "request_id": seen.request_id,
        "method": seen.method,
        "route": seen.route,
        "status": seen.status,
        "outcome": seen.outcome,
        "first_byte_seconds": round(first_byte_at - seen.began_at, 6),
        "seconds": round(seen.seconds, 6),
    }
    sometimes = {
        "key": seen.key,
        "error": seen.error.code if seen.error else seen.minor_error,
        **(_chat_fields(seen) if seen.model != NO_MODEL else {}),
    }
    return {**always, **{name: value for name, value in sometimes.items() if value}}


def _chat_fields(seen: Observation) -> Mapping[str, object]:
    return {
        "model": seen.model,
        "answered_by": seen.answered_by if seen.answered_by != seen.model else None,
        "mode": seen.mode,
        "stream": seen.streams,
        "repeat": seen.is_repeat,
        "memory_lost": seen.memory_was_lost,
        "prompt_tokens": seen.prompt_tokens,
        "completion_tokens": seen.completion_tokens,
    }
