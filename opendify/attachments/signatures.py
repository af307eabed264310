"""What a file is by its first bytes.

The libraries for this know hundreds of formats and answer with guesses: several at
once, or `docx` for every ZIP archive. Here only what tells Dify's four types apart
counts, so that a file is refused only where its bytes leave no doubt.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from opendify.translate.turn import AttachmentType

HEAD_BYTES: Final = 4_096
"""So much of a file's beginning is looked at."""

_FILM_OR_SOUND: Final[tuple[AttachmentType, ...]] = ("video", "audio")


@dataclass(frozen=True, slots=True)
class Format:
    """A format that was recognised. The first of `extensions` is the usual one.

    `types` are those of Dify that it may count as, the likeliest first: what holds a
    film may hold sound alone.
    """

    mime_type: str
    extensions: tuple[str, ...]
    types: tuple[AttachmentType, ...]


Matches = Callable[[bytes], bool]


def recognise(head: bytes) -> Format | None:
    """The format of a file that begins with `head`; None where it could be anything."""
    return next((found for matches, found in _FORMATS if matches(head)), None)


def _at(start: int, *magics: bytes) -> Matches:
    return lambda head: head[start:].startswith(magics)


def _riff(kind: bytes) -> Matches:
    return lambda head: head.startswith(b"RIFF") and head[8:12] == kind


def _brand(*brands: bytes) -> Matches:
    """ISO's container, by the brand it names first."""
    return lambda head: head[4:8] == b"ftyp" and head[8:12].startswith(brands)


def _is_svg(head: bytes) -> bool:
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return start.startswith(b"<svg") or (start.startswith((b"<?xml", b"<!")) and b"<svg" in head)


def _is_bmp(head: bytes) -> bool:
    return head.startswith(b"BM") and head[6:10] == bytes(4) and len(head) >= 14


# An MPEG frame's header is told from text and pictures by fields that may not be all ones.
_MPEG_FRAME: Final = re.compile(rb"\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd][\x10-\xeb]")
_AAC_FRAME: Final = re.compile(rb"\xff[\xf0\xf1\xf8\xf9]")


def _is_mp3(head: bytes) -> bool:
    return head.startswith(b"ID3") or bool(_MPEG_FRAME.match(head))


def _is_aac(head: bytes) -> bool:
    return bool(_AAC_FRAME.match(head))


def _format(mime_type: str, extensions: str, *types: AttachmentType) -> Format:
    return Format(mime_type, tuple(extensions.split()), types)


_FORMATS: Final[tuple[tuple[Matches, Format], ...]] = (
    (_at(0, b"\x89PNG\r\n\x1a\n"), _format("image/png", "png", "image")),
    (_at(0, b"\xff\xd8\xff"), _format("image/jpeg", "jpg jpeg jpe jfif", "image")),
    (_at(0, b"GIF87a", b"GIF89a"), _format("image/gif", "gif", "image")),
    (_riff(b"WEBP"), _format("image/webp", "webp", "image")),
    (_is_bmp, _format("image/bmp", "bmp dib", "image")),
    (_at(0, b"II*\0", b"MM\0*"), _format("image/tiff", "tiff tif", "image")),
    (_at(0, b"\0\0\1\0"), _format("image/x-icon", "ico", "image")),
    (_brand(b"avif", b"avis"), _format("image/avif", "avif", "image")),
    (_brand(b"hei", b"hev", b"mif1", b"msf1"), _format("image/heic", "heic heif", "image")),
    (_is_svg, _format("image/svg+xml", "svg", "image", "document")),
    (_at(0, b"%PDF-"), _format("application/pdf", "pdf", "document")),
    (_at(0, b"PK\3\4", b"PK\5\6"), _format("application/zip", "zip", "document")),
    (_at(0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"), _format("application/x-ole-storage", "doc", "document")),
    (_riff(b"WAVE"), _format("audio/wav", "wav", "audio")),
    (_is_mp3, _format("audio/mpeg", "mp3 mpga mpeg", "audio")),
    (_is_aac, _format("audio/aac", "aac", "audio")),
    (_at(0, b"#!AMR"), _format("audio/amr", "amr", "audio")),
    (_at(0, b"fLaC"), _format("audio/flac", "flac", "audio")),
    (_brand(b"M4A", b"M4B"), _format("audio/mp4", "m4a m4b mp4", "audio")),
    (_at(0, b"OggS"), _format("audio/ogg", "ogg oga opus ogv", "audio", "video")),
    (_brand(b"qt  "), _format("video/quicktime", "mov", *_FILM_OR_SOUND)),
    (_at(4, b"ftyp"), _format("video/mp4", "mp4 m4v m4a 3gp mov", *_FILM_OR_SOUND)),
    (_at(0, b"\x1aE\xdf\xa3"), _format("video/webm", "webm mkv weba", *_FILM_OR_SOUND)),
    (_at(0, b"\0\0\1\xba", b"\0\0\1\xb3"), _format("video/mpeg", "mpeg mpg", "video")),
    (_riff(b"AVI "), _format("video/x-msvideo", "avi", "video")),
    (_at(0, b"FLV\1"), _format("video/x-flv", "flv", "video")),
    (_at(0, b"MZ\x90\0", b"\x7fELF"), _format("application/x-executable", "exe", "document")),
)
