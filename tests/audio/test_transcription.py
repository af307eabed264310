"""`POST /v1/audio/transcriptions`: what Dify is sent, what clients get."""

import json
from collections.abc import Mapping
from email.message import Message
from email.parser import BytesParser
from io import BytesIO

import httpx
import pytest
from flask.testing import FlaskClient
from openai.types.audio import (
    Transcription,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
    TranscriptionVerbose,
)
from werkzeug.test import TestResponse

from tests.conftest import Serve
from tests.fakes.frames import read_frames
from tests.fakes.mock_dify import MockDify, always, refusal
from tests.fakes.openai_errors import assert_openai_error
from tests.fakes.recordings import wav

URL = "/v1/audio/transcriptions"
MP3 = b"ID3\x04" + bytes(60)


def form_of(content: bytes = MP3, **fields: object) -> dict[str, object]:
    form = {"model": "bot", "file": (BytesIO(content), "a.mp3", "audio/mpeg"), **fields}
    return {name: value for name, value in form.items() if value is not None}


def post(client: FlaskClient, form: dict[str, object]) -> TestResponse:
    return client.post(URL, data=form, content_type="multipart/form-data")


def send(serve: Serve, content: bytes = MP3, fields: Mapping[str, object] | None = None) -> TestResponse:
    return post(serve(), form_of(content, **(fields or {})))


def parts_of(request: httpx.Request) -> dict[str, Message]:
    """A form's parts by their names."""
    head = b"Content-Type: " + request.headers["Content-Type"].encode() + b"\r\n\r\n"
    parts = BytesParser().parsebytes(head + request.content).get_payload()
    assert isinstance(parts, list)
    named = [part for part in parts if isinstance(part, Message)]
    return {str(part.get_param("name", header="Content-Disposition")): part for part in named}


def test_the_text_is_what_dify_heard(serve: Serve) -> None:
    answer = send(serve)

    assert answer.status_code == 200
    assert answer.content_type == "application/json"
    assert answer.get_json() == {"text": "Guten Morgen"}
    assert Transcription.model_validate(answer.get_json()).text == "Guten Morgen"


def test_dify_gets_the_recording_and_the_person_and_nothing_else(serve: Serve, dify: MockDify) -> None:
    send(serve, fields={"user": "anna", "language": "de", "prompt": "Names: Anna", "temperature": "0.2"})

    (request,) = dify.asked("audio-to-text")
    parts = parts_of(request)
    assert str(request.url) == "http://dify.test/v1/audio-to-text"
    assert request.headers["Authorization"] == "Bearer app-bot"
    assert set(parts) == {"file", "user"}
    assert parts["file"].get_payload(decode=True) == MP3
    assert "anna" in str(parts["user"].get_payload())


@pytest.mark.parametrize(
    ("content", "named", "typed", "sent_as"),
    [
        (MP3, "a.mp3", "audio/mpeg", "audio/mp3"),
        (b"\xff\xfb\x90\x00" + bytes(60), "speech.mp3", "audio/mpeg", "audio/mp3"),
        (wav(), "a.wav", "audio/x-wav", "audio/wav"),
        (b"\0\0\0\x20ftypM4A " + bytes(60), "a.m4a", "audio/x-m4a", "audio/m4a"),
        (b"\0\0\0\x20ftypisom" + bytes(60), "a.mp4", "video/mp4", "audio/m4a"),
        (b"\0\0\0\x20ftypqt  " + bytes(60), "a.mov", "video/quicktime", "audio/m4a"),
        (b"#!AMR\n" + bytes(60), "a.amr", "audio/amr", "audio/amr"),
        # What browsers record; no version since 1.7.2 takes its own types.
        (b"\x1aE\xdf\xa3" + bytes(60), "blob", "audio/webm;codecs=opus", "audio/mp3"),
        (b"OggS" + bytes(60), "a.ogg", "application/ogg", "audio/mp3"),
        (b"fLaC" + bytes(60), "a.flac", "audio/flac", "audio/mp3"),
        (b"\xff\xf1\x50" + bytes(60), "a.aac", "audio/aac", "audio/mp3"),
        # The bytes count, whatever the client says.
        (wav(), "photo.png", "image/png", "audio/wav"),
    ],
)
def test_a_part_has_a_type_that_every_version_takes(
    serve: Serve, dify: MockDify, content: bytes, named: str, typed: str, sent_as: str
) -> None:
    assert send(serve, fields={"file": (BytesIO(content), named, typed)}).status_code == 200

    part = parts_of(dify.asked("audio-to-text")[0])["file"]
    assert part["Content-Type"] == sent_as
    assert part.get_filename() == f"audio.{sent_as.removeprefix('audio/')}"


