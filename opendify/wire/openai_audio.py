"""`/v1/audio/…`: what clients send, and the shapes of what they get.

Source: https://platform.openai.com/docs/api-reference/audio
"""

import base64
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from opendify.wire.openai_chat import UserField
from opendify.wire.sse import DONE, encode_json, frame

TranscriptFormat = Literal["json", "text", "verbose_json", "srt", "vtt", "diarized_json"]
SpeechFormat = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]

MOST_INPUT_CHARACTERS = 4_096

_DifyId = Annotated[str, Field(max_length=64)]


class TranscriptionRequest(BaseModel):
    """The fields of the form, all of them strings; of a list the last counts. Others are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    model: str | None = None
    response_format: TranscriptFormat = "json"
    stream: bool = False
    language: str | None = None
    temperature: Annotated[float, Field(ge=0, le=1)] | None = None
    timestamp_granularities: Literal["segment", "word"] = "segment"
    user: str | None = None


class Voice(BaseModel):
    """A voice of the client's own; its id is what Dify is told."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    id: str | None = None


class SpeechRequest(BaseModel):
    """The body; `message_id` and `conversation_id` are extensions, and stand in for `input`."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    model: str | None = None
    input: Annotated[str, Field(max_length=MOST_INPUT_CHARACTERS)] | None = None
    voice: (
        Annotated[
            Voice,
            BeforeValidator(
                lambda voice: {"id": voice} if isinstance(voice, str) else voice,
                json_schema_input_type=str | Voice,
            ),
        ]
        | None
    ) = None
    response_format: SpeechFormat | None = None
    speed: Annotated[float, Field(ge=0.25, le=4)] | None = None
    stream_format: Literal["audio", "sse"] | None = None
    user: UserField | None = None
    message_id: _DifyId | None = None
    conversation_id: _DifyId | None = None


def verbose_transcript(text: str, *, seconds: float, language: str) -> Mapping[str, object]:
    """A transcript of one segment; Dify tells nothing but its text, so what was heard of the rest is 0."""
    segment = {
        "id": 0,
        "seek": 0,
        "start": 0.0,
        "end": seconds,
        "text": text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": 0.0,
        "compression_ratio": 0.0,
        "no_speech_prob": 0.0,
    }
    return {
        "task": "transcribe",
        "language": language,
        "duration": seconds,
        "text": text,
        "segments": [segment] if text else [],
    }


def transcript_frames(text: str) -> Iterator[bytes]:
    """A transcript as the events of a stream: all of it is known at once."""
    if text:
        yield _event({"type": "transcript.text.delta", "delta": text})
    yield _event({"type": "transcript.text.done", "text": text})
    yield DONE


def speech_frames(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Audio as the events of a stream; what it cost in tokens, Dify does not tell."""
    for piece in pieces:
        yield _event({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode("ascii")})
    yield _event({"type": "speech.audio.done"})
    yield DONE


def _event(shape: Mapping[str, object]) -> bytes:
    return frame(encode_json(shape))
