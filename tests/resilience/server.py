"""The real server, as the production script starts it, before a Dify that a test scripts; and its clients."""

import json
import socket
import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

import httpx

from tests.fakes.metrics_page import total
from tests.fakes.programs import GUNICORN, Program, environment_of
from tests.fakes.waiting import wait_until
from tests.stores.servers import free_port

CHAT_PATH = "/v1/chat/completions"
MODEL = "bot"


def chat_shape(text: str = "Hi", *, streams: bool = True, **fields: object) -> dict[str, object]:
    """A chat request's body."""
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "stream": streams, "messages": messages, **fields}


class BareClient:
    """A client on a bare socket: says what it likes, as slowly as it likes, and can leave without a word."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        """A small `receive_buffer` is soon full where nothing is read."""
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", port))
        self.received = b""

    def send(self, content: bytes) -> None:
        self.socket.sendall(content)

    def ask(self, *, streams: bool = True, text: str = "Hi") -> None:
        """A chat request."""
        body = json.dumps(chat_shape(text, streams=streams)).encode()
        head = f"POST {CHAT_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
        self.send(head.encode() + body)

    def get(self, path: str) -> None:
        self.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())

    def read_until(self, text: bytes) -> bytes:
        """All that was received, once `text` is in it."""
        while text not in self.received:
            piece = self.socket.recv(65_536)
            assert piece, self.received
            self.received += piece
        return self.received

    def read_to_end(self, seconds: float = 20.0) -> bytes:
        """All that was received, once the server closed the connection."""
        deadline = time.monotonic() + seconds
        while True:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                piece = self.socket.recv(65_536)
            except ConnectionResetError:
                return self.received
            if not piece:
                return self.received
            self.received += piece

    def leave(self, *, with_reset: bool = False) -> None:
        if with_reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def __enter__(self) -> "BareClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()


@dataclass(frozen=True)
class RunningServer:
    """The master, its workers, and where they listen; `program` can be signalled, stopped and started."""

    port: int
    program: Program
    data_dir: Path

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self.program.log

    def client(self, *, receive_buffer: int | None = None) -> BareClient:
        """See `BareClient`."""
        return BareClient(self.port, receive_buffer=receive_buffer)

    def chat(self, text: str = "Hi", *, timeout: float = 30.0, **fields: object) -> httpx.Response:
        """A whole answer."""
        shape = chat_shape(text, streams=False, **fields)
        return httpx.post(f"{self.origin}{CHAT_PATH}", json=shape, timeout=timeout)

    def chats_in_flight(self) -> float:
        """How many chats hold a slot in any of its workers."""
        page = httpx.get(f"{self.origin}/metrics", timeout=20).text
        return total(page, "opendify_chats_in_flight")

    def probe_seconds(self, path: str = "/v1/models") -> float:
        """How long a fresh connection waits for its 200."""
        began_at = time.monotonic()
        # An `httpx.Client` would take longer to make than the answer to come.
        with self.client() as client:
            client.get(path)
            answer = client.read_until(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 "), answer
        return time.monotonic() - began_at


class AnyDify(Protocol):
    """Whatever listens there."""

    @property
    def base_url(self) -> str:
        """Ends in `/v1`."""
        ...


@contextmanager
def running_server(dify: AnyDify, *, app: str = "main:app", **environment: str) -> Iterator[RunningServer]:
    """One model, `bot`, open to everybody, with 2 workers of 8 threads, unless told otherwise.

    `app` is where Gunicorn finds it.

    What still runs when the block ends is killed; a test of an orderly end asks for it itself.
    """
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="opendify-") as folder:
        data_dir = Path(folder) / "data"
        told = {
            "SERVER_HOST": "127.0.0.1",
            "SERVER_PORT": str(port),
            "ENVIRONMENT": "production",
            "AUTH_MODE": "open",
            "DATA_DIR": str(data_dir),
            "MODEL_CONFIG": json.dumps({MODEL: {"api_key": "app-bot", "mode": "chat"}}),
            "DIFY_API_BASE": dify.base_url,
            "DIFY_MESSAGE_TIME_RESOLUTION": "0",
            "GUNICORN_WORKERS": "2",
            "GUNICORN_THREADS": "8",
            **environment,
        }
        health = f"http://127.0.0.1:{port}/health/live"
        program = Program((*GUNICORN[:-1], app), environment_of(told), health, Path(folder) / "server.log")
        try:
            program.start()
            # Gunicorn takes its time between them.
            assert wait_until(lambda: len(program.workers()) == int(told["GUNICORN_WORKERS"]), 40)
            yield RunningServer(port, program, data_dir)
        finally:
            program.kill()
