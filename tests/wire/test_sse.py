import json
import time

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from opendify.wire.sse import DONE, KEEP_ALIVE, SSEDecoder, encode_json, frame

# Machines that build may be slow; what counts is the answer.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def decode(*chunks: bytes) -> list[bytes]:
    decoder = SSEDecoder()
    return [payload for chunk in chunks for payload in decoder.feed(chunk)]


def byte_by_byte(stream: bytes) -> list[bytes]:
    return [stream[place : place + 1] for place in range(len(stream))]


@pytest.mark.parametrize(
    ("stream", "payloads"),
    [
        pytest.param(b"data: a\n\n", [b"a"], id="LF"),
        pytest.param(b"data: a\r\n\r\n", [b"a"], id="CR LF"),
        pytest.param(b"data: a\r\r", [b"a"], id="CR"),
        pytest.param(b"data: a\r\n\ndata: b\r\rdata: c\n\r\n", [b"a", b"b", b"c"], id="mixed line ends"),
        pytest.param(b"data: a\n\ndata: b\n\n", [b"a", b"b"], id="two events"),
        pytest.param(b"data: a\n\n\n\n\ndata: b\n\n", [b"a", b"b"], id="spare blank lines"),
        pytest.param(b"data:a\n\n", [b"a"], id="no space"),
        pytest.param(b"data:  a\n\n", [b" a"], id="only one space belongs to the field"),
        pytest.param(b"data: {\ndata: }\n\n", [b"{\n}"], id="several data lines"),
        pytest.param(b"data: a\ndata:\ndata: b\n\n", [b"a\n\nb"], id="an empty line in the middle"),
        pytest.param(b"data:\n\n", [b""], id="empty data"),
        pytest.param(b"event: ping\n\n", [], id="no data"),
        pytest.param(b"event: ping\n\ndata: a\n\n", [b"a"], id="a ping before an event"),
        pytest.param(b": keep-alive\n\ndata: a\n\n", [b"a"], id="a comment before an event"),
        pytest.param(b"data: a\n: keep-alive\ndata: b\n\n", [b"a\nb"], id="a comment inside an event"),
        pytest.param(b": data: a\n\n", [], id="data in a comment"),
        pytest.param(b"event: message\nid: 7\nretry: 5\ndata: a\n\n", [b"a"], id="other fields"),
        pytest.param(b"database: a\n\n", [], id="another field that begins alike"),
        pytest.param(b"data: a: b\n\n", [b"a: b"], id="a colon in the data"),
        pytest.param(b"\xef\xbb\xbfdata: a\n\n", [b"a"], id="byte order mark"),
        pytest.param(
            b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [b"a"], id="a byte order mark counts at the start alone"
        ),
        pytest.param(b"data: a\n\ndata: b\n", [b"a"], id="the last event lacks its blank line"),
        pytest.param(b"data: a\n\ndata: b", [b"a"], id="the last line lacks its end"),
        pytest.param(b"", [], id="nothing"),
        pytest.param(
            "data: a\u2028b\u2029c\u0085d\n\n".encode(),
            ["a\u2028b\u2029c\u0085d".encode()],
            id="Unicode's line ends are text",
        ),
        pytest.param(
            b"data: a\x0bb\x0cc\x1cd\x00e\n\n", [b"a\x0bb\x0cc\x1cd\x00e"], id="control characters are text"
        ),
        pytest.param("data: 你好 🙂\n\n".encode(), ["你好 🙂".encode()], id="UTF-8"),
        pytest.param(b"data: \xff\xfe\n\n", [b"\xff\xfe"], id="not UTF-8"),
    ],
)
def test_a_stream_is_decoded_alike_whole_and_byte_by_byte(stream: bytes, payloads: list[bytes]) -> None:
    assert decode(stream) == payloads
    assert decode(*byte_by_byte(stream)) == payloads


