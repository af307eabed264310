"""WSGI middleware that sees the head of each answer before the server does."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec

from opendify.telemetry.requests import begin_answer

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

Fields = list[tuple[str, str]]
# Named here, since a function within a function has its annotations made anew each time.
Write = Callable[[bytes], object]


class Head(msgspec.Struct):
    """Of the answer to the request of `environ`; `start_response` is the server's."""

    environ: "WSGIEnvironment"
    headers: Fields
    start_response: "StartResponse"


class Heads:
    """Shows each head to its rules, in their order, which may change it; `app` observes its requests."""

    def __init__(self, app: "WSGIApplication", *rules: Callable[[Head], None]) -> None:
        self._app = app
        self._rules = rules

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """See PEP 3333."""

        def start(status: str, headers: Fields, exc_info: "ExcInfo | None" = None, /) -> Write:
            head = Head(environ, [*headers, *begin_answer(environ, status)], start_response)
            for rule in self._rules:
                rule(head)
            return start_response(status, head.headers, exc_info)

        return self._app(environ, start)
