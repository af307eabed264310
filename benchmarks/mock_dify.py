"""A chat app of Dify that does as little as possible: prepared bytes, one write a piece as Dify has it.

Run as `python -m benchmarks.mock_dify`; it prints its port and ends when its standard input does.
"""

import asyncio
import random
import sys
import time
from collections.abc import Iterable, Iterator
from itertools import chain, count

from benchmarks.directive import Directive, find_directive, piece_text, stamp
from benchmarks.http1 import HEAD_END, LAST_CHUNK, chunk, content_length

_TEXTS = tuple(map(piece_text, range(1_000)))

# Shapes, key order and sizes as recorded from Dify 1.12.1.
_EVENT = (
    b'{"event":"%b","conversation_id":"%b","message_id":"%b","created_at":1767225600,'
    b'"task_id":"%b","id":"%b",'
)
_USAGE = (
    b'{"prompt_tokens":7,"prompt_unit_price":"0","prompt_price_unit":"0","prompt_price":"0",'
    b'"completion_tokens":9,"completion_unit_price":"0","completion_price_unit":"0","completion_price":"0",'
    b'"total_tokens":16,"total_price":"0","currency":"USD","latency":1.0,"time_to_first_token":null,'
    b'"time_to_generate":null}'
)
_METADATA = b'{"annotation_reply":null,"retriever_resources":[],"usage":%b}' % _USAGE
_INFO = b'{"name":"bench","description":"","tags":[],"mode":"chat","author_name":"bench"}'
_PARAMETERS = b'{"opening_statement":"","suggested_questions":[],"user_input_form":[],"file_upload":{}}'

_HEADERS = (
    b"HTTP/1.1 %b\r\nServer: gunicorn\r\nConnection: keep-alive\r\nX-Version: 1.12.1\r\nContent-Type: %b\r\n"
)
_STREAM_HEAD = (
    _HEADERS % (b"200 OK", b"text/event-stream; charset=utf-8") + b"Transfer-Encoding: chunked\r\n\r\n"
)


class Run:
    """One answer's bytes, under ids of its own as each of Dify's has."""

    def __init__(self, number: int) -> None:
        conversation, message, task = (b"%08x-0000-4000-8000-%012x" % (number, kind) for kind in range(3))
        self._ids = (conversation, message, task, message)
        frame = b'data: %b"answer":"%b","from_variable_selector":null}\n\n'
        # All texts are equally long, and so are all chunks.
        first = chunk(frame % (self._event(b"message"), _TEXTS[0]))
        self._before_text, _, self._after_text = first.partition(_TEXTS[0])

    def pieces(self, texts: Iterable[bytes]) -> Iterator[bytes]:
        """One chunk a piece."""
        return (self._before_text + text + self._after_text for text in texts)

    def end(self) -> bytes:
        """`message_end` and the end of the body."""
        event = self._event(b"message_end") + b'"metadata":%b,"files":null}' % _METADATA
        return chunk(b"data: " + event + b"\n\n") + LAST_CHUNK

    def whole(self, pieces: int) -> bytes:
        """The answer to a blocking request, as JSON."""
        answer = b"".join(map(piece_text, range(pieces)))
        return self._event(b"message") + b'"mode":"chat","answer":"%b","metadata":%b}' % (answer, _METADATA)

    def _event(self, name: bytes) -> bytes:
        return _EVENT % (name, *self._ids)


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
                self._send_json(b"200 OK", _INFO)
            case [b"GET", b"/v1/parameters"]:
                self._send_json(b"200 OK", _PARAMETERS)
            case _:
                self._send_json(b"404 NOT FOUND", b'{"code":"not_found","message":"not mocked","status":404}')

    def _answer_chat(self, body: bytes) -> None:
        directive = find_directive(body)
        if directive is None:
            self._send_json(
                b"400 BAD REQUEST", b'{"code":"invalid_param","message":"no directive","status":400}'
            )
            return
        run = Run(next(self._numbers))
        if b'"blocking"' in body:
            self._send_json(b"200 OK", run.whole(directive.pieces))
            return
        self._transport.write(_STREAM_HEAD)
        writes = chain(run.pieces(_texts(directive)), (run.end(),))
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
