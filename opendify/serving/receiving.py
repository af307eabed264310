"""A client's next request, from its first byte until all of it has come; knows no sockets."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Final

from gunicorn.config import Config
from gunicorn.http.body import ChunkedReader, LengthReader
from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.http.message import Request
from gunicorn.http.parser import RequestParser

from opendify.errors import FileStorageFull
from opendify.serving.client_socket import LARGE_STEP_BYTES
from opendify.serving.limits import ClientLimits
from opendify.serving.plain_request import HeadRequest, PlainRequest, TrustingUnreader, read_plain
from opendify.serving.spool import Spool

# An LF alone ends no line: the head will never be what it should, and is refused at once.
_HEAD_IS_OVER: Final = re.compile(rb"\r\n\r\n|(?<!\r)\n")
_MOST_HEAD_BYTES: Final = 65_536
_LONGEST_LINE: Final = 8_190
# Only forms carry whole files, which are not to be in memory.
_FORM: Final = re.compile(r"\s*multipart/form-data\b", re.IGNORECASE)
_LARGEST_COPY: Final = 1 << 20


class RequestReceiver(RequestParser):
    """Gunicorn's parser, fed by whoever reads the socket, so that it never waits for a client.

    `next` is for when the request `is_ready`: whole, or refusable as it is.
    """

    mesg_class: ClassVar[type[Request]] = HeadRequest
    read_plain: ClassVar[Callable[..., PlainRequest | None]] = staticmethod(read_plain)

    def __init__(self, cfg: Config, client: tuple[str, int], limits: ClientLimits) -> None:
        super().__init__(cfg, (), client)
        self._limits = limits
        self._next_step_at = LARGE_STEP_BYTES
        self.unreader = self._received = _Received(limits.spool_folder)
        self._begin()

    def feed(self, piece: bytes) -> None:
        """Take what the client sent next."""
        self.received_bytes += len(piece)
        if self.has_head:
            self._take_body(piece)
        else:
            self._take_head(piece)

    @property
    def bytes_on_disk(self) -> int:
        """So many of the received bytes are not in memory."""
        return self._received.spool.bytes_on_disk

    def passed_a_step(self) -> bool:
        """Whether so much more of a large form came since the last time that its client is not slow."""
        if not self._received.spool.may_use_disk or self.received_bytes < self._next_step_at:
            return False
        self._next_step_at = self.received_bytes + LARGE_STEP_BYTES
        return True

    def refuse(self, error: Exception) -> None:
        """Have `next` raise `error`, and forget what came."""
        self.forget()
        self.received_bytes = 0
        self._refuse(error)

    def forget(self) -> None:
        """Drop what came."""
        self._received.spool.forget()

    def begin_next(self) -> None:
        """Forget the request that was answered; what came behind it is the next one's."""
        behind = self._received.take_all()
        self._begin()
        if behind:
            self.feed(behind)

    @property
    def is_ready(self) -> bool:
        return self.is_whole or self._is_refusable

    @property
    def brings_body(self) -> bool:
        """Whether the request brings more than its head."""
        return self._chunks is not None or bool(self._length)

    @property
    def awaits_consent(self) -> bool:
        """Whether the client sends its body only once it is told to (`Expect: 100-continue`).

        Gunicorn tells it when the app is called; that would be too late here.
        """
        return self.mesg is not None and self.mesg._expected_100_continue  # type: ignore[attr-defined] # noqa: SLF001

    def note_consent(self) -> None:
        """It was told, or need not be any more."""
        if self.mesg is not None:
            self.mesg._expected_100_continue = False  # type: ignore[attr-defined] # noqa: SLF001

    def __next__(self) -> Request:
        """The request.

        Raises:
            ParseException: It is none.
        """
        if self._failure is not None:
            raise self._failure
        if self.mesg is None:
            raise StopIteration
        return self.mesg

    @property
    def has_body(self) -> bool:
        """Whether it can be taken, and need not be read: it is there, not in chunks, and no long copy."""
        is_small = self._length is not None and self._length <= _LARGEST_COPY
        return is_small and self.is_whole and not self._received.spool.may_use_disk

    def take_body(self) -> bytes:
        """The whole body, where it can be taken."""
        received = self._received.take_all()
        self._received.spool.add(received[self._length :])
        self._was_taken = True
        return received[: self._length]

    def finish_body(  # type: ignore[override] # The stubs lag behind.
        self, deadline: float | None = None, max_bytes: int | None = None
    ) -> bool:
        """Whether all of the request was read, so that the connection may serve another one."""
        return self._was_taken or (self.is_whole and bool(super().finish_body(deadline, max_bytes)))

    def _begin(self) -> None:
        self.mesg = None
        self.has_head = self.is_whole = self._is_refusable = False
        self.received_bytes = 0
        self._next_step_at = LARGE_STEP_BYTES
        self._most_body_bytes = self._limits.most_body_bytes
        self._failure: Exception | None = None
        self._head = b""
        self._chunks: _ChunkEnd | None = None
        self._length: int | None = None
        self._missing = 0
        self._was_taken = False

    def _take_body(self, piece: bytes) -> None:
        try:
            self._received.spool.add(piece)
        except OSError:
            self.refuse(FileStorageFull("There is no room for so large a form at the moment."))
        else:
            self._follow_body(piece)

    def _take_head(self, piece: bytes) -> None:
        searched = max(0, len(self._head) - 3)
        self._head += piece
        end = _HEAD_IS_OVER.search(self._head, searched)
        if end is not None:
            self._read_head(end.end())
        elif b"\n" not in self._head[:_LONGEST_LINE] and len(self._head) > _LONGEST_LINE:
            self._read_head(len(self._head))
        elif len(self._head) > _MOST_HEAD_BYTES:
            self._refuse(LimitRequestHeaders(f"more than {_MOST_HEAD_BYTES} bytes of headers"))

    def _read_head(self, length: int) -> None:
        head, body = self._head[:length], self._head[length:]
        self.has_head, self._head = True, b""
        self.req_count += 1
        try:
            plain = self.read_plain(self.cfg, self.unreader, self.source_addr, self.req_count, head)
            if plain is not None:
                self.mesg, self._length = plain, plain.length
                form = plain.fields.get("CONTENT-TYPE", "")
            else:
                form = self._read_unusual_head(head)
        except Exception as error:  # noqa: BLE001 - Raised again where the request is asked for.
            self._refuse(error)
            return
        self._note_kind(form)
        self._received.spool.add(body)
        self._follow_body(body)

    def _read_unusual_head(self, head: bytes) -> str:
        """Have Gunicorn read it; what its body is, as far as it says so."""
        self._received.spool.add(head)
        self.mesg = self.mesg_class(self.cfg, self.unreader, self.source_addr, self.req_count)
        reader = self.mesg.body.reader if self.mesg.body else None
        if isinstance(reader, ChunkedReader):
            self._chunks = _ChunkEnd()
        elif isinstance(reader, LengthReader):
            self._length = reader.length
        return next((value for name, value in self.mesg.headers if name == "CONTENT-TYPE"), "")

    def _note_kind(self, content_type: str) -> None:
        if _FORM.match(content_type):
            self._most_body_bytes = self._limits.most_form_bytes
            self._received.spool.may_use_disk = True
        if self._length is not None:
            self._missing = self._length
            # The app refuses it by its length alone.
            self._is_refusable = self._length > self._most_body_bytes

    def _follow_body(self, piece: bytes) -> None:
        if self._chunks is not None:
            self.is_whole = self._chunks.feed(piece)
            self._is_refusable = self.received_bytes > self._most_body_bytes + _MOST_HEAD_BYTES
        else:
            self._missing -= len(piece)
            self.is_whole = self._missing <= 0

    def _refuse(self, error: Exception) -> None:
        self.has_head = self._is_refusable = True
        self._failure = error


