"""A body is read once, and the request's environment does not outlive it."""

import io
from typing import Any

import pytest
from werkzeug.exceptions import RequestEntityTooLarge

from opendify.serving.answering import BODY
from opendify.serving.request_body import read_whole_body


def test_a_body_that_was_read_is_no_longer_held_by_the_environment() -> None:
    environ: dict[str, Any] = {BODY: b"what was asked", "wsgi.input": io.BytesIO(b"what was asked")}

    assert read_whole_body(environ, 100) == b"what was asked"

    assert BODY not in environ
    assert environ["wsgi.input"].read() == b""


def test_a_body_that_is_too_long_is_refused() -> None:
    with pytest.raises(RequestEntityTooLarge):
        read_whole_body({BODY: b"what was asked"}, 5)
