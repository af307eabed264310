"""Which audio some bytes are, and what Dify wants it called."""

import re
from dataclasses import dataclass
from typing import Final, Literal

from opendify.errors import UnsupportedMedia

AudioKind = Literal["mp3", "m4a", "wav", "amr", "webm", "ogg", "flac", "aac"]

START_BYTES: Final = 16
"""So many bytes tell the kind."""

_MIME_TYPES: Final[dict[AudioKind, str]] = {
    "mp3": "audio/mpeg",
    "m4a": "audio/mp4",
    "wav": "audio/wav",
    "amr": "audio/amr",
    "webm": "audio/webm",
    "ogg": "audio/ogg",
    "flac": "audio/flac",
    "aac": "audio/aac",
}
# How each begins. An MPEG frame's header is told from text and pictures by fields that may not be all ones.
_STARTS: Final[tuple[tuple[AudioKind, re.Pattern[bytes]], ...]] = (
    ("mp3", re.compile(rb"ID3")),
    ("wav", re.compile(rb"RIFF.{4}WAVE", re.DOTALL)),
    ("m4a", re.compile(rb".{4}ftyp", re.DOTALL)),
    ("amr", re.compile(rb"#!AMR")),
    ("webm", re.compile(rb"\x1aE\xdf\xa3")),
    ("ogg", re.compile(rb"OggS")),
    ("flac", re.compile(rb"fLaC")),
    ("aac", re.compile(rb"\xff[\xf0\xf1\xf8\xf9]")),
    ("mp3", re.compile(rb"\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd][\x10-\xeb]", re.DOTALL)),
)
# Of the types that a version accepts, these are in all of them; the narrowest list is that since 1.7.2.
_ACCEPTED_BY_ALL: Final = frozenset({"mp3", "m4a", "wav", "amr"})


@dataclass(frozen=True, slots=True)
class PartNames:
    """What a form's audio part is called."""

    filename: str
    mime_type: str


def audio_kind(start: bytes) -> AudioKind | None:
    """What `start`, the first bytes, begins; None where it is no audio that anybody transcribes."""
    return next((kind for kind, pattern in _STARTS if pattern.match(start)), None)


def mime_type_of(kind: AudioKind) -> str:
    """The registered media type."""
    return _MIME_TYPES[kind]


def part_names(start: bytes) -> PartNames:
    """How to send audio that begins with `start`, whatever its sender calls it.

    Dify looks at nothing but the part's type, of which each version accepts other
    ones, and hands all content on as `temp.mp3`; the model looks at the bytes. So what
    has no type that all versions accept goes as `audio/mp3`.

    Raises:
        UnsupportedMedia: It is no audio.

    Source: Dify's `services/audio_service.py`, 0.15 to 1.16
    """
    kind = audio_kind(start)
    if kind is None:
        raise UnsupportedMedia(
            "The file is not audio: expected flac, m4a, mp3, mp4, ogg, wav, webm, aac or amr.", param="file"
        )
    name = kind if kind in _ACCEPTED_BY_ALL else "mp3"
    return PartNames(f"audio.{name}", f"audio/{name}")