class _Received(TrustingUnreader):
    """What was received, as Gunicorn's parser asks for it."""

    def __init__(self, spool_folder: Path) -> None:
        super().__init__()
        self.spool = Spool(spool_folder)

    def chunk(self, size_hint: int | None = None) -> bytes:
        return self.spool.take(size_hint or 0)

    def take_all(self) -> bytes:
        ahead = self.take_buffered() if self.buf.tell() else b""
        return ahead + self.spool.take_all()


class _ChunkEnd:
    """Finds where a chunked body ends; whether it is well-formed is for the parser to say."""

    def __init__(self) -> None:
        self._to_skip = 0
        self._line = bytearray()
        self._in_trailers = False
        self._found = False

    def feed(self, piece: bytes) -> bool:
        """Whether the body ended, or cannot be a body."""
        at = 0
        while at < len(piece) and not self._found:
            if self._to_skip:
                step = min(self._to_skip, len(piece) - at)
                self._to_skip -= step
                at += step
                continue
            end = piece.find(b"\n", at) + 1
            self._line += piece[at : end or len(piece)]
            at = end or len(piece)
            self._found = len(self._line) > _LONGEST_LINE
            if end:
                self._take_line()
        return self._found

    def _take_line(self) -> None:
        line = bytes(self._line.strip())
        self._line.clear()
        if self._in_trailers:
            self._found = not line
            return
        try:
            size = int(line.partition(b";")[0], 16)
        except ValueError:
            size = -1
        self._found = size < 0
        self._in_trailers = size == 0
        self._to_skip = size + len(b"\r\n") if size > 0 else 0