def test_plain_text_is_nothing_but_the_text(serve: Serve) -> None:
    answer = send(serve, fields={"response_format": "text"})

    assert (answer.content_type, answer.text) == ("text/plain; charset=utf-8", "Guten Morgen")


def test_a_verbose_transcript_is_one_segment_as_long_as_the_recording(serve: Serve) -> None:
    answer = send(serve, wav(1.5), {"response_format": "verbose_json", "language": "de"})

    verbose = TranscriptionVerbose.model_validate(answer.get_json())
    assert (verbose.text, verbose.duration, verbose.language) == ("Guten Morgen", 1.5, "de")
    assert verbose.segments
    (segment,) = verbose.segments
    assert (segment.start, segment.end, segment.text) == (0.0, 1.5, "Guten Morgen")


@pytest.mark.parametrize(
    "content", [b"\x1aE\xdf\xa3" + bytes(60), b"RIFF\xff\xff\xff\xffWAVEfmt " + bytes(9)]
)
def test_a_duration_that_the_file_does_not_tell_is_zero(serve: Serve, content: bytes) -> None:
    answer = send(serve, content, {"response_format": "verbose_json"})

    assert answer.get_json()["duration"] == 0.0


def test_a_stream_tells_the_text_in_the_events_of_openai(serve: Serve) -> None:
    answer = send(serve, fields={"stream": "true"})

    assert answer.content_type == "text/event-stream; charset=utf-8"
    delta, done, end = read_frames([answer.data])
    assert TranscriptionTextDeltaEvent.model_validate(delta).delta == "Guten Morgen"
    assert TranscriptionTextDoneEvent.model_validate(done).text == "Guten Morgen"
    assert end == "[DONE]"


def test_silence_is_an_empty_text(serve: Serve, dify: MockDify) -> None:
    dify.answers["audio-to-text"] = lambda _: httpx.Response(200, json={"text": ""})

    assert send(serve).get_json() == {"text": ""}
    (done, _) = read_frames([send(serve, fields={"stream": "true"}).data])
    assert done == {"type": "transcript.text.done", "text": ""}
    assert send(serve, fields={"response_format": "verbose_json"}).get_json()["segments"] == []


@pytest.mark.parametrize(
    "path", ["/audio/transcriptions", "/v1/v1/audio/transcriptions/", "/openai/v1/audio/transcriptions"]
)
def test_the_paths_that_clients_write_lead_here_too(serve: Serve, path: str) -> None:

    assert serve().post(path, data=form_of()).status_code == 200


def test_azure_names_the_model_in_the_path(serve: Serve) -> None:
    url = "/openai/deployments/bot/audio/transcriptions"

    assert serve().post(url, data=form_of(model=None)).status_code == 200


@pytest.mark.parametrize("wanted", ["srt", "vtt", "diarized_json"])
def test_what_needs_times_or_speakers_is_refused_by_name(serve: Serve, dify: MockDify, wanted: str) -> None:
    message = assert_openai_error(
        send(serve, fields={"response_format": wanted}), 400, "unsupported_value", param="response_format"
    )

    assert wanted in message
    assert not dify.asked("audio-to-text"), "nobody pays for it"


@pytest.mark.parametrize(
    ("fields", "code", "param"),
    [
        ({"response_format": "xml"}, "invalid_value", "response_format"),
        ({"temperature": "7"}, "decimal_above_max_value", "temperature"),
        ({"stream": "perhaps"}, "invalid_type", "stream"),
        ({"timestamp_granularities[]": "word"}, "unsupported_value", "timestamp_granularities"),
        ({"file": "no file"}, "missing_required_parameter", "file"),
        ({"file": None}, "missing_required_parameter", "file"),
        ({"model": None}, None, None),
    ],
)
def test_a_wrong_field_is_named(
    serve: Serve, fields: dict[str, object], code: str | None, param: str | None
) -> None:
    assert_openai_error(send(serve, fields=fields), 400, code, param=param)


