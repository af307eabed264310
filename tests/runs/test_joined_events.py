"""What is kept of an answer while it comes."""

import tracemalloc

from opendify.runs.joined_events import JoinedEvents
from opendify.translate.turn import (
    ReplyEnded,
    ReplyEvent,
    ReplyStarted,
    TextDelta,
    TextReplaced,
    ThoughtDelta,
)

STARTED, ENDED = ReplyStarted("task-1", "message-1", "conversation-1"), ReplyEnded()


def joined(*events: ReplyEvent) -> JoinedEvents:
    kept = JoinedEvents()
    for event in events:
        kept.add(event)
    return kept


def test_neighbouring_deltas_are_one() -> None:
    kept = joined(
        STARTED,
        *map(ThoughtDelta, "ab"),
        *map(TextDelta, "cde"),
        ThoughtDelta("f"),
        TextReplaced("g"),
        *map(TextDelta, "hi"),
        ENDED,
    )

    assert kept.take() == [
        STARTED,
        ThoughtDelta("ab"),
        TextDelta("cde"),
        ThoughtDelta("f"),
        TextReplaced("g"),
        TextDelta("hi"),
        ENDED,
    ]


def test_no_character_is_changed() -> None:
    pieces = ["\r", "\n", "\r\n", "\u2028", "\x00", "\ud83d", "\ude00", "客服 😀"]

    assert joined(*map(TextDelta, pieces)).take() == [TextDelta("".join(pieces))]


def test_what_was_taken_is_gone() -> None:
    kept = joined(TextDelta("a"))
    assert kept

    assert kept.take() == [TextDelta("a")]

    assert not kept
    kept.add(TextDelta("b"))
    assert kept.take() == [TextDelta("b")]


def test_a_long_answer_takes_hardly_more_room_than_its_text() -> None:
    kept = JoinedEvents()
    tracemalloc.start()
    try:
        for number in range(10_000):
            kept.add(TextDelta(f"{number:09}"))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert size < 2 * 90_000
    assert kept
