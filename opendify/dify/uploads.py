"""`POST /files/upload`: a file on its way to Dify, read piece by piece, given up when nobody waits for it."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import httpx

from opendify.dify.carriers import app_headers
from opendify.dify.exchange import Head
from opendify.dify.pump import ResponsePump
from opendify.errors import DifyError, DifyTimeout
from opendify.records import Clock
from opendify.settings import DifyApp

_PIECE_BYTES = 1 << 16
_TAKE_SECONDS = 0.2
_MOST_ANSWER_BYTES = 1 << 20

WhileWaiting = Callable[[], None]
"""Called several times a second; raises where waiting makes no sense any more."""


class Content(Protocol):
    """A file's bytes, to be closed."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most `size`; none at the end."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class UploadedFile(Protocol):
    """What is uploaded; `open` gives its `bytes` bytes from the start, as often as they are sent."""

    @property
    def filename(self) -> str: ...
    @property
    def mime_type(self) -> str: ...
    @property
    def bytes(self) -> int: ...
    @property
    def open(self) -> Callable[[], Content]: ...


@dataclass(frozen=True, slots=True)
class UploadLimits:
    """Seconds for the connection, for each piece and for Dify's answer, and for all together."""

    connect_seconds: float
    silence_seconds: float
    total_seconds: float


def post_file(
    client: httpx.Client,
    app: DifyApp,
    file: UploadedFile,
    user: str,
    limits: UploadLimits,
    *,
    while_waiting: WhileWaiting,
    clock: Clock,
) -> httpx.Response:
    """Send `file` as a file of `user`; Dify's whole answer.

    Raises:
        GatewayError: No connection, or no answer in time; or what `while_waiting` raises.
    """
    form = _Form(file, user)
    request = client.build_request(
        "POST",
        f"{app.api_base}/files/upload",
        content=form.pieces(),
        headers={**app_headers(app), **form.headers},
        timeout=httpx.Timeout(limits.silence_seconds, connect=limits.connect_seconds),
    )
    pump = ResponsePump(client, request, body_read_seconds=limits.silence_seconds)
    until = clock() + limits.total_seconds
    try:
        return _answer(pump, until, while_waiting, clock)
    except BaseException:
        form.is_given_up = True
        pump.abort()
        raise


def _answer(pump: ResponsePump, until: float, while_waiting: WhileWaiting, clock: Clock) -> httpx.Response:
    status, body = 0, bytearray()
    while True:
        for arrival in pump.take(_TAKE_SECONDS):
            if isinstance(arrival, Head):
                status = arrival.status
            elif arrival is None:
                return httpx.Response(status, content=bytes(body))
            else:
                body += arrival
        if len(body) > _MOST_ANSWER_BYTES:
            raise DifyError("Dify's answer to an upload is longer than it can be")
        while_waiting()
        if clock() >= until:
            raise DifyTimeout("Dify did not take the file in time")


class _Form:
    """A `multipart/form-data` body with the length known beforehand, which Dify's web server likes best."""

    def __init__(self, file: UploadedFile, user: str) -> None:
        self.is_given_up = False
        self._file = file
        boundary = secrets.token_hex(16)
        self._head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="user"\r\n\r\n{user}\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; '
            f'filename="{_quoted(file.filename)}"\r\nContent-Type: {file.mime_type}\r\n\r\n'
        ).encode("utf-8", "replace")
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self.headers = {
            "Content-Type": f"multipart/form-data; boundary={boundary}",
            "Content-Length": str(len(self._head) + file.bytes + len(self._tail)),
        }

    def pieces(self) -> Iterator[bytes]:
        """The body; whoever reads it stops when it was given up."""
        yield self._head
        with closing(self._file.open()) as content:
            while piece := content.read(_PIECE_BYTES):
                if self.is_given_up:
                    raise DifyError("The upload was given up")
                yield piece
        yield self._tail


def _quoted(filename: str) -> str:
    """A name inside quotes, as browsers write it.

    Source: https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data
    """
    return filename.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
