"""`POST /files/upload`: a file on its way to Dify, read piece by piece, given up when nobody waits for it."""

import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Protocol

import httpx

from opendify.dify.calls import CallAnswer, OnContact, WhileWaiting, received
from opendify.dify.carriers import app_headers
from opendify.dify.events import RunLimits
from opendify.dify.pump import ResponsePump
from opendify.errors import DifyError
from opendify.records import Clock
from opendify.settings import DifyApp

_PIECE_BYTES = 1 << 16
_MOST_ANSWER_BYTES = 1 << 20


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


def post_file(
    client: httpx.Client,
    app: DifyApp,
    file: UploadedFile,
    user: str,
    limits: RunLimits,
    *,
    connect_seconds: float,
    while_waiting: WhileWaiting,
    clock: Clock,
    on_contact: OnContact,
) -> bytes:
    """Send `file` as a file of `user`; the body of Dify's answer. See `CallAnswer` for `on_contact`.

    Raises:
        GatewayError: Dify refused, no connection, or no answer in time; or what `while_waiting` raises.
    """
    form = _Form(file, user)
    request = client.build_request(
        "POST",
        f"{app.api_base}/files/upload",
        content=form.pieces(),
        headers={**app_headers(app), **form.headers},
        timeout=httpx.Timeout(limits.idle_seconds, connect=connect_seconds),
    )
    pump = ResponsePump(client, request, body_read_seconds=limits.idle_seconds)
    try:
        with closing(CallAnswer(pump, limits, clock, on_contact)) as answer:
            return _whole(received(answer, while_waiting))
    except BaseException:
        form.is_given_up = True
        raise


def _whole(pieces: Iterable[bytes]) -> bytes:
    body = bytearray()
    for piece in pieces:
        body += piece
        if len(body) > _MOST_ANSWER_BYTES:
            raise DifyError("Dify's answer to an upload is longer than it can be")
    return bytes(body)


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
