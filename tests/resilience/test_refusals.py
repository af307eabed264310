"""What Gunicorn refuses before the app sees it leaves as OpenAI's error JSON, whichever worker serves."""

import json
from collections.abc import Iterator

import pytest

from tests.fakes.live_dify import live_dify
from tests.resilience.server import RunningServer, running_server

WORKERS = {
    "plain": {"GUNICORN_THREADS": "1"},
    "threaded": {"GUNICORN_THREADS": "4"},
    "gevent": {"GUNICORN_WORKER_CLASS": "gevent"},
}
POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
SECRET = b"sk-canary"

REFUSED = {
    # what is sent: status, code
    "garbage": (b"\x16\x03\x01\x02\x00 garbage\r\n\r\n", 400, "bad_request"),
    "a header without a colon": (
        b"GET / HTTP/1.1\r\nAuthorization " + SECRET + b"\r\n\r\n",
        400,
        "bad_request",
    ),
    "a bare line feed": (b"GET / HTTP/1.1\nHost: localhost\n\n", 400, "bad_request"),
    "two lengths": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}", 400, "bad_request"),
    "a length and chunks": (
        POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        "bad_request",
    ),
    "chunks that are none": (POST + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n\r\n", 400, None),
    "a body that ends early": (POST + b"Content-Length: 2000001\r\n\r\n{}", 413, "request_too_large"),
    "a long URL": (b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n", 414, "uri_too_long"),
    "a URL without end": (b"GET /" + b"a" * 9_000, 414, "uri_too_long"),
    "a long header": (b"GET / HTTP/1.1\r\nX: " + b"a" * 9_000 + b"\r\n\r\n", 431, "headers_too_large"),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 200 + b"\r\n", 431, "headers_too_large"),
    "another expectation": (POST + b"Expect: miracles\r\n\r\n", 417, "expectation_failed"),
    "another version": (b"GET / HTTP/3.0\r\n\r\n", 505, "http_version_not_supported"),
    "another coding": (POST + b"Transfer-Encoding: br\r\n\r\n", 501, "unsupported_transfer_coding"),
}


@pytest.fixture(scope="module", params=WORKERS)
def server(request: pytest.FixtureRequest) -> Iterator[RunningServer]:
    with (
        live_dify() as dify,
        running_server(
            dify, GUNICORN_WORKERS="1", MAX_REQUEST_BYTES="2000000", **WORKERS[request.param]
        ) as server,
    ):
        yield server


@pytest.mark.parametrize(("sent", "status", "code"), REFUSED.values(), ids=REFUSED)
def test_a_refusal_is_openais_json_with_a_request_id_and_repeats_nothing(
    sent: bytes, status: int, code: str | None, server: RunningServer
) -> None:
    with server.client() as client:
        client.send(sent)
        head, _, body = client.read_until(b"}}").partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 %d " % status), head
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (error["type"], error["code"]) == ("invalid_request_error", code)
    assert b"x-request-id: req_" in head
    assert b"content-type: application/json" in head.lower()
    assert SECRET not in body
    assert SECRET.decode() not in server.log


def test_a_refusal_leaves_the_server_as_it_was(server: RunningServer) -> None:
    assert server.chat().status_code == 200
    assert "Traceback" not in server.log
