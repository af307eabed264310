"""As much of HTTP/1.1 as both ends of the benchmark need."""

import re
from dataclasses import dataclass

HEAD_END = b"\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CLOSE = re.compile(rb"\r\nconnection: *close", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ResponseHead:
    """`content_length` is None for chunked bodies."""

    status: int
    content_length: int | None
    closes_connection: bool


def read_head(head: bytes) -> ResponseHead:
    """A response's first lines, without the empty one.

    Raises:
        ValueError: It does not begin like HTTP.
    """
    protocol, status, *_ = head.split(None, 2)
    if not protocol.startswith(b"HTTP/1."):
        raise ValueError(f"{protocol!r} is not HTTP/1")
    return ResponseHead(int(status), content_length(head), _CLOSE.search(head) is not None)


def content_length(head: bytes) -> int | None:
    """What a request's or response's head says of its body."""
    found = _CONTENT_LENGTH.search(head)
    return int(found[1]) if found else None


def chunk(content: bytes) -> bytes:
    """`content` as one chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(content), content)


def join_chunks(body: bytes) -> bytes:
    """What a whole chunked body holds.

    Raises:
        ValueError: A chunk is cut, or bytes follow the last one.
    """
    contents: list[bytes] = []
    position = 0
    while True:
        line_end = body.index(b"\r\n", position)
        size = int(body[position:line_end], 16)
        start, end = line_end + 2, line_end + 2 + size
        if body[end : end + 2] != b"\r\n":
            raise ValueError("a chunk does not end where its size says")
        if size == 0:
            if len(body) != end + 2:
                raise ValueError("bytes follow the last chunk")
            return b"".join(contents)
        contents.append(body[start:end])
        position = end + 2
