"""A line of the audit log: JSON that holds the digest of the line before, and its own."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

BEFORE_THE_FIRST: Final = "0" * 64
TORN: Final = "torn"
"""The fact of an entry that follows a line which a crash left unfinished: that line's digest."""


@dataclass(frozen=True, slots=True)
class Link:
    """Where the chain stands: the number of an entry, from 1, and its digest."""

    number: int
    digest: str


START: Final = Link(0, BEFORE_THE_FIRST)


@dataclass(frozen=True, slots=True)
class Finding:
    """What is to be said of a line; `is_fault` where somebody changed the log."""

    place: str
    text: str
    is_fault: bool = True


def write_entry(before: Link, facts: Mapping[str, object]) -> tuple[str, Link]:
    """The line that follows `before`, without its end, and where the chain stands then."""
    entry = {"number": before.number + 1, **facts, "before": before.digest}
    digest = _digest(_dump(entry))
    return _dump({**entry, "digest": digest}), Link(before.number + 1, digest)


def read_link(line: str) -> Link | None:
    """Where the chain stands after this line; None where it is no entry, or not as it was written."""
    try:
        entry = json.loads(line)
        number, digest = entry["number"], entry.pop("digest")
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError):
        return None
    if _dump({**entry, "digest": digest}) != line or _digest(_dump(entry)) != digest:
        return None
    return Link(number, digest)


def torn_digest(line: str) -> str:
    """By which the entry after a torn line knows it."""
    return _digest(line)[:16]


def verify(lines: Iterable[tuple[str, str]], head: Link | None) -> Iterator[Finding]:
    """Everything that is wrong with a log.

    Args:
        lines: Each with its place, in order, without its end.
        head: Where the chain stood when the last entry was written, if that is known.
    """
    chain = _Chain()
    for place, line in lines:
        yield from chain.feed(place, line)
    yield from chain.end(head)


class _Chain:
    def __init__(self) -> None:
        self._last: Link | None = None
        self._doubtful: tuple[str, str] | None = None

    def feed(self, place: str, line: str) -> Iterator[Finding]:
        link = read_link(line)
        if link is None:
            yield from self._doubt(None)
            self._doubtful = (place, line)
            return
        entry = json.loads(line)
        yield from self._doubt(entry.get(TORN))
        yield from self._follow(place, link, entry["before"])
        self._last = link

    def end(self, head: Link | None) -> Iterator[Finding]:
        yield from self._doubt(None)
        number = self._last.number if self._last else 0
        if head and head.number > number:
            yield Finding("the end", f"{_entries(number + 1, head.number)} removed")
        elif head and self._last and head.number == number and head.digest != self._last.digest:
            yield Finding("the end", f"entry {number} is not the one that was written")

    def _doubt(self, torn: object) -> Iterator[Finding]:
        """Judge the unreadable line before this one, now that it is known what follows it."""
        if self._doubtful is None:
            return
        (place, line), self._doubtful = self._doubtful, None
        if torn == torn_digest(line):
            yield Finding(place, "a crash left this line unfinished", is_fault=False)
        else:
            yield Finding(place, "this line was changed")
            # What it says of itself tells whether more than its text is wrong.
            self._last = _claimed(line) or self._last

    def _follow(self, place: str, link: Link, before: object) -> Iterator[Finding]:
        if self._last is None:
            if link.number == 1 and before == BEFORE_THE_FIRST:
                return
            yield Finding(place, f"the log begins with entry {link.number}", is_fault=link.number == 1)
            return
        expected = self._last.number + 1
        if link.number > expected:
            yield Finding(place, f"{_entries(expected, link.number - 1)} missing before this line")
        elif link.number < expected:
            yield Finding(place, f"entry {link.number} stands behind entry {self._last.number}")
        elif before != self._last.digest:
            yield Finding(place, "this line does not follow the one before it: one of them was changed")


def _claimed(line: str) -> Link | None:
    try:
        entry = json.loads(line)
        number, digest = entry["number"], entry["digest"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return None
    return Link(number, digest) if isinstance(number, int) and isinstance(digest, str) else None


def _entries(first: int, last: int) -> str:
    return f"entry {first} was" if first == last else f"entries {first} to {last} were"


def _dump(entry: Mapping[str, object]) -> str:
    return json.dumps(entry, separators=(",", ":"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