@pytest.mark.parametrize(
    ("chunks", "payloads"),
    [
        pytest.param([b"data: a\r", b"\n\r\n"], [b"a"], id="between CR and LF of a line"),
        pytest.param(
            [b"data: a\r\n\r", b"\ndata: b\r\n\r\n"], [b"a", b"b"], id="between CR and LF of the end"
        ),
        pytest.param([b"data: a\r", b"", b"\n\r\n"], [b"a"], id="an empty chunk between CR and LF"),
        pytest.param([b"data: a\r", b"\rdata: b\r\r"], [b"a", b"b"], id="CR and CR"),
        pytest.param([b"data: a\r", b"data: b\r\r"], [b"a\nb"], id="CR ends a line by itself"),
        pytest.param(["data: 🙂".encode()[:8], "🙂\n\n".encode()[2:]], ["🙂".encode()], id="in a character"),
        pytest.param([b"\xef", b"\xbb", b"\xbfdata: a\n\n"], [b"a"], id="in the byte order mark"),
        pytest.param([b"da", b"ta: a\n", b"\n"], [b"a"], id="in the field's name"),
    ],
)
def test_an_event_may_be_cut_anywhere(chunks: list[bytes], payloads: list[bytes]) -> None:
    assert decode(*chunks) == payloads


def test_an_event_is_given_as_soon_as_its_blank_line_begins() -> None:
    decoder = SSEDecoder()

    assert decoder.feed(b"data: a\r\n") == []
    assert decoder.feed(b"\r") == [b"a"]
    assert decoder.feed(b"\ndata: b\r\n\r\n") == [b"b"]


_line_end = st.sampled_from([b"\n", b"\r\n", b"\r"])
_payload = st.binary().filter(lambda payload: b"\n" not in payload and b"\r" not in payload)
_noise = st.sampled_from([b": keep-alive", b"event: ping", b"id: 1", b":", b"retry: 10"])


@st.composite
def _streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    stream, payloads = b"", []
    for payload in draw(st.lists(_payload, max_size=5)):
        end = draw(_line_end)
        for line in draw(st.lists(_noise, max_size=2)):
            stream += line + end
        stream += b"data: " + payload + end + end
        payloads.append(payload)
    return stream, payloads


@unhurried
@given(_streams(), st.data())
@example((b"\xef\xbb\xbfdata: a\r\n\r\n", [b"a"]), None)
def test_frames_cut_anywhere_give_the_same(
    stream: tuple[bytes, list[bytes]], data: st.DataObject | None
) -> None:
    encoded, payloads = stream
    places = st.lists(st.integers(0, len(encoded)), max_size=8)
    cuts = sorted(data.draw(places)) if data else [1, 2, 11, 12]
    chunks = [encoded[start:end] for start, end in zip([0, *cuts], [*cuts, len(encoded)], strict=True)]

    assert decode(*chunks) == payloads
    assert decode(*byte_by_byte(encoded)) == payloads


def test_an_event_of_ten_megabytes_in_small_pieces_takes_time_in_proportion() -> None:
    payload = b"x" * 10_000_000
    stream = b"data: " + payload + b"\n\n"
    pieces = [stream[place : place + 1_000] for place in range(0, len(stream), 1_000)]

    begun = time.process_time()
    assert decode(*pieces) == [payload]

    # A decoder that joined what it has at every piece would move 50 GB.
    assert time.process_time() - begun < 2


