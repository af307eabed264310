"""Speech in both directions, as the official `openai` package sends and reads it."""

from pathlib import Path

import openai
import pytest

from tests.fakes.recordings import wav

RECORDING = wav()
HEARD = f"Simulated transcript of {len(RECORDING)} bytes."


def test_a_file_is_transcribed(client: openai.OpenAI, tmp_path: Path) -> None:
    file = tmp_path / "recording.wav"
    file.write_bytes(RECORDING)

    transcription = client.audio.transcriptions.create(model="demo-chat", file=file)

    assert transcription.text == HEARD


def test_a_transcript_may_be_plain_text(client: openai.OpenAI) -> None:
    text = client.audio.transcriptions.create(
        model="demo-chat", file=("a.wav", RECORDING), response_format="text"
    )

    assert text == HEARD


def test_a_verbose_transcript_tells_the_length(client: openai.OpenAI) -> None:
    verbose = client.audio.transcriptions.create(
        model="demo-chat", file=("a.wav", RECORDING), response_format="verbose_json", language="en"
    )

    assert (verbose.text, float(verbose.duration), verbose.language) == (HEARD, 0.5, "en")
    assert verbose.segments
    assert [segment.text for segment in verbose.segments] == [HEARD]


def test_a_transcript_is_streamed(client: openai.OpenAI) -> None:
    with client.audio.transcriptions.create(
        model="demo-chat", file=("a.wav", RECORDING), stream=True
    ) as stream:
        events = list(stream)

    assert [event.type for event in events] == ["transcript.text.delta", "transcript.text.done"]
    assert events[-1].type == "transcript.text.done"
    assert events[-1].text == HEARD


def test_speech_is_streamed_into_a_file(client: openai.OpenAI, tmp_path: Path) -> None:
    file = tmp_path / "speech.mp3"

    with client.audio.speech.with_streaming_response.create(
        model="demo-chat", input="Good morning", voice="alloy"
    ) as response:
        response.stream_to_file(file)

    assert response.headers["Content-Type"] == "audio/mpeg"
    assert file.read_bytes().startswith(b"\xff\xfb")


def test_an_answer_is_read_aloud(client: openai.OpenAI) -> None:
    asked = client.chat.completions.with_raw_response.create(
        model="demo-chat", messages=[{"role": "user", "content": "Hi"}]
    )
    message = {
        "message_id": asked.headers["X-Dify-Message-Id"],
        "conversation_id": asked.headers["X-Dify-Conversation-Id"],
    }

    speech = client.audio.speech.create(model="demo-chat", input="", voice="alloy", extra_body=message)
    assert speech.read().startswith(b"\xff\xfb")

    with pytest.raises(openai.NotFoundError) as unknown:
        client.audio.speech.create(
            model="demo-chat", input="", voice="alloy", extra_body={**message, "user": "somebody else"}
        )
    assert unknown.value.code == "conversation_not_found"


def test_refusals_name_what_is_wrong(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as mute:
        client.audio.speech.create(model="demo-agent-chat", input="Hi", voice="alloy")
    with pytest.raises(openai.APIStatusError) as picture:
        client.audio.transcriptions.create(model="demo-chat", file=("a.wav", b"\x89PNG\r\n\x1a\n"))

    assert (mute.value.code, mute.value.param) == ("unsupported_value", "model")
    assert (picture.value.status_code, picture.value.code) == (415, "unsupported_media_type")
