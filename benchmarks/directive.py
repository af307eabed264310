"""How the answer to a query is shaped: nothing but the user's text has to pass a target."""

import re
from dataclasses import dataclass

PIECE_END = b"~"
"""Ends the text of each piece and occurs nowhere else, so that pieces can be counted however they are cut."""

# The text reaches the mock inside JSON, so it has nothing that JSON escapes.
_DIRECTIVE = re.compile(rb"\[pieces=(\d{1,6}) gap_ms=(\d{1,5})-(\d{1,5}) stamped=([01])\]")
# Five hexadecimal digits of 10 µs tell ages up to ten seconds.
_STAMP_DIGITS = 5
_STAMP_NANOSECONDS = 10_000
_STAMPS = 16**_STAMP_DIGITS


@dataclass(frozen=True, slots=True)
class Directive:
    """`pieces` events of text, with a random wait between the two gaps after each.

    Texts tell their place, or when `stamped` the time at which they were written.
    """

    pieces: int = 1
    least_gap_ms: int = 0
    most_gap_ms: int = 0
    stamped: bool = False

    def __str__(self) -> str:
        gap = f"{self.least_gap_ms}-{self.most_gap_ms}"
        return f"[pieces={self.pieces} gap_ms={gap} stamped={self.stamped:d}]"


def find_directive(body: bytes) -> Directive | None:
    """The directive in a request's body."""
    found = _DIRECTIVE.search(body)
    if found is None:
        return None
    pieces, least_gap_ms, most_gap_ms, stamped = map(int, found.groups())
    return Directive(pieces, least_gap_ms, most_gap_ms, stamped == 1)


def piece_text(index: int) -> bytes:
    """Six characters, as many as a token has, that tell their place."""
    return b"%05d%b" % (index % 100_000, PIECE_END)


def answer_text(pieces: int) -> str:
    """The whole answer."""
    return b"".join(map(piece_text, range(pieces))).decode()


def stamp(now_nanoseconds: int) -> bytes:
    """A piece's text that tells when it was written, on the machine's monotonic clock."""
    return b"%05x%b" % (now_nanoseconds // _STAMP_NANOSECONDS % _STAMPS, PIECE_END)


class StampReader:
    """Finds the stamps in a response, however its target cut and wrapped them."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, received: bytes, now_nanoseconds: int) -> list[float]:
        """The ages in seconds of the pieces that `received` completes."""
        text = self._rest + received
        self._rest = text[-_STAMP_DIGITS:]
        now = now_nanoseconds // _STAMP_NANOSECONDS
        ages = []
        # A pattern would stop at every id, and take ten times as long.
        end = text.find(PIECE_END)
        while end >= 0:
            if end >= _STAMP_DIGITS:
                age = (now - int(text[end - _STAMP_DIGITS : end], 16)) % _STAMPS
                ages.append(age * _STAMP_NANOSECONDS / 1e9)
            end = text.find(PIECE_END, end + 1)
        return ages
