"""A chat app of Dify that does as little as possible: prepared bytes, one write a piece as Dify has it.

Run as `python -m benchmarks.mock_dify`; it prints its port and ends when its standard input does.
"""

import asyncio
import random
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import chain, count

from benchmarks.dify_frames import INFO, PARAMETERS, Frames
from benchmarks.directive import Directive, find_directive, piece_text, stamp
from benchmarks.http1 import HEAD_END, LAST_CHUNK, chunk, content_length

_TEXTS = tuple(map(piece_text, range(1_000)))

_HEADERS = (
    b"HTTP/1.1 %b\r\nServer: gunicorn\r\nConnection: keep-alive\r\nX-Version: 1.12.1\r\nContent-Type: %b\r\n"
)
_STREAM_HEAD = (
    _HEADERS % (b"200 OK", b"text/event-stream; charset=utf-8") + b"Transfer-Encoding: chunked\r\n\r\n"
)


def _texts(directive: Directive) -> Iterable[bytes]:
    if directive.stamped:
        return (stamp(time.monotonic_ns()) for _ in range(directive.pieces))
    if directive.pieces <= len(_TEXTS):
        return _TEXTS[: directive.pieces]
    return map(piece_text, range(directive.pieces))


class Connection(asyncio.Protocol):
    """Answers one request after another."""

    def __init__(self, numbers: Iterator[int], gaps: random.Random) -> None:
        self._numbers = numbers
        self._gaps = gaps
        self._received = b""
        self._pacing: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol.connection_made`."""
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - asyncio promises it for sockets.
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature.
        """See `asyncio.BaseProtocol.connection_lost`."""
        if self._pacing:
            self._pacing.cancel()

    def data_received(self, received: bytes) -> None:
        """See `asyncio.Protocol.data_received`."""
        self._received += received
        while (head_end := self._received.find(HEAD_END)) >= 0:
            head = self._received[:head_end]
            body_start = head_end + len(HEAD_END)
            body_end = body_start + (content_length(head) or 0)
            if len(self._received) < body_end:
                return
            body, self._received = self._received[body_start:body_end], self._received[body_end:]
            self._answer(head.partition(b" HTTP/")[0], body)

    def _answer(self, request: bytes, body: bytes) -> None:
        match request.split(b" "):
            case [b"POST", b"/v1/chat-messages"]:
                self._answer_chat(body)
            case [b"POST", path] if path.endswith(b"/stop"):
                self._send_json(b"200 OK", b'{"result":"success"}')
            case [b"GET", b"/v1/info"]:
                self._send_json(b"200 OK", INFO)
            case [b"GET", b"/v1/parameters"]:
                self._send_json(b"200 OK", PARAMETERS)
            case _:
                self._send_json(b"404 NOT FOUND", b'{"code":"not_found","message":"not mocked","status":404}')

    def _answer_chat(self, body: bytes) -> None:
        directive = find_directive(body)
        if directive is None:
            self._send_json(
                b"400 BAD REQUEST", b'{"code":"invalid_param","message":"no directive","status":400}'
            )
            return
        frames = Frames(next(self._numbers))
        if b'"blocking"' in body:
            self._send_json(b"200 OK", frames.whole(directive.pieces))
            return
        self._transport.write(_STREAM_HEAD)
        writes = chain(map(chunk, frames.pieces(_texts(directive))), (chunk(frames.end()) + LAST_CHUNK,))
        if directive.most_gap_ms:
            self._pace(writes, directive, asyncio.get_running_loop().time())
        else:
            for write in writes:
                self._transport.write(write)

    def _pace(self, writes: Iterator[bytes], directive: Directive, due: float) -> None:
        write = next(writes, None)
        if write is None:
            self._pacing = None
            return
        self._transport.write(write)
        # From the time that was due, so that a late piece does not delay all that follow.
        due += self._gaps.uniform(directive.least_gap_ms, directive.most_gap_ms) / 1_000
        self._pacing = asyncio.get_running_loop().call_at(due, self._pace, writes, directive, due)

    def _send_json(self, status: bytes, body: bytes) -> None:
        head = _HEADERS % (status, b"application/json") + b"Content-Length: %d\r\n\r\n" % len(body)
        self._transport.write(head + body)


async def serve() -> None:
    """Serve on a free loopback port until standard input ends."""
    loop = asyncio.get_running_loop()
    numbers = count(1)
    gaps = random.Random(1)  # noqa: S311 - Waits, no secrets.
    server = await loop.create_server(lambda: Connection(numbers, gaps), "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    parent_gone = asyncio.Event()
    loop.add_reader(sys.stdin, parent_gone.set)
    await parent_gone.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve())
