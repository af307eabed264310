"""A request as it arrives: wherever it is cut, it is ready when all of it is there, and not before."""

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException

from opendify.serving.receiving import RequestReceiver

POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
MOST = 1_000_000

WHOLE = {
    "no body": (b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", b""),
    "after an empty line": (b"\r\nGET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", b""),
    "a length": (POST + b'Content-Length: 12\r\n\r\n{"a":\r\n\r\n1}\n', b'{"a":\r\n\r\n1}\n'),
    "no length at all": (POST + b"Content-Length: 0\r\n\r\n", b""),
    "chunks": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n3\r\n{\r\n\r\nA;x=1\r\n0\r\n\r\n12345\r\n0\r\n\r\n",
        b"{\r\n0\r\n\r\n12345",
    ),
    "chunks with trailers": (
        POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Sum: 1\r\nX-Two: 2\r\n\r\n",
        b"{}",
    ),
}


def _receiver(most: int = MOST) -> RequestReceiver:
    return RequestReceiver(Config(), ("127.0.0.1", 1), most_body_bytes=most)


def _body_of(receiver: RequestReceiver) -> bytes:
    body = next(receiver).body
    assert body
    return body.read()


@pytest.mark.parametrize(("sent", "body"), WHOLE.values(), ids=WHOLE)
def test_a_request_is_ready_with_its_last_byte(sent: bytes, body: bytes) -> None:
    receiver = _receiver()
    for at in range(len(sent)):
        assert not receiver.is_ready, sent[:at]
        receiver.feed(sent[at : at + 1])

    assert receiver.is_whole
    assert _body_of(receiver) == body


@pytest.mark.parametrize(("sent", "body"), WHOLE.values(), ids=WHOLE)
def test_what_comes_behind_a_request_is_the_next_ones(sent: bytes, body: bytes) -> None:
    for cut in range(1, 2 * len(sent)):
        receiver, both = _receiver(), sent + sent
        receiver.feed(both[:cut])
        if not receiver.is_ready:
            receiver.feed(both[cut:])
            cut = len(both)
        assert _body_of(receiver) == body
        assert receiver.finish_body()

        receiver.begin_next()
        receiver.feed(both[cut:])

        assert receiver.is_whole
        assert _body_of(receiver) == body


def test_a_large_body_comes_out_as_it_went_in() -> None:
    body = bytes(range(256)) * 3_000
    receiver = _receiver()
    receiver.feed(POST + b"Content-Length: %d\r\n\r\n" % len(body))
    for start in range(0, len(body), 65_536):
        receiver.feed(body[start : start + 65_536])

    assert _body_of(receiver) == body


NEVER_WHOLE = {
    "a line without end": (b"GET /" + b"a" * 10_000, LimitRequestLine),
    "headers without end": (b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 20_000, LimitRequestHeaders),
    "a bare line feed": (b"GET / HTTP/1.1\nHost: localhost\r\n", ParseException),
    "no HTTP at all": (b"\x16\x03\x01\r\n\r\n", ParseException),
}


@pytest.mark.parametrize(("sent", "error"), NEVER_WHOLE.values(), ids=NEVER_WHOLE)
def test_what_cannot_become_a_request_is_refused_before_its_end(sent: bytes, error: type[Exception]) -> None:
    receiver = _receiver()
    receiver.feed(sent)

    assert receiver.is_ready
    with pytest.raises(error):
        next(receiver)
    assert not receiver.finish_body()


@pytest.mark.parametrize(
    "framing",
    [b"Content-Length: 101\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n20000\r\n" + b"a" * 70_000],
)
def test_a_body_that_is_too_large_is_not_waited_for_and_ends_the_connection(framing: bytes) -> None:
    receiver = _receiver(most=100)
    receiver.feed(POST + framing)

    assert receiver.is_ready
    assert not receiver.is_whole
    assert not receiver.finish_body()


def test_chunks_that_are_none_are_for_the_parser_to_refuse() -> None:
    receiver = _receiver()
    receiver.feed(POST + b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n")

    assert receiver.is_ready
    with pytest.raises(ParseException):
        _body_of(receiver)


def test_a_client_that_waits_for_consent_is_told_once() -> None:
    receiver = _receiver()
    receiver.feed(POST + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")

    assert receiver.awaits_consent
    receiver.note_consent()
    assert not receiver.awaits_consent
