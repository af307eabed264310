"""Chats go past Flask; everything else goes through it, and nobody can tell the two apart."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import flask
import pytest
from werkzeug.test import Client

from opendify.errors import RequestTooLarge
from opendify.routes.express import Express
from opendify.routes.ready import ReadyAnswer
from opendify.telemetry.requests import ObservedRequests
from tests.conftest import Serve
from tests.fakes.openai_errors import assert_openai_error

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

CHAT = {"model": "bot", "messages": [{"role": "user", "content": "Hi"}]}


def _behind(_environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    start_response("200 OK", [])
    return [b"behind"]


def _fail() -> ReadyAnswer:
    raise RequestTooLarge("too much")


def _told(error: Exception) -> ReadyAnswer:
    return ReadyAnswer((str(error).encode(),), [], 413)


VIEWS = {"/v1/here": lambda: ReadyAnswer((b"here",), []), "/v1/faulty": _fail}


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("POST", "/v1/here", 200, "here"),
        ("GET", "/v1/here", 200, "behind"),
        ("OPTIONS", "/v1/here", 200, "behind"),
        ("POST", "/v1/here/", 200, "behind"),
        ("POST", "/v1/elsewhere", 200, "behind"),
        ("POST", "/v1/faulty", 413, "too much"),
    ],
)
def test_only_what_is_posted_to_a_view_is_answered_here(
    method: str, path: str, status: int, body: str
) -> None:
    response = Client(ObservedRequests(Express(_behind, VIEWS, _told))).open(path, method=method)

    assert (response.status_code, response.text) == (status, body)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/v1/chat/completions", "/chat/completions/"])
def test_flask_hears_of_no_chat(serve: Serve, path: str) -> None:
    client = serve()
    client.application.before_request(lambda: flask.Response(status=418))

    assert client.post(path, json=CHAT).status_code == 200
    assert client.post(path, json={**CHAT, "stream": True}).status_code == 200
    assert client.get("/v1/models").status_code == 418


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
def test_flask_knows_of_the_urls_all_the_same(serve: Serve, path: str) -> None:
    response = serve().get(path)

    assert_openai_error(response, 405, "method_not_supported")
    assert set(response.allow) == {"POST", "OPTIONS"}


def test_a_view_gives_flask_the_same_answer() -> None:
    closed: list[str] = []
    ready = ReadyAnswer((b"a", b"b"), [("Content-Type", "text/plain")], 202, lambda: closed.append("closed"))

    with flask.Flask("any").test_request_context(), ready.as_response() as response:
        assert (response.status, response.headers["Content-Type"]) == ("202 ACCEPTED", "text/plain")
        assert b"".join(response.get_app_iter(flask.request.environ)) == b"ab"

    assert closed == ["closed"]


def test_a_status_that_http_does_not_know_is_no_fault() -> None:
    begun: list[str] = []

    def start_response(status: str, *_: object) -> Callable[[bytes], object]:
        begun.append(status)
        return bytes

    ReadyAnswer((), [], 499)({}, start_response)

    assert begun == ["499 UNKNOWN"]