@pytest.mark.parametrize(
    ("shape", "encoded"),
    [
        pytest.param({"a": "b", "c": [1, None, True]}, b'{"a":"b","c":[1,null,true]}', id="compact"),
        pytest.param({"a": "你好"}, '{"a":"你好"}'.encode(), id="raw UTF-8"),
        pytest.param({"a": "🙂"}, '{"a":"🙂"}'.encode(), id="beyond the basic plane"),
        pytest.param({"a": "\u2028"}, rb'{"a":"\u2028"}', id="line separator"),
        pytest.param({"a": "\u2029"}, rb'{"a":"\u2029"}', id="paragraph separator"),
        pytest.param({"a": "\u0085"}, rb'{"a":"\u0085"}', id="next line"),
        pytest.param({"a": "\x00"}, rb'{"a":"\u0000"}', id="NUL"),
        pytest.param({"a": "\r\n"}, rb'{"a":"\r\n"}', id="line ends"),
        pytest.param({"a": "“ ” … —"}, '{"a":"“ ” … —"}'.encode(), id="neighbours of the separators"),
        pytest.param({"a": "“\u2028”"}, '{"a":"“\\u2028”"}'.encode(), id="a separator among its neighbours"),
        pytest.param(
            {"a": "Å \u0084 \u0086"}, '{"a":"Å \u0084 \u0086"}'.encode(), id="neighbours of next line"
        ),
        pytest.param({"a": "\\u2028"}, rb'{"a":"\\u2028"}', id="text that looks like an escape"),
        pytest.param({"\u2028": 1}, rb'{"\u2028":1}', id="in a key"),
        pytest.param({"a": "\ud83d"}, rb'{"a":"\ud83d"}', id="high surrogate alone"),
        pytest.param({"a": "\ude42"}, rb'{"a":"\ude42"}', id="low surrogate alone"),
        pytest.param({"a": "\ud83d\u2028"}, rb'{"a":"\ud83d\u2028"}', id="a lone surrogate and a separator"),
        pytest.param({"\ud83d": 1}, rb'{"\ud83d":1}', id="a lone surrogate in a key"),
        pytest.param({"a": 2**70}, b'{"a":1180591620717411303424}', id="an integer of any size"),
        pytest.param({"a": float("nan")}, b'{"a":null}', id="not a number"),
        pytest.param(
            {"a": float("nan"), "b": "\ud83d"},
            rb'{"a":null,"b":"\ud83d"}',
            id="not a number beside a lone surrogate",
        ),
    ],
)
def test_json_is_safe_on_one_line(shape: object, encoded: bytes) -> None:
    assert encode_json(shape) == encoded


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=10,
)


@unhurried
@given(_json)
@example({"a": "\ud800\u2028\x00“"})
def test_any_json_survives_on_one_line(shape: object) -> None:
    encoded = encode_json(shape)

    assert json.loads(encoded) == shape
    assert len(encoded.decode().splitlines()) == 1


def test_a_frame_is_one_data_line_and_a_blank_line() -> None:
    assert frame(b"{}") == b"data: {}\n\n"
    assert DONE == b"data: [DONE]\n\n"


def test_a_keep_alive_is_a_comment_that_no_data_line_sticks_to() -> None:
    assert KEEP_ALIVE == b": keep-alive\n\n"
    assert decode(KEEP_ALIVE + frame(b"{}")) == [b"{}"]


@unhurried
@given(st.lists(_json, max_size=5))
def test_what_is_framed_can_be_decoded(shapes: list[object]) -> None:
    stream = b"".join(frame(encode_json(shape)) for shape in shapes)

    assert [json.loads(payload) for payload in decode(*byte_by_byte(stream))] == shapes


def test_a_byte_order_mark_is_only_taken_off_at_the_start() -> None:
    decoder = SSEDecoder()

    assert decoder.feed(b"\xef\xbb\xbfdata: 1\n\n") == [b"1"]
    assert SSEDecoder().feed(b"data: 1\n\n\xef\xbb\xbfdata: 2\n\ndata: 3\n\n") == [b"1", b"3"]


def test_a_byte_order_mark_after_a_whole_event_is_part_of_its_line() -> None:
    decoder = SSEDecoder()
    decoder.feed(b"data: 1\n\n")

    assert decoder.feed(b"\xef\xbb\xbfdata: 2\n\n") == []


@pytest.mark.parametrize(
    "chunk",
    [
        b"data: 1\n\nevent: ping\n\ndata: 2\n\n",
        b"data: 1\ndata: 2\n\ndata: 3\n\n",
        b"data: 1\n\n\ndata: 2\n\n",
        b"data: 1\n\ndata:2\n\n",
        b": comment\n\ndata: 2\n\n",
    ],
)
def test_what_is_not_only_events_of_one_line_is_read_line_by_line(chunk: bytes) -> None:
    decoder = SSEDecoder()

    assert SSEDecoder().feed(chunk) == [payload for byte in chunk for payload in decoder.feed(bytes([byte]))]
