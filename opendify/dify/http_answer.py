"""HTTP/1.1 answers as they come over one connection, one after another; no I/O."""

import zlib

import httptools

from opendify.dify.exchange import Arrival, Head
from opendify.errors import DifyError

_MOST_HEAD_BYTES = 1 << 18


class AnswerParser:
    """Reads what a connection receives; `expect` stands before each answer."""

    def __init__(self) -> None:
        self._body: list[bytes] = []
        # What httptools calls for a piece of the body: a chunk, or what of it came.
        self.on_body = self._body.append
        self._parser = httptools.HttpResponseParser(self)
        self.expect()

    def expect(self) -> None:
        """A request is on its way; its answer comes next."""
        self.failure: DifyError | None = None
        """Why nothing more can be read; what came before it was given."""
        self.is_whole = False
        self._keeps_alive = False
        self._head_came = False
        self._head_bytes = 0
        self._headers: dict[bytes, bytes] = {}
        self._encoded: _Gzip | None = None
        self._has_more = False
        self._arrivals: list[Arrival] = []
        self._body.clear()

    @property
    def leaves_connection_usable(self) -> bool:
        """Whether the answer is whole, nothing came behind it, and both sides keep the connection."""
        return self.is_whole and self._keeps_alive and not self._has_more

    def feed(self, received: bytes) -> list[Arrival]:
        """What `received` holds; nothing received is the end of the connection."""
        try:
            if received:
                self._parser.feed_data(received)
                if not self._head_came:
                    self._bound_head(len(received))
            else:
                self._end()
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self.is_whole:
                self._has_more = True
            else:
                self._fail("Dify sent what is no HTTP answer", error)
        if len(self._body) == 1 and not (self._arrivals or self.is_whole or self._encoded):
            return [self._body.pop()]  # A piece in the middle of an answer, as nearly all are.
        return self._take_arrivals()

    def _take_arrivals(self) -> list[Arrival]:
        if not self.is_whole:
            self._take_body()
        arrivals, self._arrivals = self._arrivals, []
        if self.is_whole and self._encoded and not self._encoded.is_whole:
            self._fail("Dify broke off its answer before it was whole")
        if self.is_whole and self.failure is None:
            arrivals.append(None)
        return arrivals

    def _take_body(self) -> None:
        if self._body:
            body = b"".join(self._body)
            self._body.clear()
            self._arrivals.append(body if self._encoded is None else self._decoded(self._encoded, body))

    def _decoded(self, encoded: "_Gzip", body: bytes) -> bytes:
        try:
            return encoded.decode(body)
        except zlib.error as error:
            self._fail("Dify's answer is not encoded as it says", error)
            return b""

    def _bound_head(self, received: int) -> None:
        self._head_bytes += received
        if self._head_bytes > _MOST_HEAD_BYTES:
            self._fail("Dify's answer has a head without an end")

    def _end(self) -> None:
        is_framed = b"content-length" in self._headers or b"transfer-encoding" in self._headers
        if self._head_came and not is_framed:
            self.is_whole = True  # Without a length, the connection's end is the body's.
        else:
            self._fail("Dify broke off the connection before the answer was whole")

    def _fail(self, message: str, cause: Exception | None = None) -> None:
        self.failure = DifyError(message)
        self.failure.__cause__ = cause

    # What httptools calls:

    def on_message_begin(self) -> None:
        """Another answer begins: the first of this request, or one that nobody asked for."""
        self._has_more = self.is_whole

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header field; of repeated ones the last counts."""
        if not self.is_whole:
            self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """The head is whole; one of an interim answer, such as `100 Continue`, is passed over."""
        status = self._parser.get_status_code()
        if self.is_whole or status < 200:
            return
        self._head_came = True
        content_type = self._headers.get(b"content-type", b"").decode("latin-1")
        retry_after = self._headers.get(b"retry-after", b"").decode("latin-1") or None
        self._arrivals.append(Head(status, content_type, retry_after))
        # None was asked for; gateways between do it all the same.
        encoding = self._headers.get(b"content-encoding", b"").lower()
        if encoding in (b"gzip", b"x-gzip"):
            self._encoded = _Gzip()
        elif encoding not in (b"", b"identity"):
            self._fail("Dify's answer is encoded in a way that was not asked for")

    def on_message_complete(self) -> None:
        """The answer is whole, unless it was an interim one; what follows is none of its body."""
        if not self._head_came:
            self._headers.clear()
        elif not self.is_whole:
            self._take_body()
            self.is_whole = True
            self._keeps_alive = self._parser.should_keep_alive()


class _Gzip:
    """What gzip made, maybe in several members, decoded as it comes."""

    def __init__(self) -> None:
        self._begin_member()

    @property
    def is_whole(self) -> bool:
        return self._member.eof or not self._began

    def decode(self, body: bytes) -> bytes:
        pieces = []
        while body:
            if self._member.eof:
                self._begin_member()
            self._began = True
            pieces.append(self._member.decompress(body))
            body = self._member.unused_data
        return b"".join(pieces)

    def _begin_member(self) -> None:
        self._member = zlib.decompressobj(wbits=31)
        self._began = False
