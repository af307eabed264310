import gzip
from collections.abc import Iterable

import pytest

from opendify.dify.exchange import Arrival, Head
from opendify.dify.http_answer import AnswerParser

_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_CHUNKED = _HEAD + b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"
_STREAM = Head(200, "text/event-stream", None)


def read(parser: AnswerParser, pieces: Iterable[bytes]) -> tuple[Head | None, bytes, bool]:
    """The head, the body and whether its end came."""
    arrivals: list[Arrival] = [arrival for piece in pieces for arrival in parser.feed(piece)]
    head = next((each for each in arrivals if isinstance(each, Head)), None)
    return head, b"".join(each for each in arrivals if isinstance(each, bytes)), None in arrivals


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
def test_an_answer_may_arrive_in_pieces_of_any_size(size: int) -> None:
    pieces = [_CHUNKED[start : start + size] for start in range(0, len(_CHUNKED), size)]
    parser = AnswerParser()

    assert read(parser, pieces) == (_STREAM, b"hello world", True)
    assert parser.leaves_connection_usable


def test_chunks_that_came_together_are_joined() -> None:
    assert AnswerParser().feed(_CHUNKED) == [_STREAM, b"hello world", None]


def test_one_answer_follows_another() -> None:
    parser = AnswerParser()
    for _ in range(3):
        parser.expect()
        assert read(parser, [_CHUNKED]) == (_STREAM, b"hello world", True)


@pytest.mark.parametrize("cut", [0, 10, len(_HEAD), len(_HEAD) + 4, len(_CHUNKED) - 2])
def test_an_answer_that_is_cut_is_not_whole(cut: int) -> None:
    parser = AnswerParser()

    _, _, ended = read(parser, [piece for piece in (_CHUNKED[:cut], b"") if piece or cut == 0])
    parser.feed(b"")

    assert not ended
    assert parser.failure is not None
    assert not parser.leaves_connection_usable


def test_what_came_before_a_broken_chunk_is_given() -> None:
    parser = AnswerParser()

    assert parser.feed(_HEAD + b"5\r\nhello\r\nzz\r\n") == [_STREAM, b"hello"]
    assert parser.failure is not None


def test_an_interim_answer_is_passed_over() -> None:
    parser = AnswerParser()

    assert read(parser, [b"HTTP/1.1 100 Continue\r\n\r\n" + _CHUNKED]) == (_STREAM, b"hello world", True)


def test_without_a_length_the_end_of_the_connection_is_that_of_the_body() -> None:
    parser = AnswerParser()

    answer = read(parser, [b"HTTP/1.1 503 No\r\nRetry-After: 7\r\n\r\nlater", b""])

    assert answer == (Head(503, "", "7"), b"later", True)
    assert not parser.leaves_connection_usable


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nhi",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhiand more",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi" + _CHUNKED,
    ],
    ids=["old HTTP", "close", "garbage behind", "an answer that nobody asked for"],
)
def test_a_connection_is_not_used_again_after(answer: bytes) -> None:
    parser = AnswerParser()

    head, body, ended = read(parser, [answer])

    assert (head, body, ended) == (Head(200, "", None), b"hi", True)
    assert not parser.leaves_connection_usable


def test_an_answer_that_a_gateway_compressed_is_read() -> None:
    body = gzip.compress(b"hello")
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body)

    assert read(AnswerParser(), [head, body[:9], body[9:]]) == (Head(200, "", None), b"hello", True)


def _gzipped(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def test_all_members_of_a_compressed_answer_are_read() -> None:
    body = gzip.compress(b"hello") + gzip.compress(b" world")

    assert read(AnswerParser(), [_gzipped(body)]) == (Head(200, "", None), b"hello world", True)


def test_a_compressed_answer_that_was_cut_is_not_whole() -> None:
    parser = AnswerParser()

    _, _, ended = read(parser, [_gzipped(gzip.compress(b"hello")[:-6])])

    assert not ended
    assert parser.failure is not None


def test_an_encoding_that_was_not_asked_for_is_refused() -> None:
    parser = AnswerParser()
    parser.feed(b"HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx")

    assert parser.failure is not None


@pytest.mark.parametrize("line", [b"X-Same: field\r\n", b"x"], ids=["many fields", "one field"])
def test_a_head_without_an_end_is_not_kept(line: bytes) -> None:
    parser = AnswerParser()
    parser.feed(b"HTTP/1.1 200 OK\r\nX: ")

    for _ in range(100):
        parser.feed(line * (10_000 // len(line)))
        if parser.failure:
            return
    pytest.fail("a million bytes of a head were taken")
