"""What browsers are told of every answer: that it is no page, and nobody else's."""

from typing import TYPE_CHECKING, Final

from opendify.serving.heads import Fields, HeadMiddleware

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

_HEADERS: Final = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'; sandbox"),
    ("Referrer-Policy", "no-referrer"),
)
_NOT_KEPT: Final = (*_HEADERS, ("Cache-Control", "no-store"))


class SecurityHeaders(HeadMiddleware):
    """Marks every answer, errors and streams too; what may be kept says so itself."""

    def fields(self, headers: Fields, start_response: "StartResponse") -> Fields:  # noqa: ARG002 - The base's.
        """As in the base class."""
        return [*headers, *(_HEADERS if "Cache-Control" in dict(headers) else _NOT_KEPT)]
