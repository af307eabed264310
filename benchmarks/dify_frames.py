"""What a chat app of Dify sends, as prepared bytes; shapes, key order and sizes are those of Dify 1.12.1."""

from collections.abc import Iterable, Iterator

from benchmarks.directive import piece_text

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
_NO_TEXT = piece_text(0)

INFO = b'{"name":"bench","description":"","tags":[],"mode":"chat","author_name":"bench"}'
PARAMETERS = b'{"opening_statement":"","suggested_questions":[],"user_input_form":[],"file_upload":{}}'


class Frames:
    """One answer's events, under ids of its own as each of Dify's has."""

    def __init__(self, number: int) -> None:
        conversation, message, self.task_id = (
            b"%08x-0000-4000-8000-%012x" % (number, kind) for kind in range(3)
        )
        self._ids = (conversation, message, self.task_id, message)
        frame = b'data: %b"answer":"%b","from_variable_selector":null}\n\n'
        # All texts are equally long, and so are all frames.
        whole = frame % (self._event(b"message"), _NO_TEXT)
        self._before_text, _, self._after_text = whole.partition(_NO_TEXT)

    def pieces(self, texts: Iterable[bytes]) -> Iterator[bytes]:
        """One `message` event a text."""
        return (self._before_text + text + self._after_text for text in texts)

    def end(self) -> bytes:
        """`message_end`."""
        event = self._event(b"message_end") + b'"metadata":%b,"files":null}' % _METADATA
        return b"data: " + event + b"\n\n"

    def whole(self, pieces: int) -> bytes:
        """The answer to a blocking request, as JSON."""
        answer = b"".join(map(piece_text, range(pieces)))
        return self._event(b"message") + b'"mode":"chat","answer":"%b","metadata":%b}' % (answer, _METADATA)

    def _event(self, name: bytes) -> bytes:
        return _EVENT % (name, *self._ids)
