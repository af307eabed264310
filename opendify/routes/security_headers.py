"""What browsers are told of every answer: that it is no page, and nobody else's."""

from typing import Final

import flask

_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
    ("Referrer-Policy", "no-referrer"),
)


def install_security_headers(app: flask.Flask) -> None:
    """Mark every answer, errors and streams too; what may be kept says so itself."""

    @app.after_request
    def mark(response: flask.Response) -> flask.Response:
        headers = response.headers
        headers.extend(_HEADERS)
        if "Cache-Control" not in headers:
            headers["Cache-Control"] = "no-store"
        return response
