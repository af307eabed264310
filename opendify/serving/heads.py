"""WSGI middleware that sees the head of each answer before the server does."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

Fields = list[tuple[str, str]]


class HeadMiddleware(ABC):
    """`fields` says what becomes of a head; see PEP 3333."""

    def __init__(self, app: "WSGIApplication") -> None:
        self._app = app

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """See PEP 3333."""

        def start(
            status: str, headers: Fields, exc_info: "ExcInfo | None" = None, /
        ) -> Callable[[bytes], object]:
            return start_response(status, self.fields(headers, start_response), exc_info)

        return self._app(environ, start)

    @abstractmethod
    def fields(self, headers: Fields, start_response: "StartResponse") -> Fields:
        """What becomes of `headers`; `start_response` is the server's, or that of the next middleware."""
