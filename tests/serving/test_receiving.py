"""A request as it arrives: wherever it is cut, it is ready when all of it is there, and not before."""

from pathlib import Path
from time import thread_time

import pytest
from gunicorn.config import Config
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException
from gunicorn.http.message import Request

from opendify.errors import FileStorageFull
from opendify.serving.limits import ClientLimits
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


def _limits(most: int = MOST, spool_folder: Path = Path("/nonexistent")) -> ClientLimits:
    return ClientLimits(
        head_seconds=1,
        body_seconds=1,
        write_seconds=1,
        drain_seconds=1,
        most_body_bytes=most,
        most_form_bytes=20 * MOST,
        spool_folder=spool_folder,
    )


def _receiver(most: int = MOST, spool_folder: Path = Path("/nonexistent")) -> RequestReceiver:
    return RequestReceiver(Config(), ("127.0.0.1", 1), _limits(most, spool_folder))


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


@pytest.mark.parametrize("value", ["a{}b", "{}b", "a{}", "{}"])
def test_blanks_take_no_time_wherever_they_stand_in_a_head(value: str) -> None:
    """The thread that reads for all clients takes each head apart."""
    sent = value.format(" \t" * 3_900)
    receiver = _receiver()
    began_at = thread_time()
    for _ in range(20):
        receiver.feed(b"GET / HTTP/1.1\r\nX-Blanks:%s\r\n\r\n" % sent.encode())
        assert next(receiver).headers == [("X-BLANKS", sent.strip())]
        receiver.begin_next()

    assert thread_time() - began_at < 1


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


FORM = (
    b"POST /v1/files HTTP/1.1\r\nHost: localhost\r\n"
    b"Content-Type: Multipart/Form-Data; boundary=b\r\nContent-Length: %d\r\n\r\n"
)


class TestLargeForms:
    def test_most_of_one_waits_on_the_disk(self, tmp_path: Path) -> None:
        body = bytes(range(256)) * 20_000
        receiver = _receiver(spool_folder=tmp_path / "incoming")
        receiver.feed(FORM % len(body))
        for at in range(0, len(body), 50_000):
            assert not receiver.is_ready
            receiver.feed(body[at : at + 50_000])

        assert receiver.is_whole
        assert receiver.received_bytes - receiver.bytes_on_disk < 1_200_000
        assert list((tmp_path / "incoming").iterdir()) == [], "the file has no name"
        assert _body_of(receiver) == body
        receiver.begin_next()
        assert receiver.bytes_on_disk == 0

    def test_what_comes_behind_it_is_the_next_request(self, tmp_path: Path) -> None:
        body = b"x" * 2_000_000
        sent = FORM % len(body) + body
        receiver = _receiver(spool_folder=tmp_path)
        bodies = []
        for at in range(0, 2 * len(sent), 30_000):
            receiver.feed((sent + sent)[at : at + 30_000])
            if receiver.is_ready:
                bodies.append(_body_of(receiver))
                assert receiver.finish_body()
                receiver.begin_next()

        assert bodies == [body, body]
        assert receiver.received_bytes == 0

    def test_other_bodies_never_touch_the_disk(self) -> None:
        receiver = _receiver(most=5_000_000)
        receiver.feed(POST + b"Content-Length: 4000000\r\n\r\n")
        receiver.feed(b"x" * 4_000_000)

        assert receiver.bytes_on_disk == 0
        assert _body_of(receiver) == b"x" * 4_000_000

    def test_one_may_be_larger_than_other_bodies_and_is_refused_beyond_its_own_limit(self) -> None:
        for length, is_refusable in ((19 * MOST, False), (21 * MOST, True)):
            receiver = _receiver()
            receiver.feed(FORM % length)
            assert receiver.is_ready is is_refusable

    def test_its_client_gets_more_time_for_each_large_part(self, tmp_path: Path) -> None:
        receiver = _receiver(spool_folder=tmp_path)
        receiver.feed(FORM % (15 * MOST))
        steps = 0
        for _ in range(14):
            receiver.feed(b"x" * MOST)
            steps += receiver.passed_a_step()

        assert steps == 2
        receiver.forget()

    def test_where_the_disk_takes_no_more_it_is_refused_in_words(self, tmp_path: Path) -> None:
        (tmp_path / "in the way").write_text("")
        receiver = _receiver(spool_folder=tmp_path / "in the way" / "incoming")
        receiver.feed(FORM % (5 * MOST))
        for _ in range(3):
            receiver.feed(b"x" * MOST)

        assert receiver.is_ready
        with pytest.raises(FileStorageFull):
            next(receiver)


class _Gunicorns(RequestReceiver):
    """Every head is read by Gunicorn's own parser."""

    mesg_class = Request
    read_plain = staticmethod(lambda *_: None)


