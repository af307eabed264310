"""Workers share nothing that they inherited: of ten thousand answers none goes to the wrong caller."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from tests.fakes.live_dify import LiveDify
from tests.resilience.server import CHAT_PATH, MODEL, chat_shape, running_server

ANSWERS: Final = 10_000
PATIENCE_SECONDS: Final = 120
CALLERS: Final = 32
CANARY: Final = re.compile(rb"canary-\d+-\d+")
FORM: Final = {"user_input_form": [{"text-input": {"variable": "query", "label": "Query", "required": True}}]}
END: Final = b'data: {"event": "message_end", "task_id": "t", "message_id": "m", "metadata": {}}\n\n'
TABLE: Final = {MODEL: {"api_key": "app-bot", "mode": "completion"}}


async def read_message(reader: asyncio.StreamReader) -> bytes:
    """A whole HTTP message, head and body; empty where none came."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return b""
    length = re.search(rb"(?i)content-length: (\d+)", head)
    if length:
        return head + await reader.readexactly(int(length[1]))
    return head + (await reader.readuntil(b"\r\n0\r\n\r\n") if b"chunked" in head.lower() else b"")


def say(text: bytes) -> bytes:
    """As completion apps do, without a conversation."""
    return b'data: {"event": "message", "task_id": "t", "message_id": "m", "answer": "%s"}\n\n' % text


class EchoingDify:
    """Its answer is the canary that it was asked with, in pieces."""

    def __init__(self) -> None:
        self._connections: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        """The address of its API; the block must end after all who use it."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        await asyncio.gather(*self._connections)

    def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections.add(asyncio.create_task(self._echo(reader, writer)))

    async def _echo(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with closed_at_end(writer):
            while asked := await read_message(reader):
                if asked.startswith(b"GET"):
                    body = json.dumps(FORM).encode()
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                    writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
                    continue
                (canary,) = set(CANARY.findall(asked))
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n")
                writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
                for piece in (say(b"It was "), say(canary), END):
                    writer.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                    # What other runs write comes in between.
                    await asyncio.sleep(0)
                writer.write(b"0\r\n\r\n")


@asynccontextmanager
async def closed_at_end(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    try:
        yield
    except ConnectionError:
        return
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@dataclass
class Caller:
    """One caller on one connection, which asks again and again, whole and streamed in turn."""

    name: int
    answers: int = 0
    wrong: list[bytes] = field(default_factory=list)

    async def ask_all(self, port: int) -> None:
        while self.answers < ANSWERS // CALLERS + 1:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            async with closed_at_end(writer):
                await self._ask_while_open(reader, writer)

    async def _ask_while_open(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        is_open = True
        while is_open and self.answers < ANSWERS // CALLERS + 1:
            canary = f"canary-{self.name}-{self.answers}"
            body = json.dumps(chat_shape(canary, streams=self.answers % 2 == 0)).encode()
            head = f"POST {CHAT_PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            answer = await read_message(reader)
            self.answers += 1
            if set(CANARY.findall(answer)) != {canary.encode()} or b" 200 OK" not in answer[:16]:
                self.wrong.append(answer)
            is_open = b"connection: close" not in answer.lower()


async def serve_and_ask() -> list[Caller]:
    async with EchoingDify().served() as url:
        with ExitStack() as stack:
            told = {"MODEL_CONFIG": json.dumps(TABLE), "GUNICORN_WORKERS": "4", "GUNICORN_THREADS": "32"}
            running = running_server(LiveDify(url), LOG_LEVEL="warning", **told)
            server = await asyncio.to_thread(stack.enter_context, running)
            callers = [Caller(name) for name in range(CALLERS)]
            # Where answers are mixed up, some callers may wait for ever.
            async with asyncio.timeout(PATIENCE_SECONDS):
                await asyncio.gather(*(caller.ask_all(server.port) for caller in callers))
            assert len(server.program.workers()) == 4
    return callers


def test_no_answer_goes_to_the_wrong_caller() -> None:
    callers = asyncio.run(serve_and_ask())

    assert sum(caller.answers for caller in callers) >= ANSWERS
    assert [wrong for caller in callers for wrong in caller.wrong] == []
