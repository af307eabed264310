"""Reading bodies and writing answers: what all routes share."""

import functools
import logging
import re
import string
from collections.abc import Mapping
from itertools import chain
from urllib.parse import quote

import flask
from werkzeug.exceptions import HTTPException

from opendify.access.keys import KeyRing
from opendify.errors import (
    DifyAuthError,
    GatewayError,
    InternalError,
    InvalidRequest,
    MethodNotSupported,
    RequestTooLarge,
    RouteNotFound,
)
from opendify.routes.headers import RequestHeaders
from opendify.routes.paths import ORIGINAL_PATH
from opendify.routes.ready import ReadyAnswer
from opendify.runs.reply_stream import ReplyStream
from opendify.serving.request_body import read_body
from opendify.telemetry.instruments import STREAMS
from opendify.telemetry.observation import watched
from opendify.telemetry.requests import environ_at_hand, observation
from opendify.translate.turn import ReplyStarted
from opendify.wire.openai_errors import RequestT, parse_request
from opendify.wire.sse import encode_json

# What a header's value may hold as it is; the rest of a model's name is percent-encoded.
_PLAIN_IN_NAMES = string.punctuation.replace("%", "")
STREAM_HEADERS = (
    ("Content-Type", "text/event-stream; charset=utf-8"),
    ("Cache-Control", "no-cache"),
    ("X-Accel-Buffering", "no"),
)
_HEADER_VALUE = re.compile(r"[\x21-\x7e]+")

logger = logging.getLogger(__name__)


def parse(shape: type[RequestT]) -> RequestT:
    """The request's body, whatever its `Content-Type` says: curl's default is a form's."""
    return parse_request(shape, read_body(flask.request))


def json_response(
    body: Mapping[str, object], status: int = 200, headers: Mapping[str, str] | None = None
) -> ReadyAnswer:
    """`body` as JSON."""
    return json_bytes(encode_json(body), status, headers)


def json_bytes(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> ReadyAnswer:
    """`body` is JSON."""
    fields = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    return ReadyAnswer((body,), [*fields, *headers.items()] if headers else fields, status)


def event_stream(stream: ReplyStream) -> ReadyAnswer:
    """The stream, begun: what fails before its first byte is still an HTTP status.

    Raises:
        GatewayError: It failed before its first byte.
    """
    frames = stream.frames()
    beginning = watched(frames, stream.observation, lambda: stream.has_text)
    first = next(beginning)
    ids = dify_headers(stream.started, memory_was_lost=stream.memory_was_lost)
    STREAMS.add()

    def close() -> None:
        frames.close()
        STREAMS.add(by=-1)

    return ReadyAnswer(chain((first,), beginning, frames), [*STREAM_HEADERS, *ids.items()], close=close)


def dify_headers(started: ReplyStarted | None, *, memory_was_lost: bool) -> Mapping[str, str]:
    """Dify's ids and the model that answers, as far as they are known when the headers leave.

    They also tell whether Dify's memory is gone.
    """
    ids = {
        "X-OpenDify-Model": _in_header(started.answered_by if started else None),
        "X-OpenDify-Memory": "lost" if memory_was_lost else None,
        "X-Dify-Conversation-Id": started and started.conversation_id,
        "X-Dify-Message-Id": started and started.message_id,
        "X-Dify-Workflow-Run-Id": started and started.workflow_run_id,
    }
    return {name: value for name, value in ids.items() if value and _HEADER_VALUE.fullmatch(value)}


@functools.lru_cache(maxsize=256)
def _in_header(model: str | None) -> str | None:
    return model and quote(model, safe=_PLAIN_IN_NAMES)


class Failures:
    """Every failure, of any route or none, as one of OpenAI's JSON errors."""

    def __init__(self, keys: KeyRing, most_body_bytes: int) -> None:
        """Longer bodies are refused, but for routes that say how much they take."""
        self._keys = keys
        self._most_body_bytes = most_body_bytes

    def answer(self, error: Exception) -> ReadyAnswer:
        """What the client is told of it."""
        match error:
            case DifyAuthError():
                environ = environ_at_hand()
                headers, address = RequestHeaders(environ), environ.get("REMOTE_ADDR")
                return _answer_gateway_error(self._keys.refused_at_dify(headers, address) or error)
            case GatewayError():
                return _answer_gateway_error(error)
            case HTTPException():
                return self._answer_http_error(error)
            case _:
                logger.error("a request failed by a fault of ours", exc_info=error)
                words = "The server had an error while processing your request."
                return _answer_gateway_error(InternalError(words))

    def _answer_http_error(self, error: HTTPException) -> ReadyAnswer:
        environ = environ_at_hand()
        path = environ["PATH_INFO"]
        url = f"{environ['REQUEST_METHOD']} {environ.get(ORIGINAL_PATH, path)}"
        match error.code:
            case 404:
                return _answer_gateway_error(RouteNotFound(f"Invalid URL ({url})"))
            case 405:
                answer = _answer_gateway_error(MethodNotSupported(f"Not allowed on this URL ({url})"))
                answer.headers += [each for each in error.get_headers() if each[0] != "Content-Type"]
                return answer
            case 413:
                return _answer_gateway_error(
                    RequestTooLarge(f"The request body is too large: {self._limit()} bytes are allowed.")
                )
            case _:
                return _answer_gateway_error(InvalidRequest(error.description or error.name))

    def _limit(self) -> int | None:
        """Routes that take files tell Flask theirs."""
        return flask.request.max_content_length if flask.has_request_context() else self._most_body_bytes


def _answer_gateway_error(error: GatewayError) -> ReadyAnswer:
    observation().error = error
    model = _in_header(error.model)
    headers = {**error.headers(), "X-OpenDify-Model": model} if model else error.headers()
    return json_response(error.to_body(), error.status, headers)
