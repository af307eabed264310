"""A request's body, all of it or none; or piece by piece."""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING

import flask
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import RequestEntityTooLarge

from opendify.errors import InvalidRequest
from opendify.serving.answering import BODY

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def read_whole_body(environ: "WSGIEnvironment", most_bytes: int) -> bytes:
    """The raw body of a request that Flask does not know, once; raises as `read_body`."""
    received: bytes | None = environ.pop(BODY, None)
    if received is not None:
        # The environment lives as long as the answer; a long transcript need not.
        environ["wsgi.input"] = io.BytesIO()
        return _allowed(received, most_bytes)
    request = flask.Request(environ)
    request.max_content_length = most_bytes
    return read_body(request)


def read_body(request: flask.Request) -> bytes:
    """The raw body.

    Raises:
        RequestEntityTooLarge: It is longer than the app allows.
        InvalidRequest: The client left, took too long, or sent no well-formed chunks.
    """
    received: bytes | None = request.environ.get(BODY)
    if received is not None:
        return _allowed(received, request.max_content_length)
    try:
        body = request.get_data(cache=False)
    except (ParseException, OSError) as error:
        raise broken_off() from error
    limit, length = request.max_content_length, request.content_length
    if length is None and limit is not None and len(body) >= limit:
        raise RequestEntityTooLarge  # werkzeug stops reading there, and does not say so.
    if length is not None and len(body) < length:
        raise broken_off()
    return body


def _allowed(body: bytes, most_bytes: int | None) -> bytes:
    if most_bytes is not None and len(body) > most_bytes:
        raise RequestEntityTooLarge
    return body


def read_pieces(request: flask.Request, size: int) -> Iterator[bytes]:
    """The raw body, at most `size` bytes at a time; whoever reads it knows where it must end.

    Raises:
        RequestEntityTooLarge: It is longer than allowed.
        InvalidRequest: As for `read_body`.
    """
    stream = request.stream
    while True:
        try:
            piece = stream.read(size)
        except (ParseException, OSError) as error:
            raise broken_off() from error
        if not piece:
            return
        yield piece


def broken_off() -> InvalidRequest:
    """The request ended before its body did."""
    return InvalidRequest("The request's body broke off, or is not framed as its headers say.")
