"""How the benchmark reads what targets answer."""

import pytest

from benchmarks.answers import Answer
from benchmarks.dialects import DIFY, OPENAI, WrongAnswer, build_request, usual_door
from benchmarks.dify_frames import Frames
from benchmarks.directive import Directive, StampReader, answer_text, find_directive, piece_text, stamp
from benchmarks.http1 import chunk, join_chunks, read_head

STREAM_HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
TWO_PIECES = (
    b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":"00000~"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":"00001~"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b"data: [DONE]\n\n"
)


def streamed(body: bytes) -> bytes:
    return STREAM_HEAD + chunk(body) + b"0\r\n\r\n"


def answer_of(response: bytes, *, step: int | None = None) -> Answer:
    answer = Answer(kept=True)
    step = step or len(response)
    for start in range(0, len(response), step):
        assert not answer.is_whole
        answer.feed(response[start : start + step])
    return answer


def mocked_stream(pieces: int) -> bytes:
    frames = Frames(1)
    events = [*frames.pieces(map(piece_text, range(pieces))), frames.end()]
    return STREAM_HEAD + b"".join(map(chunk, events)) + b"0\r\n\r\n"


@pytest.mark.parametrize("dialect", ["openai", "dify"])
def test_a_directive_survives_the_request_it_travels_in(dialect: str) -> None:
    directive = Directive(pieces=200, least_gap_ms=0, most_gap_ms=20, stamped=True)

    request = build_request(usual_door(5000, dialect), directive, whole=False, prompt_bytes=1_000)

    assert find_directive(request) == directive


def test_a_body_without_a_directive_has_none() -> None:
    assert find_directive(b'{"query":"hello"}') is None


def test_pieces_are_six_bytes_and_tell_their_place() -> None:
    assert [piece_text(0), piece_text(41), piece_text(100_000)] == [b"00000~", b"00041~", b"00000~"]


@pytest.mark.parametrize("step", [1, 7, None], ids=["byte by byte", "in sevens", "at once"])
def test_a_streamed_answer_is_whole_however_it_is_cut(step: int | None) -> None:
    answer = answer_of(streamed(TWO_PIECES), step=step)

    assert answer.is_whole
    answer.check(OPENAI, whole=False, pieces=2)


def said_twice(body: bytes) -> Answer:
    answer = Answer(kept=True, copies=2)
    answer.feed(streamed(body.replace(b'{"content":"0', b'{"event":"~","content":"0')))
    return answer


def test_a_piece_that_is_said_twice_counts_once() -> None:
    answer = said_twice(TWO_PIECES)

    assert answer.pieces == 2
    answer.check(OPENAI, whole=False, pieces=2)


def test_a_piece_that_is_said_once_but_for_twice_is_wrong() -> None:
    with pytest.raises(WrongAnswer, match=r"1\.5 pieces of 2"):
        said_twice(TWO_PIECES.replace(b"00001~", b"00001")).check(OPENAI, whole=False, pieces=2)


@pytest.mark.parametrize("step", [1, None], ids=["byte by byte", "at once"])
def test_what_the_mock_streams_passes_the_check(step: int | None) -> None:
    answer = answer_of(mocked_stream(3), step=step)

    assert answer.is_whole
    answer.check(DIFY, whole=False, pieces=3)


def test_what_the_mock_answers_whole_passes_the_check() -> None:
    body = Frames(1).whole(3)

    answer = answer_of(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body), step=9)

    assert answer.is_whole
    answer.check(DIFY, whole=True, pieces=3)


def test_two_answers_of_the_mock_have_different_ids() -> None:
    texts = [piece_text(0)]

    assert list(Frames(1).pieces(texts)) != list(Frames(2).pieces(texts))


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (TWO_PIECES.replace(b"00001~", b"00001"), "1 pieces of 2"),
        (TWO_PIECES.replace(b"00000~", b"00002~"), "not in order"),
        (TWO_PIECES.replace(b"data: [DONE]\n\n", b""), r"does not end in `\[DONE\]`"),
        (TWO_PIECES.replace(b'"stop"', b'"length"'), "`stop` must be said once"),
        (TWO_PIECES.replace(b'"delta":{},', b""), "is no Chunk"),
        (TWO_PIECES.removesuffix(b"\n"), "ends inside an event"),
    ],
    ids=["short", "out of order", "not done", "another reason", "not a chunk", "cut"],
)
def test_a_wrong_stream_is_told_apart(body: bytes, fault: str) -> None:
    with pytest.raises(WrongAnswer, match=fault):
        answer_of(streamed(body)).check(OPENAI, whole=False, pieces=2)


def test_an_error_status_is_a_fault_that_shows_the_body() -> None:
    refused = b'HTTP/1.1 429 TOO MANY\r\nContent-Length: 9\r\n\r\n{"error"}'

    with pytest.raises(WrongAnswer, match=r'status 429: .*"error"'):
        answer_of(refused).check(OPENAI, whole=False, pieces=1)


def test_a_head_tells_length_and_whether_the_connection_stays() -> None:
    head = read_head(b"HTTP/1.1 200 OK\r\ncontent-length: 12\r\nConnection: close")

    assert (head.status, head.content_length, head.closes_connection) == (200, 12, True)


@pytest.mark.parametrize("body", [b"3\r\nabcd\r\n0\r\n\r\n", b"0\r\n\r\nmore"], ids=["wrong size", "rest"])
def test_a_malformed_chunked_body_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="chunk"):
        join_chunks(body)


def test_stamps_tell_the_age_of_their_pieces_wherever_reads_cut_them() -> None:
    now = 12_345_678_900
    response = streamed(b"".join(stamp(now - age) + b'","x":"' for age in (0, 20_000, 3_000_000_000)))

    for cut in range(len(response)):
        ages = StampReader()
        assert ages.feed(response[:cut], now) + ages.feed(response[cut:], now) == [0.0, 0.00002, 3.0]


def test_a_stamp_has_the_form_of_a_piece() -> None:
    assert len(stamp(0)) == len(piece_text(0))


def test_a_text_is_the_same_in_pieces_and_whole() -> None:
    assert answer_text(2) == "00000~00001~"
