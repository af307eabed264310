"""Requests and answers are what Gunicorn's own code makes of them, byte for byte."""

import re
import socket
from collections.abc import Iterator, MutableMapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from gunicorn.config import Config
from gunicorn.http import errors, wsgi
from gunicorn.http.message import Request

from opendify.serving.answering import BODY, PlainAnswer, cached, connection_environ, request_environ
from opendify.serving.limits import ClientLimits
from opendify.serving.receiving import RequestReceiver

CLIENT, SERVER = ("192.0.2.7", 4_711), ("127.0.0.1", 8_000)
PROXY = ("127.0.0.1", 4_711)
LIMITS = ClientLimits(
    head_seconds=1,
    body_seconds=1,
    write_seconds=1,
    drain_seconds=1,
    most_body_bytes=1_000,
    most_form_bytes=1_000,
    spool_folder=Path("nowhere"),
)
QUESTION = b'{"model": "bench"}'

REQUESTS = {
    "chat": b"POST /v1/chat/completions?a=%20b HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
    b"Authorization: Bearer k\r\nX-Two: 1\r\nX-Two: 2\r\nContent-Length: 18\r\n\r\n" + QUESTION,
    "old": b"GET /v1/models HTTP/1.0\r\n\r\n",
    "encoded": b"GET /v1/models/%E4%BD%A0%2Fx HTTP/1.1\r\nHost: here\r\n\r\n",
    "absolute": b"GET http://there/v1/models HTTP/1.1\r\nHost: here\r\n\r\n",
    "bare": b"OPTIONS * HTTP/1.1\r\nHost: here\r\n\r\n",
}


def received(sent: bytes, client: tuple[str, int] = CLIENT) -> tuple[Request, bytes | None]:
    receiver = RequestReceiver(cached(Config()), client, LIMITS)
    receiver.feed(sent)
    request = next(receiver)
    return request, receiver.take_body() if receiver.has_body else None


def environments(
    sent: bytes, client: tuple[str, int] = CLIENT
) -> tuple[dict[str, Any], MutableMapping[str, Any]]:
    """Ours and Gunicorn's, without what cannot be equal."""
    connection = socket.socket()
    request, body = received(sent, client)
    assert body is not None
    shared = connection_environ(Config(), connection, client, SERVER)
    assert shared is not None
    ours = request_environ(shared, request, body)
    _, gunicorns = wsgi.create(request, connection, client, SERVER, Config())
    connection.close()
    assert ours.pop(BODY) == body == ours.pop("wsgi.input").read()
    for name in ("wsgi.errors", "wsgi.multithread", "wsgi.input", "wsgi.early_hints"):
        ours.pop(name, None)
        gunicorns.pop(name, None)
    return ours, gunicorns


