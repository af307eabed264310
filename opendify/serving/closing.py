"""Gunicorn drops an app's `Connection: close`; here it is told in its own words."""

from opendify.serving.heads import Head

_CLOSE = ("Connection", "close")


def close_where_asked(head: Head) -> None:
    """An answer with `Connection: close` is the last on its connection."""
    if _CLOSE in head.headers:
        # `start_response` is a method of Gunicorn's response; other servers obey the header.
        force_close = getattr(getattr(head.start_response, "__self__", None), "force_close", None)
        if force_close:
            force_close()
