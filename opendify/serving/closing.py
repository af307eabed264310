"""Gunicorn drops an app's `Connection: close`; here it is told in its own words."""

from typing import TYPE_CHECKING

from opendify.serving.heads import Fields, HeadMiddleware

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

_CLOSE = ("Connection", "close")


class ClosingConnections(HeadMiddleware):
    """An answer with `Connection: close` is the last on its connection."""

    def fields(self, headers: Fields, start_response: "StartResponse") -> Fields:
        """As in the base class."""
        if _CLOSE in headers:
            # `start_response` is a method of Gunicorn's response; other servers obey the header.
            force_close = getattr(getattr(start_response, "__self__", None), "force_close", None)
            if force_close:
                force_close()
        return headers
