"""A chat app of Dify that does as little as possible: prepared bytes, one write a piece as Dify has it.

Run as `python -m benchmarks.mock_dify [PORT]`; it prints its port and ends when its standard input does.
"""

import random
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, count
from socket import socket
from typing import Self

import msgspec

from benchmarks.dify_frames import INFO, PARAMETERS, Frames
from benchmarks.directive import Directive, find_directive, piece_text, stamp
from benchmarks.http1 import HEAD_END, LAST_CHUNK, chunk, content_length
from benchmarks.loop import Channel, Listener, Loop

_TEXTS = tuple(map(piece_text, range(1_000)))
_RUN_PATH = b"/v1/chat-messages"
_HEADERS = (
    b"HTTP/1.1 %b\r\nServer: gunicorn\r\nConnection: keep-alive\r\nX-Version: 1.12.1\r\nContent-Type: %b\r\n"
)
_STREAM_HEAD = (
    _HEADERS % (b"200 OK", b"text/event-stream; charset=utf-8") + b"Transfer-Encoding: chunked\r\n\r\n"
)
_LONGEST_TURN_SECONDS = 60.0


class Runs(msgspec.Struct):
    """What became of the streamed runs: each was begun, and then one of the rest."""

    begun: int = 0
    whole: int = 0
    stopped: int = 0
    aborted: int = 0

    @property
    def live(self) -> int:
        """How many go on."""
        return self.begun - self.whole - self.stopped - self.aborted

    def since(self, before: Self) -> Self:
        """What came after."""
        return type(self)(
            self.begun - before.begun,
            self.whole - before.whole,
            self.stopped - before.stopped,
            self.aborted - before.aborted,
        )


@dataclass(slots=True, eq=False)
class Stream:
    """A run that goes on."""

    frames: Frames
    directive: Directive
    pieces: Iterator[bytes]
    due: float
    is_stopped: bool = False


@dataclass(slots=True)
class Mock:
    """What all connections share."""

    loop: Loop
    runs: Runs = field(default_factory=Runs)
    speakers: dict[bytes, "Connection"] = field(default_factory=dict)
    """By task, as long as it goes on."""
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))
    _gaps: random.Random = field(default_factory=lambda: random.Random(1))  # noqa: S311 - Waits, no secrets.

    def frames(self) -> Frames:
        """Those of the next run."""
        return Frames(next(self._numbers))

    def gap_seconds(self, directive: Directive) -> float:
        """Until the next piece."""
        return self._gaps.uniform(directive.least_gap_ms, directive.most_gap_ms) / 1_000


