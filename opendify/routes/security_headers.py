"""What browsers are told of every answer: that it is no page, and nobody else's."""

from typing import Final

from opendify.serving.heads import Head

_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
    ("Referrer-Policy", "no-referrer"),
)
_NOT_KEPT: Final = (*_HEADERS, ("Cache-Control", "no-store"))


def add_security_headers(head: Head) -> None:
    """Mark every answer, errors and streams too; what may be kept says so itself."""
    head.headers += _HEADERS if "Cache-Control" in dict(head.headers) else _NOT_KEPT
