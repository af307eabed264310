"""Small files, each of which begins as its kind does."""

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from opendify.dify.uploads import Content


def png(width: int = 1, height: int = 1) -> bytes:
    """A red PNG, or the head of one that claims to be larger."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixel = zlib.compress(b"\0\xff\0\0")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")


def gif(width: int, height: int) -> bytes:
    """The head of a GIF."""
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(20)


def webp(width: int, height: int) -> bytes:
    """The head of an extended WebP."""
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + size
    return b"RIFF" + struct.pack("<I", len(body)) + body


PNG: Final = png()
JPEG: Final = (
    b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0" + b"\xff\xc0\0\x0b\x08\0\1\0\1\1\1\x11\0" + b"\xff\xd9"
)
PDF: Final = b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
MP3: Final = b"\xff\xfb\x90\0" + bytes(413)
WAV: Final = b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + bytes(24)
MP4: Final = b"\0\0\0\x18ftypisom\0\0\2\0isommp41" + bytes(16)


@dataclass(frozen=True)
class SentFile:
    """What is uploaded to Dify."""

    filename: str
    mime_type: str
    content: bytes

    @property
    def bytes(self) -> int:
        return len(self.content)

    @property
    def open(self) -> Callable[[], Content]:
        return partial(io.BytesIO, self.content)
