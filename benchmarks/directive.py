"""How the answer to a query is shaped: nothing but the user's text has to pass a target."""

import re
from dataclasses import dataclass

PIECE_END = b"~"
"""Ends the text of each piece and occurs nowhere else, so that pieces can be counted however they are cut."""

# The text reaches the mock inside JSON, so it has nothing that JSON escapes.
_DIRECTIVE = re.compile(rb"\[pieces=(\d{1,6}) gap_ms=(\d{1,5})-(\d{1,5})\]")


@dataclass(frozen=True, slots=True)
class Directive:
    """`pieces` events of text, each after a random wait between the two gaps."""

    pieces: int = 1
    least_gap_ms: int = 0
    most_gap_ms: int = 0

    def __str__(self) -> str:
        return f"[pieces={self.pieces} gap_ms={self.least_gap_ms}-{self.most_gap_ms}]"


def find_directive(body: bytes) -> Directive | None:
    """The directive in a request's body."""
    found = _DIRECTIVE.search(body)
    return Directive(*map(int, found.groups())) if found else None


def piece_text(index: int) -> bytes:
    """Six characters, as many as a token has, that tell their place."""
    return b"%05d%b" % (index % 100_000, PIECE_END)


def answer_text(pieces: int) -> str:
    """The whole answer."""
    return b"".join(map(piece_text, range(pieces))).decode()
