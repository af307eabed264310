"""Thinking that models write into their answer, told apart from the answer."""

import re
from collections.abc import Callable, Iterator, Sequence

from opendify.translate.turn import (
    ReplyEnded,
    ReplyEvent,
    TextDelta,
    TextReplaced,
    ThoughtDelta,
    lets_none_pass,
    text_deltas,
    thought_deltas,
)

# Dify 0.15 turns `<think>` into a `<details>` block with this summary; later versions pass it through.
_OPENING = re.compile(
    # Bounded, so that a large text full of brackets costs no more than its length.
    r"<think(?:\s[^>]{0,200})?>"
    r"|<details[^>]{0,200}>\s{0,20}<summary>\s{0,20}Thinking\.\.\.\s{0,20}</summary>",
    re.IGNORECASE,
)
_SUMMARY = "<summary>thinking...</summary>"
_LONGEST_OPENING = 300


class ThoughtSplitter:
    """Turns `<think>…</think>` inside the text into `ThoughtDelta`s; one object a stream.

    Tags may be cut anywhere, bear attributes and stand in any case; an unclosed
    one counts to the end. White space around a thought, and between a leading
    thought and the answer, belongs to neither.
    """

    heeds = (TextDelta, TextReplaced, ReplyEnded)

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._held = ""
        self._closing_tag = ""
        self._thought_was_seen = False
        self._at_start_of_thought = False
        self._content_began = False

    def feed(self, event: ReplyEvent) -> Sequence[ReplyEvent]:
        """See `ReplyFilter.feed`."""
        match event:
            case TextDelta(text):
                return self._split(text)
            case TextReplaced(text):
                self._reset()
                pieces = [*self._split(text), *self._flush()]
                self._reset()
                said = "".join(piece.text for piece in pieces if isinstance(piece, TextDelta))
                return (TextReplaced(said),)
            case ReplyEnded():
                return (*self._flush(), event)
            case _:
                return (event,)

    @property
    def lets_pass(self) -> Callable[[str], bool]:
        """See `ReplyFilter.lets_pass`."""
        is_between_tags = self._content_began and not self._held and not self._closing_tag
        return _begins_no_tag if is_between_tags else lets_none_pass

    def _split(self, text: str) -> list[TextDelta | ThoughtDelta]:
        pieces: list[TextDelta | ThoughtDelta] = []
        self._held += text
        tag_was_passed = True
        while tag_was_passed:
            if self._closing_tag:
                thought, tag_was_passed = self._take_thought()
                pieces += thought_deltas(thought)
            else:
                content, tag_was_passed = self._take_content()
                pieces += text_deltas(content)
        return pieces

    def _take_content(self) -> tuple[str, bool]:
        """Content that can go, and whether an opening tag ended it."""
        opening = _OPENING.search(self._held)
        if opening is None:
            safe = _start_of_possible_opening(self._held)
            if not self._content_began and self._held[:safe].isspace():
                return "", False  # It is the answer's, unless a thought follows.
            content, self._held = self._held[:safe], self._held[safe:]
            return self._without_gap(content), False
        content, self._held = self._held[: opening.start()], self._held[opening.end() :]
        if not self._content_began and content.isspace():
            content = ""
        content = self._without_gap(content)
        self._closing_tag = "</think>" if opening[0][:6].lower() == "<think" else "</details>"
        self._thought_was_seen = self._at_start_of_thought = True
        return content, True

    def _take_thought(self) -> tuple[str, bool]:
        """Thinking that can go, and whether a closing tag ended it."""
        if self._at_start_of_thought:
            self._held = self._held.lstrip()
            self._at_start_of_thought = not self._held
        closing = re.search(self._closing_tag, self._held, re.IGNORECASE)
        if closing is None:
            safe = len(self._held) - _length_of_partial_tag(self._held, self._closing_tag)
            thought = self._held[:safe].rstrip()
            self._held = self._held[len(thought) :]
            return thought, False
        thought, self._held = self._held[: closing.start()].rstrip(), self._held[closing.end() :]
        self._closing_tag = ""
        return thought, True

    def _without_gap(self, content: str) -> str:
        if self._thought_was_seen and not self._content_began:
            content = content.lstrip()
        self._content_began = self._content_began or bool(content)
        return content

    def _flush(self) -> Sequence[TextDelta | ThoughtDelta]:
        held, self._held = self._held, ""
        if self._closing_tag:
            return thought_deltas(held.rstrip())
        return text_deltas(self._without_gap(held))


class ThoughtDropper:
    """Leaves the model's thinking out; stands behind a `ThoughtSplitter`."""

    heeds = (ThoughtDelta,)
    lets_pass = None

    def feed(self, event: ReplyEvent) -> Iterator[ReplyEvent]:
        """See `ReplyFilter.feed`."""
        if not isinstance(event, ThoughtDelta):
            yield event


class ThoughtInliner:
    """Writes thoughts that Dify sends apart into the text, as `<think>` blocks."""

    heeds = (ThoughtDelta, TextDelta, TextReplaced, ReplyEnded)

    def __init__(self) -> None:
        self._inside = False

    def feed(self, event: ReplyEvent) -> Iterator[ReplyEvent]:
        """See `ReplyFilter.feed`."""
        match event:
            case ThoughtDelta(text):
                yield TextDelta(text if self._inside else f"<think>\n{text}")
                self._inside = True
            case TextDelta() | ReplyEnded() if self._inside:
                self._inside = False
                yield TextDelta("\n</think>\n\n")
                yield event
            case TextReplaced():
                self._inside = False
                yield event
            case _:
                yield event

    @property
    def lets_pass(self) -> Callable[[str], bool] | None:
        """See `ReplyFilter.lets_pass`; a thought ends before any text."""
        return lets_none_pass if self._inside else None


def _begins_no_tag(text: str) -> bool:
    return "<" not in text


def _start_of_possible_opening(text: str) -> int:
    """Where an opening tag that is not whole yet may begin; the text's length if nowhere."""
    position = text.find("<", max(0, len(text) - _LONGEST_OPENING))
    while position >= 0:
        if _may_become_opening(text[position:]):
            return position
        position = text.find("<", position + 1)
    return len(text)


def _may_become_opening(tail: str) -> bool:
    tail = tail.lower()
    if "<think".startswith(tail) or "<details".startswith(tail):
        return True
    if tail.startswith("<think"):
        return tail[6].isspace() and ">" not in tail
    if tail.startswith("<details"):
        _, bracket, rest = tail.partition(">")
        return not bracket or _SUMMARY.startswith("".join(rest.split()))
    return False


def _length_of_partial_tag(text: str, tag: str) -> int:
    """How many characters at the end of `text` may be the start of `tag`."""
    sizes = range(min(len(tag) - 1, len(text)), 0, -1)
    return next((size for size in sizes if text[-size:].lower() == tag[:size]), 0)