HEADS = {
    "of a client": b"Host: here\r\nContent-Type: application/json\r\nX-Stainless-Lang: python\r\n"
    b"Authorization:Bearer k \r\nContent-Length: 0",
    "values of all kinds": b"Host: h\xc3\xa9re\r\nX-Empty:\r\nX-Tab: a\tb\r\nX-Colon: a:b: c",
    "a name twice": b"Host: here\r\nX-Two: 1\r\nx-two: 2",
    "Host twice": b"Host: here\r\nhost: there",
    "a folded line": b"Host: here\r\nX-Long: one\r\n two",
    "a space before the colon": b"Host : here",
    "no colon": b"Host: here\r\nX-None",
    "no name": b"Host: here\r\n: none",
    "an underscore": b"Host: here\r\nX_Real: 1\r\nX-Real: 2",
    "letters of no name": b"Host: here\r\nX-\xdf: 1",
    "a control character": b"Host: here\r\nX-Bell: \x07",
    "NUL": b"Host: here\r\nX-Nul: a\x00b",
    "an LF alone": b"Host: here\r\nX-One: a\nX-Two: b",
    "a CR alone": b"Host: here\r\nX-One: a\rX-Two: b",
    "consent": b"Host: here\r\nExpect: 100-Continue\r\nContent-Length: 3",
    "another expectation": b"Host: here\r\nExpect: wonders",
    "a scheme": b"Host: here\r\nX-Forwarded-Proto: https",
    "two schemes": b"Host: here\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Ssl: off",
    "chunks and a length": b"Host: here\r\nTransfer-Encoding: chunked\r\nContent-Length: 3",
    "two lengths": b"Content-Length: 3\r\nContent-Length: 3",
    "no length": b"Content-Length: -3",
    "too many": b"\r\n".join(b"X-%d: 1" % number for number in range(101)),
    "too long": b"Host: here\r\nX-Long: " + b"x" * 8_200,
    "many and long": b"\r\n".join(b"X-%d: %b" % (number, b"x" * 200) for number in range(99)),
}


@pytest.mark.parametrize("peer", ["127.0.0.1", "203.0.113.9"], ids=["a trusted peer", "a stranger"])
@pytest.mark.parametrize("fields", HEADS.values(), ids=HEADS)
def test_a_head_means_what_it_means_to_gunicorn(fields: bytes, peer: str) -> None:
    sent = b"POST /v1/chat/completions HTTP/1.1\r\n" + fields + b"\r\n\r\n"

    assert _meaning(RequestReceiver, sent, peer) == _meaning(_Gunicorns, sent, peer)


LINES = (
    b"GET / HTTP/1.1",
    b"GET /v1/models?limit=%20&b=?x/y HTTP/1.1",
    b"GET /v1/models? HTTP/1.1",
    b"DELETE /v1/a;b=c,d@e%E4%BD%A0!$&'()*+=:~|\"<> HTTP/1.1",
    b"GET //there/v1 HTTP/1.1",
    b"GET /a//b HTTP/1.1",
    b"GET /v1/models#part HTTP/1.1",
    b"GET /v1/models?a#part HTTP/1.1",
    b"GET http://there/v1/models HTTP/1.1",
    b"GET there:80 HTTP/1.1",
    b"OPTIONS * HTTP/1.1",
    b"CONNECT /v1 HTTP/1.1",
    b"get /v1 HTTP/1.1",
    b"MOVE /v1 HTTP/1.1",
    b"GET /v1 HTTP/1.0",
    b"GET /v1 HTTP/2.0",
    b"GET /v1 HTTP/1.1 ",
    b"GET  /v1 HTTP/1.1",
    b"GET /v\x7f HTTP/1.1",
    b"GET /v\xe4 HTTP/1.1",
    b"GET /v\x00 HTTP/1.1",
    b"GET /%b HTTP/1.1" % (b"x" * 4_079),
    b"GET /%b HTTP/1.1" % (b"x" * 4_080),
    b"GET /%b HTTP/1.1" % (b"x" * 4_090),
)


@pytest.mark.parametrize("line", LINES)
def test_a_request_line_means_what_it_means_to_gunicorn(line: bytes) -> None:
    sent = line + b"\r\nHost: here\r\n\r\n"

    assert _meaning(RequestReceiver, sent, "127.0.0.1") == _meaning(_Gunicorns, sent, "127.0.0.1")


@pytest.mark.parametrize("wish", [b"close", b"Close", b"keep-alive", b"close, upgrade", b"upgrade", b""])
def test_who_wants_to_go_is_let_go_as_gunicorn_does(wish: bytes) -> None:
    sent = b"GET / HTTP/1.1\r\nHost: here\r\nConnection: %b\r\n\r\n" % wish

    assert _meaning(RequestReceiver, sent, "127.0.0.1") == _meaning(_Gunicorns, sent, "127.0.0.1")


def test_what_is_left_of_a_plain_request_s_body_is_read_by_gunicorn() -> None:
    receiver = _receiver()
    receiver.feed(b"POST / HTTP/1.1\r\nHost: here\r\nContent-Length: 3\r\n\r\nabcGET / HTTP/1.1\r\n")

    body = next(receiver).body
    assert body is not None
    assert body.read(2) == b"ab"
    assert receiver.finish_body()
    receiver.begin_next()
    assert receiver.received_bytes == len(b"GET / HTTP/1.1\r\n")


def _meaning(kind: type[RequestReceiver], sent: bytes, peer: str) -> object:
    receiver = kind(Config(), (peer, 1), _limits())
    receiver.feed(sent)
    try:
        request = next(receiver)
    except (ParseException, StopIteration) as error:
        return type(error), str(error)
    line = (request.method, request.uri, request.path, request.query, request.fragment, request.version)
    end = (receiver.awaits_consent, receiver.is_whole, receiver.has_body, request.should_close())
    return line, request.headers, request.scheme, end
