"""Responses that are ready when they are made."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import flask
from werkzeug.wsgi import ClosingIterator

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from werkzeug.datastructures import Headers


class ReadyResponse(flask.Response):
    """Of bytes, and with every header that it needs: werkzeug has nothing to add and to encode."""

    def get_wsgi_headers(self, environ: "WSGIEnvironment") -> "Headers":  # noqa: ARG002 - The base's signature.
        """As in the base class."""
        return self.headers

    def get_app_iter(self, environ: "WSGIEnvironment") -> Iterable[bytes]:
        """As in the base class."""
        if environ["REQUEST_METHOD"] == "HEAD":
            return super().get_app_iter(environ)
        # Whoever makes one gives it bytes.
        return ClosingIterator(self.response, self.close)  # type: ignore[arg-type]
