"""Which audio some bytes are, and what Dify wants it called."""

from dataclasses import dataclass
from typing import Final

from opendify.attachments.signatures import recognise
from opendify.errors import UnsupportedMedia

START_BYTES: Final = 16
"""So many bytes tell audio from all else."""

# Of the types that a version accepts, these are in all of them; the narrowest list is that since 1.7.2.
_ACCEPTED_BY_ALL: Final = {
    "audio/mpeg": "mp3",
    "audio/mp4": "m4a",
    "audio/quicktime": "m4a",
    "audio/wav": "wav",
    "audio/amr": "amr",
}


@dataclass(frozen=True, slots=True)
class PartNames:
    """What a form's audio part is called."""

    filename: str
    mime_type: str


def audio_type(start: bytes) -> str | None:
    """The media type of the audio that `start` begins; None where it is none that anybody transcribes."""
    found = recognise(start)
    if found is None or "audio" not in found.types:
        return None
    # What holds a film may hold sound alone; nobody sends more to be transcribed.
    return found.mime_type.replace("video/", "audio/")


def part_names(start: bytes) -> PartNames:
    """How to send audio that begins with `start`, whatever its sender calls it.

    Dify looks at nothing but the part's type, of which each version accepts other
    ones, and hands all content on as `temp.mp3`; the model looks at the bytes. So what
    has no type that all versions accept goes as `audio/mp3`.

    Raises:
        UnsupportedMedia: It is no audio.

    Source: Dify's `services/audio_service.py`, 0.15 to 1.16
    """
    mime_type = audio_type(start)
    if mime_type is None:
        raise UnsupportedMedia(
            "The file is not audio: expected flac, m4a, mp3, mp4, ogg, wav, webm, aac or amr.", param="file"
        )
    name = _ACCEPTED_BY_ALL.get(mime_type, "mp3")
    return PartNames(f"audio.{name}", f"audio/{name}")
