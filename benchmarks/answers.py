"""One response of a target, followed as it arrives."""

from benchmarks.dialects import Dialect, WrongAnswer
from benchmarks.directive import PIECE_END, answer_text
from benchmarks.http1 import HEAD_END, LAST_CHUNK, ResponseHead, join_chunks, read_head


class Answer:
    """Counts pieces and recognises the end; keeps the body where it shall be parsed.

    Args:
        copies: How often the target says each text; see `Door`.
    """

    def __init__(self, *, kept: bool, copies: int = 1) -> None:
        self.is_whole = False
        self._kept = kept
        self._copies = copies
        self._texts = 0
        self._head: ResponseHead | None = None
        self._unread = b""
        self._tail = b""
        self._body: list[bytes] = []
        self._body_bytes = 0

    @property
    def pieces(self) -> int:
        """How many have come, with all their copies."""
        return self._texts // self._copies

    @property
    def closes_connection(self) -> bool:
        """Whether the server takes no further request on this connection."""
        return self._head is not None and self._head.closes_connection

    def feed(self, received: bytes) -> None:
        """Take what a read gave.

        Raises:
            ValueError: It is not HTTP.
        """
        if self._head is None:
            self._unread += received
            head, found, received = self._unread.partition(HEAD_END)
            if not found:
                return
            self._head = read_head(head)
        self._texts += received.count(PIECE_END)
        self._body_bytes += len(received)
        if self._kept or self._head.status != 200:
            self._body.append(received)
        self._tail = (self._tail + received[-len(LAST_CHUNK) :])[-len(LAST_CHUNK) :]
        length = self._head.content_length
        self.is_whole = self._tail == LAST_CHUNK if length is None else self._body_bytes >= length

    def check(self, dialect: Dialect, *, whole: bool, pieces: int) -> None:
        """Make sure that all pieces came, and when the body was kept, in order and well formed.

        Raises:
            WrongAnswer: They did not.
        """
        status = self._head.status if self._head else 0
        if status != 200:
            raise WrongAnswer(f"status {status}: {b''.join(self._body)[:200]!r}")
        if self._texts != pieces * self._copies:
            end = b"".join(self._body)[-300:]
            raise WrongAnswer(f"{self._texts / self._copies:g} pieces of {pieces}; the end is {end!r}")
        if self._kept and self._text(dialect, whole=whole) != answer_text(pieces):
            raise WrongAnswer("the pieces are not in order")

    def _text(self, dialect: Dialect, *, whole: bool) -> str:
        body = b"".join(self._body)
        if self._head is None or self._head.content_length is None:
            try:
                body = join_chunks(body)
            except ValueError as error:
                raise WrongAnswer(str(error)) from error
        return dialect.read_whole(body) if whole else dialect.read_stream(body)