@pytest.mark.parametrize("sent", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize("client", [CLIENT, PROXY], ids=["anybody", "trusted proxy"])
def test_a_request_has_gunicorns_environment(sent: bytes, client: tuple[str, int]) -> None:
    ours, gunicorns = environments(sent, client)

    assert ours == gunicorns


@pytest.mark.parametrize("header", [b"X-Forwarded-Proto: https", b"X-Forwarded-For: 1.2.3.4"])
@pytest.mark.parametrize("client", [CLIENT, PROXY], ids=["anybody", "trusted proxy"])
def test_proxies_are_believed_as_gunicorn_does(header: bytes, client: tuple[str, int]) -> None:
    ours, gunicorns = environments(b"GET / HTTP/1.1\r\nHost: here\r\n%b\r\n\r\n" % header, client)

    assert ours == gunicorns


def test_a_trusted_proxy_may_mount_the_app_below_a_path() -> None:
    ours, gunicorns = environments(
        b"GET /ai/v1/models HTTP/1.1\r\nHost: here\r\nSCRIPT_NAME: /ai\r\n\r\n", PROXY
    )

    assert (ours["SCRIPT_NAME"], ours["PATH_INFO"]) == ("/ai", "/v1/models")
    # Gunicorn shows the header a second time.
    assert ours == {name: value for name, value in gunicorns.items() if name != "HTTP_SCRIPT_NAME"}


def test_a_path_beside_the_mounted_one_is_refused() -> None:
    request, body = received(b"GET /v1/models HTTP/1.1\r\nHost: here\r\nSCRIPT_NAME: /ai\r\n\r\n", PROXY)
    shared = connection_environ(Config(), None, PROXY, SERVER)

    with pytest.raises(errors.ConfigurationProblem):
        request_environ(shared or {}, request, body or b"")


def test_a_unix_socket_has_no_environment_of_ours() -> None:
    assert connection_environ(Config(), None, "", "/run/opendify.sock") is None


def test_the_next_request_is_left_where_it_is() -> None:
    receiver = RequestReceiver(cached(Config()), CLIENT, LIMITS)
    receiver.feed(REQUESTS["chat"] + REQUESTS["encoded"])

    assert receiver.take_body() == QUESTION
    assert receiver.finish_body()
    receiver.begin_next()
    assert next(receiver).path == "/v1/models/%E4%BD%A0%2Fx"


def test_a_chunked_body_is_read_and_not_taken() -> None:
    _, body = received(b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n")

    assert body is None


def written(
    kind: type[wsgi.Response],
    sent: bytes,
    status: str,
    headers: list[tuple[str, str]],
    pieces: Sequence[bytes],
) -> bytes:
    request, _ = received(sent)
    client, server = socket.socketpair()
    with client, server:
        answer = kind(request, server, Config())
        answer.start_response(status, headers)
        for piece in pieces:
            answer.write(piece)
        answer.close()
        server.shutdown(socket.SHUT_WR)
        received_bytes = b"".join(iter(lambda: client.recv(65_536), b""))
    return re.sub(rb"\r\nDate: [^\r]*", b"\r\nDate: now", received_bytes)


def both(*arguments: object) -> Iterator[bytes]:
    return (written(kind, *arguments) for kind in (PlainAnswer, wsgi.Response))  # type: ignore[arg-type]


@pytest.mark.parametrize("sent", REQUESTS.values(), ids=REQUESTS)
@pytest.mark.parametrize(
    ("status", "headers", "pieces"),
    [
        ("200 OK", [("Content-Type", "text/event-stream")], [b"data: 1\n\n", b"", b"data: 2\n\n"]),
        ("200 OK", [("content-length", "4"), ("X-Name", " blank ")], [b"ab", b"cdef"]),
        ("200 OK", [("Content-Length", "0")], []),
        ("204 NO CONTENT", [("Content-Length", "0")], []),
        ("200 OK", [("Connection", "close"), ("Keep-Alive", "3"), ("X-Bytes", "\xe4")], [b"a"]),
        ("200 OK", [], []),
        ("304 NOT MODIFIED", [("ETag", "a")], []),
        ("404 NOT FOUND", [("Content-Length", "2"), ("X-Empty", "")], [b"no"]),
        ("200", [("X-Blanks", "a \t b"), ("Server", "mine"), ("Content-Length", "1")], [b"a"]),
    ],
    ids=["stream", "length", "empty", "no content", "hop by hop", "nothing", "as it was", "not found", "odd"],
)
def test_an_answer_is_gunicorns(
    sent: bytes, status: str, headers: list[tuple[str, str]], pieces: list[bytes]
) -> None:
    ours, gunicorns = both(sent, status, headers, pieces)

    assert ours == gunicorns


def test_head_and_first_piece_leave_together() -> None:
    request, _ = received(REQUESTS["chat"])
    client, server = socket.socketpair(type=socket.SOCK_SEQPACKET)
    with client, server:
        answer = PlainAnswer(request, server, Config())
        answer.start_response("200 OK", [("Content-Type", "text/event-stream")])
        answer.write(b"data: 1\n\n")

        head, _, body = client.recv(65_536).partition(b"\r\n\r\n")

    assert (head[:15], body) == (b"HTTP/1.1 200 OK", b"9\r\ndata: 1\n\n\r\n")


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("X-Name", "a\r\nSet-Cookie: b", "InvalidResponseHeader"),
        ("X-Name", "a\nb", "InvalidResponseHeader"),
        ("X-Name\r\nX-Other", "a", "InvalidResponseHeaderName"),
        ("X Name", "a", "InvalidResponseHeaderName"),
        ("X-Name", "\u4f60", "InvalidResponseHeader"),
    ],
)
def test_no_header_can_hold_another(name: str, value: str, error: str) -> None:
    request, _ = received(REQUESTS["chat"])

    with socket.socket() as connection, pytest.raises(getattr(errors, error)):
        PlainAnswer(request, connection, Config()).start_response(
            "200 OK", [("Content-Type", "text/plain"), (name, value), ("X-Last", "z")]
        )