class Connection(Channel):
    """Answers one request after another."""

    def __init__(self, mock: Mock, connection: socket) -> None:
        super().__init__(mock.loop, connection)
        self._mock = mock
        self._received = b""
        self._stream: Stream | None = None

    def on_received(self, received: bytes) -> None:
        """See `Channel.on_received`."""
        self._received += received
        while (head_end := self._received.find(HEAD_END)) >= 0:
            head = self._received[:head_end]
            body_start = head_end + len(HEAD_END)
            body_end = body_start + (content_length(head) or 0)
            if len(self._received) < body_end:
                return
            body, self._received = self._received[body_start:body_end], self._received[body_end:]
            self._answer(head.partition(b" HTTP/")[0], body)

    def on_room(self) -> None:
        """See `Channel.on_room`."""
        stream = self._stream
        if stream and stream.directive.most_gap_ms:
            self._loop.call_at(stream.due, lambda: self._go_on(stream))
        elif stream:
            self._go_on(stream)

    def on_lost(self) -> None:
        """See `Channel.on_lost`."""
        if self._stream:
            self._mock.runs.aborted += not self._stream.is_stopped
            self._forget(self._stream)

    def stop(self) -> None:
        """End the run here, as Dify does when it is told to."""
        stream = self._stream
        if stream and not stream.is_stopped:
            self._mock.runs.stopped += 1
            stream.is_stopped, stream.pieces = True, iter(())
            if self.has_room:
                self._go_on(stream)

    def _answer(self, request: bytes, body: bytes) -> None:
        match request.split(b" "):
            case [b"POST", path] if path == _RUN_PATH:
                self._answer_chat(body)
            case [b"POST", path] if path.endswith(b"/stop"):
                speaker = self._mock.speakers.get(path.split(b"/")[-2])
                self._send_json(b"200 OK", b'{"result":"success"}')
                if speaker:
                    speaker.stop()
            case [b"GET", b"/v1/info"]:
                self._send_json(b"200 OK", INFO)
            case [b"GET", b"/v1/parameters"]:
                self._send_json(b"200 OK", PARAMETERS)
            case [b"GET", b"/runs"]:
                self._send_json(b"200 OK", msgspec.json.encode(self._mock.runs))
            case _:
                self._send_json(b"404 NOT FOUND", b'{"code":"not_found","message":"not mocked","status":404}')

    def _answer_chat(self, body: bytes) -> None:
        directive = find_directive(body)
        if directive is None:
            self._send_json(
                b"400 BAD REQUEST", b'{"code":"invalid_param","message":"no directive","status":400}'
            )
            return
        frames = self._mock.frames()
        if b'"blocking"' in body:
            self._send_json(b"200 OK", frames.whole(directive.pieces))
        else:
            self._begin(frames, directive)

    def _begin(self, frames: Frames, directive: Directive) -> None:
        pieces: Iterator[bytes] = map(chunk, frames.pieces(_texts(directive)))
        # The head leaves with the first event, as real Dify's does.
        pieces = chain((_STREAM_HEAD + next(pieces),), pieces)
        self._stream = stream = Stream(frames, directive, pieces, time.perf_counter())
        self._mock.runs.begun += 1
        self._mock.speakers[frames.task_id] = self
        self._go_on(stream)

    def _go_on(self, stream: Stream) -> None:
        """Write what is due and there is room for."""
        if stream is not self._stream:
            return  # It ended before its next piece was due.
        for piece in stream.pieces:
            has_room = self.send(piece)
            if stream.directive.most_gap_ms:
                # From the time that was due, so that a late piece does not delay all that follow.
                stream.due += self._mock.gap_seconds(stream.directive)
                if has_room:
                    self._loop.call_at(stream.due, lambda: self._go_on(stream))
                return
            if not has_room:
                return
        self._mock.runs.whole += not stream.is_stopped
        self._forget(stream)
        self.send(chunk(stream.frames.end()) + LAST_CHUNK)

    def _forget(self, stream: Stream) -> None:
        self._stream = None
        del self._mock.speakers[stream.frames.task_id]

    def _send_json(self, status: bytes, body: bytes) -> None:
        head = _HEADERS % (status, b"application/json") + b"Content-Length: %d\r\n\r\n" % len(body)
        self.send(head + body)


def _texts(directive: Directive) -> Iterable[bytes]:
    if directive.stamped:
        return (stamp(time.monotonic_ns()) for _ in range(directive.pieces))
    if directive.pieces <= len(_TEXTS):
        return _TEXTS[: directive.pieces]
    return map(piece_text, range(directive.pieces))


class _Parent:
    """Standard input, which ends when nobody needs the mock any more."""

    is_gone = False

    def on_ready(self, mask: int) -> None:  # noqa: ARG002 - The signature of `Ready`.
        """See `Ready`."""
        self.is_gone = True


def serve(port: int) -> None:
    """Serve on a loopback port, or a free one for 0, until standard input ends."""
    loop, parent = Loop(), _Parent()
    mock = Mock(loop)
    listener = Listener(loop, lambda connection: Connection(mock, connection), port)
    sys.stdout.write(f"{listener.port}\n")
    sys.stdout.flush()
    loop.add(sys.stdin.fileno(), parent)
    while not parent.is_gone:
        loop.turn(_LONGEST_TURN_SECONDS)


if __name__ == "__main__":
    serve(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
