"""A request's body, all of it or none."""

import flask
from gunicorn.http.errors import ParseException
from werkzeug.exceptions import RequestEntityTooLarge

from opendify.errors import InvalidRequest


def read_body(request: flask.Request) -> bytes:
    """The raw body.

    Raises:
        RequestEntityTooLarge: It is longer than the app allows.
        InvalidRequest: The client left, took too long, or sent no well-formed chunks.
    """
    try:
        body = request.get_data(cache=False)
    except (ParseException, OSError) as error:
        raise _broken_off() from error
    limit, length = request.max_content_length, request.content_length
    if length is None and limit is not None and len(body) >= limit:
        raise RequestEntityTooLarge  # werkzeug stops reading there, and does not say so.
    if length is not None and len(body) < length:
        raise _broken_off()
    return body


def _broken_off() -> InvalidRequest:
    return InvalidRequest("The request's body broke off, or is not framed as its headers say.")
