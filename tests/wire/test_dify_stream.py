"""A stream's bytes give the events that decoding each by itself gives, however they come."""

import json
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opendify.wire.dify import MessageEnd, Messages, StreamEvent, decode_event
from opendify.wire.dify_stream import EventDecoder
from opendify.wire.sse import SSEDecoder

IDS = {"conversation_id": "c", "message_id": "m", "created_at": 1, "task_id": "t", "id": "m"}
END = b'data: {"event":"message_end","task_id":"t"}\n\n'


def message(answer: str, *, selector: object = None, escaped: bool = False) -> bytes:
    """As Dify writes it; older versions escape what is not ASCII."""
    event = {"event": "message", **IDS, "answer": answer, "from_variable_selector": selector}
    separators = None if escaped else (",", ":")
    return b"data: " + json.dumps(event, ensure_ascii=escaped, separators=separators).encode() + b"\n\n"


def events_of(reads: list[bytes]) -> list[StreamEvent]:
    decoder = EventDecoder()
    return [event for read in reads for event in decoder.feed(read)]


def one_by_one(events: list[StreamEvent]) -> Iterator[StreamEvent]:
    for event in events:
        if isinstance(event, Messages):
            yield from event.one_by_one()
        else:
            yield event


def decoded_each(body: bytes) -> list[StreamEvent]:
    return [decode_event(payload) for payload in SSEDecoder().feed(body)]


def test_messages_that_are_like_the_first_come_together() -> None:
    _, *others = events_of([message("a") + message(" b") + message("线") + END])

    together, end = others
    assert isinstance(together, Messages)
    assert (together.text, together.texts) == (" b线", [b" b", "线".encode()])
    assert list(together.one_by_one()) == decoded_each(message(" b") + message("线"))
    assert isinstance(end, MessageEnd)


def test_one_message_a_read_is_known_by_the_first() -> None:
    events = events_of([message("a"), message("b"), message("c")])

    assert [type(event) for event in events[1:]] == [Messages, Messages]


def test_a_stream_that_begins_to_write_its_texts_in_another_way_is_known_again() -> None:
    events = events_of([message(text, selector=selector) for selector in (None, ["n"]) for text in "abc"])

    assert [isinstance(event, Messages) for event in events] == [False, True, True, False, True, True]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(message('say "b"'), id="an escape"),
        pytest.param(message("b\n"), id="an escaped line end"),
        pytest.param(message(""), id="nothing said"),
        pytest.param(message("\u2028"), id="what a client may take for a line end"),
        pytest.param(message("b").replace(b'"t"', b'"u"'), id="another task"),
        pytest.param(message("b").replace(b"\n\n", b"\r\n\r\n"), id="other line ends"),
        pytest.param(b": " + message("b"), id="a comment"),
        pytest.param(b"event: ping", id="a ping that is not whole"),
        pytest.param(message("b")[:-12], id="an event that is not whole"),
        pytest.param(b'","from_variable_selector":null}\n\n', id="the end of one"),
    ],
)
def test_whatever_is_not_quite_like_it_is_decoded_by_itself(other: bytes) -> None:
    events = events_of([message("a"), other])

    assert not any(isinstance(event, Messages) for event in events)
    assert events == decoded_each(message("a") + other)


def test_halves_of_a_character_in_two_events_do_not_make_one() -> None:
    decoder = EventDecoder()
    decoder.feed(message("a"))
    halves = message("X") + message("Y")

    decoder.feed(halves.replace(b"X", b"\xc3").replace(b"Y", b"\xa9"))

    assert decoder.failure


def test_what_came_before_an_event_that_cannot_be_read_is_given() -> None:
    decoder = EventDecoder()

    events = decoder.feed(message("a") + b"data: {\n\n" + message("b"))

    assert list(one_by_one(events)) == decoded_each(message("a"))
    assert decoder.failure


TEXTS = st.text(max_size=6) | st.sampled_from(
    ["a", " b", "线", 'x":"y', '","answer":"', "\\", "\n\n", "data: "]
)


@given(st.lists(TEXTS, max_size=12), st.booleans(), st.lists(st.integers(1, 400), min_size=1, max_size=9))
def test_any_texts_cut_anywhere_are_those_that_were_sent(
    texts: list[str], escaped: bool, sizes: list[int]
) -> None:
    encodable = [text.encode("utf-8", "ignore").decode() for text in texts]
    body = b"".join(message(text, escaped=escaped) for text in encodable) + END
    reads: list[bytes] = []
    position = 0
    while position < len(body):
        size = sizes[len(reads) % len(sizes)]
        reads.append(body[position : position + size])
        position += size

    assert list(one_by_one(events_of(reads))) == decoded_each(body)
