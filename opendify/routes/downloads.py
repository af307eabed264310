"""A kept file as a response that a browser saves, or shows where that does no harm."""

from collections.abc import Iterator
from contextlib import closing
from typing import Final
from urllib.parse import quote

import flask

from opendify.files.base import Content, StoredFile

_PIECE_BYTES: Final = 65_536


def download(file: StoredFile, content: Content, *, disposition: str = "attachment") -> flask.Response:
    """The content; whatever it is, it is no page of this host, and runs nothing."""
    response = flask.Response(_pieces(content), content_type=file.mime_type)
    # Nobody reads it for a HEAD.
    response.call_on_close(content.close)
    response.content_length = file.bytes
    response.headers["Content-Disposition"] = f"{disposition}; {_named(file.filename)}"
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    return response


def _named(filename: str) -> str:
    """The name in both forms: the second one is for names that the first cannot hold (RFC 6266)."""
    plain = filename.encode("ascii", "replace").decode()
    for odd in '"\\%':
        plain = plain.replace(odd, "_")
    return f"filename=\"{plain}\"; filename*=UTF-8''{quote(filename, safe='')}"


def _pieces(content: Content) -> Iterator[bytes]:
    with closing(content):
        while piece := content.read(_PIECE_BYTES):
            yield piece
