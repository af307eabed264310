"""What a file is, by its own bytes; what it only claims to be is refused."""

import codecs
import io
import mimetypes
import struct
from contextlib import closing
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Final, get_args

from opendify.attachments.local_files import LocalFile
from opendify.attachments.signatures import HEAD_BYTES, Format, recognise
from opendify.errors import RequestTooLarge, UnsupportedMedia
from opendify.translate.attachments import type_of
from opendify.translate.turn import AttachmentType

_PDF: Final = "application/pdf"
_SVG: Final = "image/svg+xml"
_UNTOLD: Final = frozenset({"", "application/octet-stream", "binary/octet-stream"})
_IMAGE_HEADER_BYTES: Final = 1024**2
_TYPES: Final[tuple[AttachmentType, ...]] = get_args(AttachmentType)


def inspect(file: LocalFile, *, most_pixels: int) -> LocalFile:
    """`file` with the type, media type and name that fit its bytes.

    Raises:
        UnsupportedMedia: Its bytes are something else than its media type says.
        RequestTooLarge: An image with more pixels than `most_pixels`.
    """
    with closing(file.open()) as content:
        head = content.read(_IMAGE_HEADER_BYTES)
    found = recognise(head[:HEAD_BYTES])
    if found and found.types == ("image",):
        _refuse_a_bomb(file, head, most_pixels)
    if file.mime_type in _UNTOLD:
        file = _as_found(file, found, head[:HEAD_BYTES])
    else:
        file = replace(file, type=type_of(file.mime_type, file.type))
        _refuse_a_lie(file, found)
        file = _corrected(file, found)
    return _named_rightly(file, found)


def _refuse_a_lie(file: LocalFile, found: Format | None) -> None:
    if found is None:
        # Every image that a model can see, and every PDF, is known by its first bytes.
        is_lie = file.type == "image" or file.mime_type == _PDF
    else:
        is_lie = file.type not in found.types or (file.mime_type == _PDF and found.mime_type != _PDF)
    if is_lie:
        content = f"is {found.mime_type}" if found else "is nothing of the kind"
        raise _unsupported(file, f"says that it is {file.mime_type}, but its content {content}")


def _corrected(file: LocalFile, found: Format | None) -> LocalFile:
    """A JPEG that is called a PNG is taken as what it is: models hold the two against each other."""
    if found is None or found.types[0] not in ("image", "audio") or found.mime_type == _SVG:
        return file
    subtype = file.mime_type.partition("/")[2].removeprefix("x-")
    claimed = (mimetypes.guess_extension(file.mime_type) or subtype).removeprefix(".")
    is_right = file.type == "audio" and claimed in found.extensions
    return file if is_right else replace(file, mime_type=found.mime_type)


def _as_found(file: LocalFile, found: Format | None, head: bytes) -> LocalFile:
    """A file whose media type nobody told."""
    if found:
        return replace(file, type=found.types[0], mime_type=found.mime_type)
    if _is_text(head):
        return replace(file, type="document", mime_type="text/plain")
    if file.type != "document":
        raise _unsupported(
            file, "does not say what it is, and its content does not tell; send a data: URI with a media type"
        )
    return replace(file, mime_type="application/octet-stream")


def _unsupported(file: LocalFile, fault: str) -> UnsupportedMedia:
    return UnsupportedMedia(
        f"The file in '{file.param}' {fault}.", param=file.param, code="invalid_file_type"
    )


def _is_text(head: bytes) -> bool:
    try:
        # The last character may be cut.
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return b"\0" not in head


def _named_rightly(file: LocalFile, found: Format | None) -> LocalFile:
    """Dify tells a file's type by the end of its name."""
    suffix = PurePosixPath(file.filename).suffix[1:].lower()
    claimed = type_of_name(file.filename)
    usual = (mimetypes.guess_extension(file.mime_type) or "").removeprefix(".")
    fitting = found.extensions if found and file.type == found.types[0] != "document" else (usual,)
    is_right = suffix in fitting or (claimed == file.type and file.type in ("document", "video"))
    if is_right or not fitting[0]:
        return file
    stem = PurePosixPath(file.filename).stem if claimed else file.filename
    return replace(file, filename=f"{stem or file.type}.{fitting[0]}")


def type_of_name(filename: str) -> AttachmentType | None:
    """The type that a name claims; None where it claims none."""
    family = (mimetypes.guess_type(filename)[0] or "").partition("/")[0]
    if not family:
        return None
    return next((known for known in _TYPES if known == family), "document")


def _refuse_a_bomb(file: LocalFile, head: bytes, most_pixels: int) -> None:
    width, height = image_size(head)
    if not width * height and len(head) == _IMAGE_HEADER_BYTES:
        raise _unsupported(file, "is an image that does not tell its size at its beginning")
    if width * height > most_pixels:
        raise RequestTooLarge(
            f"The image in '{file.param}' claims {width:.0f} x {height:.0f} pixels; "
            f"at most {most_pixels} are taken.",
            param=file.param,
            code="image_too_large",
        )


def image_size(head: bytes) -> tuple[float, float]:
    """Pixels, as the header tells them, which is all that is read; 0 where it does not."""
    if head.startswith((b"GIF87a", b"GIF89a")):
        # The library reads these as signed: a side above 32767 would be less than nothing.
        return struct.unpack_from("<HH", head.ljust(10, b"\0"), 6)
    import imagesize  # Only where there are images: it brings a part of `urllib` with it.

    try:
        width, height = imagesize.get(io.BytesIO(head))
    except Exception:  # noqa: BLE001 - Whatever it stumbles over is no size.
        return 0, 0
    return max(width, 0), max(height, 0)
