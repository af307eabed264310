"""Forms with one file in them, read piece by piece: the file is never in memory as a whole."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import flask
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio import multipart

from opendify.errors import InvalidRequest, RequestTooLarge, UnsupportedMedia
from opendify.serving.request_body import broken_off, read_pieces
from opendify.settings.files import FORM_OVERHEAD_BYTES

_READ_BYTES: Final = 65_536
# A part's headers must fit beside what is read at once.
_MOST_HEADER_BYTES: Final = 32_768
_MOST_FIELD_BYTES: Final = 65_536
_MOST_PARTS: Final = 32
_MOST_BOUNDARY_BYTES: Final = 200


@dataclass(slots=True)
class FileForm:
    """A form's fields, and what it tells of its file; `filename` is None where it has none."""

    fields: dict[str, str] = field(default_factory=dict)
    filename: str | None = None
    mime_type: str | None = None


def read_file_form(
    request: flask.Request,
    write: Callable[[bytes], object],
    *,
    most_file_bytes: int,
    file_field: str = "file",
) -> FileForm:
    """The form in the request's body; `write` is given its file piece by piece.

    Raises:
        InvalidRequest: No form, a broken one, one with too many parts, or with another file.
        RequestTooLarge: A field, or the whole of it, is too large.
    """
    request.max_content_length = most_file_bytes + FORM_OVERHEAD_BYTES
    reader = _FormReader(_boundary(request), write, file_field)
    for piece in read_pieces(request, _READ_BYTES):
        reader.feed(piece)
        if reader.ended:
            return reader.form
    raise broken_off()


def _boundary(request: flask.Request) -> bytes:
    kind, options = parse_options_header(request.headers.get("Content-Type"))
    if kind != "multipart/form-data":
        raise UnsupportedMedia("The body must be a form: send it as 'multipart/form-data'.")
    boundary = options.get("boundary", "").encode("utf-8", "replace")
    if not 0 < len(boundary) <= _MOST_BOUNDARY_BYTES:
        raise InvalidRequest("The Content-Type 'multipart/form-data' must name the form's boundary.")
    return boundary


class _FormReader:
    """Reads one form; `ended` once its last boundary came."""

    def __init__(self, boundary: bytes, write: Callable[[bytes], object], file_field: str) -> None:
        self.form = FileForm()
        self.ended = False
        self._write = write
        self._file_field = file_field
        self._decoder = multipart.MultipartDecoder(
            boundary, _READ_BYTES + _MOST_HEADER_BYTES, max_parts=_MOST_PARTS
        )
        self._field_name: str | None = None
        self._field = bytearray()
        self._field_bytes = 0

    def feed(self, piece: bytes) -> None:
        """Take what was read next."""
        try:
            self._decoder.receive_data(piece)
            while not self.ended:
                event = self._decoder.next_event()
                if isinstance(event, multipart.NeedData):
                    break
                self._take(event)
                self.ended = self._decoder.state is multipart.State.EPILOGUE
        except RequestEntityTooLarge:
            raise InvalidRequest(
                f"The form has more than {_MOST_PARTS} parts, or one of them too large headers."
            ) from None
        except ValueError as error:
            raise broken_off() from error

    def _take(self, event: multipart.Event) -> None:
        match event:
            case multipart.File(name=name, filename=filename):
                self._begin_file(name, filename, event.headers.get("Content-Type"))
            case multipart.Field(name=name):
                self._field_name = name or ""
                self._field = bytearray()
            case multipart.Data(data=content):
                self._take_content(content)
            case _:
                return

    def _begin_file(self, name: str | None, filename: str, mime_type: str | None) -> None:
        if name != self._file_field or self.form.filename is not None:
            raise InvalidRequest(
                f"The form must have exactly one file, in its field '{self._file_field}'.",
                param=self._file_field,
            )
        self._field_name = None
        self.form.filename, self.form.mime_type = filename, mime_type

    def _take_content(self, content: bytes) -> None:
        if self._field_name is None:
            self._write(content)
            return
        self._field_bytes += len(content)
        if self._field_bytes > _MOST_FIELD_BYTES:
            raise RequestTooLarge(f"The form's fields are too large: {_MOST_FIELD_BYTES} bytes are allowed.")
        self._field += content
        # Most fields come as one piece.
        self.form.fields[self._field_name] = self._field.decode("utf-8", "replace")
