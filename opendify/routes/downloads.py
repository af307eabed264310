"""A kept file as a response that a browser saves, or shows where that does no harm."""

import re
from collections.abc import Iterator
from contextlib import closing
from typing import Final
from urllib.parse import quote

import flask

from opendify.files.base import Content, StoredFile

_PIECE_BYTES: Final = 65_536
_SHOWN: Final = re.compile(r"image/(png|jpeg|gif|webp|avif|bmp)|(audio|video)/[\w.+-]+|text/plain")
# An `img` shows a picture that is to be saved, and runs none of its scripts; so SVG keeps its type.
_ACTIVE: Final = re.compile(r"html|xml|script|svg")


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


def shown_or_saved(file: StoredFile, content: Content) -> flask.Response:
    """For links: what a browser shows without running anything is shown, all else is to be saved."""
    if _SHOWN.fullmatch(file.mime_type):
        return download(file, content, disposition="inline")
    response = download(file, content)
    if _ACTIVE.search(file.mime_type) and file.mime_type != "image/svg+xml":
        response.content_type = "application/octet-stream"
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
