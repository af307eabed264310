"""The short way for chats: an exact table of URLs, and no Flask around the view.

Routing, contexts, hooks and responses of Flask's take as long as everything else that happens on a
request's way to Dify. Nothing about a chat needs them: its view asks the WSGI environment for what it
wants to know, and returns a `ReadyAnswer`. The views are Flask's too, so that it knows of their URLs.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from opendify.routes.ready import ReadyAnswer
from opendify.telemetry.requests import observation

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

View = Callable[[], ReadyAnswer]


class Express:
    """WSGI middleware: who posts to one of `views` is answered by it, all others by the app behind."""

    def __init__(
        self,
        app: "WSGIApplication",
        views: Mapping[str, View],
        answer_failure: Callable[[Exception], ReadyAnswer],
    ) -> None:
        """`views` by their URLs' paths."""
        self._app = app
        self._views = views
        self._answer_failure = answer_failure

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """See PEP 3333."""
        path = environ["PATH_INFO"]
        view = self._views.get(path) if environ["REQUEST_METHOD"] == "POST" else None
        if view is None:
            return self._app(environ, start_response)
        observation().route = path
        try:
            answer = view()
        except Exception as error:  # noqa: BLE001 - As Flask's handlers do.
            answer = self._answer_failure(error)
        return answer(environ, start_response)
