"""Server-sent events as bytes: decoding what Dify sends, framing what clients get."""

import json

import msgspec

KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"

# JSON leaves these raw, and line splitters that follow Unicode break a line at them.
_UNICODE_LINE_ENDS = (("\u0085", "\\u0085"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))
# A number is found at once; for bytes, `in` raises and catches an error first.
_CARRIAGE_RETURN = ord("\r")
_encode = msgspec.json.Encoder().encode


class SSEDecoder:
    """Decodes one stream; holds what the next chunk must complete."""

    def __init__(self) -> None:
        self._partial_line: list[bytes] = []
        self._event_data: list[bytes] = []
        self._after_carriage_return = False
        self._at_start = True
        self.is_between_events = True
        """Whether nothing of an event was fed that a next chunk must complete."""

    def feed(self, chunk: bytes) -> list[bytes]:
        """The `data` of each event that `chunk` completes.

        `chunk` may end anywhere, even inside a UTF-8 character or between CR and
        LF; the rest waits for the next call. Events without `data` (Dify's `ping`)
        are not returned. Lines end at CR, LF or CR LF only: Dify sends U+2028 raw.

        Source: https://html.spec.whatwg.org/multipage/server-sent-events.html
        """
        if self.is_between_events and (payloads := _whole_events(chunk)):
            self._at_start = False
            return payloads
        lines = self._complete_lines(chunk)
        payloads = []
        for line in lines:
            if line.startswith(b"data:"):
                self._event_data.append(line[6:] if line.startswith(b"data: ") else line[5:])
            elif not line and self._event_data:
                payloads.append(b"\n".join(self._event_data))
                self._event_data.clear()
        self.is_between_events = not (self._partial_line or self._event_data or self._after_carriage_return)
        return payloads

    def _complete_lines(self, chunk: bytes) -> list[bytes]:
        if not chunk:
            return []
        if self._after_carriage_return and chunk.startswith(b"\n"):
            chunk = chunk[1:]
        if _CARRIAGE_RETURN in chunk or self._after_carriage_return:
            self._after_carriage_return = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        *complete, rest = chunk.split(b"\n")
        if complete:
            complete[0] = b"".join([*self._partial_line, complete[0]])
            self._partial_line.clear()
            if self._at_start:
                self._at_start = False
                complete[0] = complete[0].removeprefix(b"\xef\xbb\xbf")
        if rest:
            self._partial_line.append(rest)
        return complete


def _whole_events(chunk: bytes) -> list[bytes] | None:
    """The `data` of a chunk that is nothing but whole events of one line each, as most are; else None."""
    if not (chunk.startswith(b"data: ") and chunk.endswith(b"\n\n")) or _CARRIAGE_RETURN in chunk:
        return None
    payloads = chunk[6:-2].split(b"\n\ndata: ")
    return payloads if chunk.count(b"\n") == 2 * len(payloads) else None


def encode_json(shape: object) -> bytes:
    """Compact JSON that is safe on one `data:` line.

    Raw UTF-8, except what a line splitter could take for a line end. Lone
    surrogates, which UTF-8 cannot carry, stay `\\udXXX` escapes: two deltas may
    hold the halves of one character, and JavaScript clients join them again.
    """
    try:
        encoded = _encode(shape)
    except UnicodeEncodeError:
        finite = json.loads(json.dumps(shape), parse_constant=lambda _: None)
        return json.dumps(finite, separators=(",", ":")).encode("ascii")
    if encoded.isascii() or (encoded.find(b"\xc2\x85") < 0 and encoded.find(b"\xe2\x80") < 0):
        return encoded
    return _escape_line_ends(encoded)


def encode_text(text: str) -> bytes:
    """`encode_json` of a text; most are short and ASCII, and nothing in such a one can need care."""
    return _encode(text) if text.isascii() else encode_json(text)


def _escape_line_ends(encoded: bytes) -> bytes:
    text = encoded.decode()
    for character, escape in _UNICODE_LINE_ENDS:
        text = text.replace(character, escape)
    return text.encode()


def frame(data: bytes) -> bytes:
    """One event of a chat stream: a `data:` line, LF ends, a blank line; nothing else.

    Dify's own client drops events that carry any other field, or CR LF ends.
    """
    return b"data: " + data + b"\n\n"