def test_granularities_of_segments_are_what_there_is(serve: Serve) -> None:
    answer = send(serve, fields={"response_format": "verbose_json", "timestamp_granularities[]": ["segment"]})

    assert answer.status_code == 200


def test_an_unknown_model_is_named(serve: Serve) -> None:
    assert "'whisper-1'" in assert_openai_error(
        send(serve, fields={"model": "whisper-1"}), 404, "model_not_found", param="model"
    )


def test_an_alias_is_the_same_app(serve: Serve, dify: MockDify) -> None:
    client = serve({"bot": {"api_key": "app-bot", "aliases": ["whisper-1"]}})

    assert post(client, form_of(model="whisper-1")).status_code == 200
    assert dify.asked("audio-to-text")[0].headers["Authorization"] == "Bearer app-bot"


@pytest.mark.parametrize(
    ("content", "typed"),
    [
        (b"\x89PNG\r\n\x1a\n" + bytes(60), "audio/mpeg"),
        (b"%PDF-1.7" + bytes(60), "audio/mpeg"),
        (b"\xff\xd8\xff\xe0" + bytes(60), "audio/mpeg"),
        ("\ufeffsome words".encode("utf-16-le"), "audio/wav"),
        (b"RIFF\x24\0\0\0WEBPVP8 ", "audio/wav"),
        (b"\0\0\0\x20ftypavif" + bytes(60), "audio/mp4"),
        (b"x", "audio/wav"),
    ],
)
def test_what_is_no_audio_is_refused_whatever_it_is_called(
    serve: Serve, dify: MockDify, content: bytes, typed: str
) -> None:
    answer = send(serve, fields={"file": (BytesIO(content), "a.mp3", typed)})

    assert "flac, m4a, mp3" in assert_openai_error(answer, 415, "unsupported_media_type", param="file")
    assert not dify.requests


def test_an_empty_file_is_refused(serve: Serve) -> None:
    assert "empty" in assert_openai_error(send(serve, b""), 400, "invalid_value", param="file")


def test_a_long_recording_is_refused_with_the_limit(serve: Serve, dify: MockDify) -> None:
    answer = post(serve(MAX_AUDIO_BYTES="2048"), form_of(MP3 + bytes(3_000)))

    assert "2048" in assert_openai_error(answer, 413, "request_too_large", param="file")
    assert not dify.requests


def test_a_body_beyond_the_limit_of_all_requests_is_refused(serve: Serve) -> None:
    answer = post(serve(MAX_REQUEST_BYTES="2048"), form_of(MP3 + bytes(3_000)))

    assert_openai_error(answer, 413, "request_too_large", param="file")


def test_a_body_that_is_no_form_is_refused(serve: Serve) -> None:
    assert_openai_error(serve().post(URL, json={"model": "bot"}), 415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("body", "boundary"),
    [
        (b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nhalf', "; boundary=x"),
        (b"whatever", ""),
    ],
)
def test_a_form_that_breaks_off_is_refused(serve: Serve, body: bytes, boundary: str) -> None:
    answer = serve().post(URL, data=body, content_type=f"multipart/form-data{boundary}")

    assert_openai_error(answer, 400, None)


def test_too_many_parts_are_refused(serve: Serve) -> None:
    many = {f"field{number}": "x" for number in range(200)}

    assert "32 parts" in assert_openai_error(send(serve, fields=many), 400, None)


def test_an_app_that_does_not_listen_says_so_before_anything_is_sent(serve: Serve, dify: MockDify) -> None:
    dify.answers["parameters"] = lambda _: httpx.Response(200, json={"speech_to_text": {"enabled": False}})

    assert "Speech to Text" in assert_openai_error(send(serve), 400, "unsupported_value", param="model")
    assert not dify.asked("audio-to-text")


def test_a_key_is_asked_for_before_the_file_is_read(serve: Serve) -> None:
    client = serve(AUTH_MODE="keys", API_KEYS="team:sk-of-the-team")

    assert_openai_error(client.post(URL, data={"model": "bot"}), 401, "invalid_api_key")


def test_translations_are_refused_with_the_reason(serve: Serve, dify: MockDify) -> None:
    answer = serve().post("/v1/audio/translations", data=form_of())

    assert "language that was spoken" in assert_openai_error(answer, 400, "unsupported_value")
    assert not dify.requests


@pytest.mark.parametrize(
    ("said", "status", "code"),
    [
        (refusal(400, "invalid_param", "Speech to text is not enabled"), 400, None),
        (refusal(400, "speech_to_text_disabled", "Speech to text is disabled"), 400, None),
        (refusal(400, "provider_not_support_speech_to_text"), 502, "upstream_app_error"),
        (refusal(413, "audio_too_large", "Audio size exceeded. {message}"), 413, "request_too_large"),
        (httpx.Response(413, html="<h1>413"), 413, "request_too_large"),
        (refusal(415, "unsupported_audio_type"), 415, "unsupported_media_type"),
        (refusal(400, "completion_request_error", "[whisper] Error: no"), 502, "upstream_run_failed"),
        (refusal(400, "provider_quota_exceeded"), 429, "insufficient_quota"),
        (refusal(401, "unauthorized"), 502, "upstream_auth_error"),
        (refusal(500, "internal_server_error"), 502, "upstream_error"),
        (httpx.Response(200, html="<h1>login"), 502, "upstream_error"),
        (httpx.Response(200, content=b"null"), 502, "upstream_error"),
        (httpx.Response(200, json={"text": None}), 502, "upstream_error"),
        (httpx.Response(200, content=b""), 502, "upstream_error"),
        (httpx.Response(302, headers={"Location": "http://elsewhere.test/"}), 502, "upstream_error"),
    ],
)
def test_what_dify_refuses_is_an_error_of_ours(
    serve: Serve, dify: MockDify, said: httpx.Response, status: int, code: str | None
) -> None:
    dify.answers["audio-to-text"] = always(said)

    assert_openai_error(send(serve), status, code)


def test_a_model_that_cannot_be_reached_is_stood_in_for(serve: Serve, dify: MockDify) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.headers["Authorization"] == "Bearer app-a":
            raise httpx.ConnectError("no", request=request)
        return httpx.Response(200, json={"text": "from b"})

    dify.answers["audio-to-text"] = answer
    client = serve({"a": {"api_key": "app-a", "fallbacks": ["b"]}, "b": "app-b"})

    assert post(client, form_of(model="a")).get_json() == {"text": "from b"}
    sent = parts_of(dify.asked("audio-to-text")[-1])["file"].get_payload(decode=True)
    assert sent == MP3, "from its start again"


def test_a_run_that_may_have_been_paid_for_is_not_repeated_elsewhere(serve: Serve, dify: MockDify) -> None:
    dify.answers["audio-to-text"] = lambda _: refusal(500, "internal_server_error")
    client = serve({"a": {"api_key": "app-a", "fallbacks": ["b"]}, "b": "app-b"})

    answer = post(client, form_of(model="a"))

    assert_openai_error(answer, 502, "upstream_error")
    assert answer.headers["x-should-retry"] == "false"
    assert len(dify.asked("audio-to-text")) == 1


def test_an_app_is_not_asked_more_often_at_once_than_it_may(serve: Serve, dify: MockDify) -> None:
    client = serve({"bot": {"api_key": "app-bot", "max_concurrency": 1}}, QUEUE_SECONDS="0")
    chat = json.dumps({"model": "bot", "messages": [{"role": "user", "content": "Hi"}], "stream": True})
    seen = []

    def answer(_: httpx.Request) -> httpx.Response:
        seen.append(client.post("/v1/chat/completions", data=chat).status_code)
        return httpx.Response(200, json={"text": "x"})

    dify.answers["audio-to-text"] = answer

    assert post(client, form_of()).status_code == 200
    assert seen == [429]
    assert client.post("/v1/chat/completions", data=chat).status_code == 200, "the place was given back"
