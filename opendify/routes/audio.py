"""OpenAI's audio endpoints."""

import errno
from collections.abc import Iterator
from contextlib import closing

import flask
from flask.typing import ResponseReturnValue

from opendify.audio.duration import recording_seconds
from opendify.audio.speech import Speaker, Speech
from opendify.audio.transcription import Transcriber
from opendify.conversations.identity import BodyIdentity
from opendify.errors import GatewayError, InvalidRequest
from opendify.files.spool import Spool
from opendify.routes.answers import STREAM_HEADERS, json_response
from opendify.routes.forms import read_file_form
from opendify.routes.paths import DEPLOYMENT
from opendify.routes.people import People
from opendify.serving.request_body import read_body
from opendify.telemetry.observation import Observation
from opendify.telemetry.requests import observation
from opendify.wire.openai_audio import (
    SpeechRequest,
    TranscriptionRequest,
    speech_frames,
    transcript_frames,
    verbose_transcript,
)
from opendify.wire.openai_errors import parse_request
from opendify.wire.openai_files import parse_fields
from opendify.wire.sse import encode_json, frame

_MOST_BYTES_IN_MEMORY = 1 << 19
_SUBTITLES = ("srt", "vtt", "diarized_json")


def audio_blueprint(transcriber: Transcriber, speaker: Speaker, people: People) -> flask.Blueprint:
    """The routes below `/v1/audio`; each call takes a slot until its answer is closed."""
    blueprint = flask.Blueprint("audio", __name__, url_prefix="/v1/audio")

    @blueprint.post("/transcriptions")
    def create_transcription() -> ResponseReturnValue:
        caller = people.caller()
        with closing(Spool(_MOST_BYTES_IN_MEMORY)) as spool:
            request = _read_transcription(spool, transcriber.most_bytes)
            person = people.person(caller, b"", BodyIdentity(user=request.user))
            people.enter(person)
            text = transcriber.transcribe(request.model or _deployment(), spool.file, person)
            if request.response_format != "verbose_json":
                return _transcript(text, request)
            seconds = recording_seconds(spool.file)
        return json_response(verbose_transcript(text, seconds=seconds, language=request.language or ""))

    @blueprint.post("/translations")
    def create_translation() -> ResponseReturnValue:
        people.caller()
        raise InvalidRequest(
            "Recordings cannot be translated: Dify turns speech into text in the language that was spoken. "
            "Use /v1/audio/transcriptions, and an app to translate the text.",
            code="unsupported_value",
        )

    @blueprint.post("/speech")
    def create_speech() -> ResponseReturnValue:
        caller = people.caller()
        raw = read_body(flask.request)
        request = parse_request(SpeechRequest, raw)
        if not request.model:
            request = request.model_copy(update={"model": _deployment()})
        named = {"conversation_id": request.conversation_id}
        identity = BodyIdentity(user=request.user and request.user.id, fields=named)
        person = people.person(caller, raw, identity)
        people.enter(person)
        return _spoken(speaker.speak(request, person), as_events=request.stream_format == "sse")

    return blueprint


def _deployment() -> str:
    """Azure's clients leave the model to the URL."""
    deployment: str = flask.request.environ.get(DEPLOYMENT, "")
    return deployment


def _read_transcription(spool: Spool, most_bytes: int) -> TranscriptionRequest:
    """The form; its file is written to `spool`."""
    form = read_file_form(flask.request, spool.write, most_file_bytes=most_bytes)
    spool.finish()
    # SDKs mark lists so.
    fields = {name.removesuffix("[]"): value for name, value in form.fields.items()}
    request = parse_fields(TranscriptionRequest, fields)
    _refuse_what_dify_has_not(request)
    if form.filename is None:
        raise InvalidRequest(
            "Missing required parameter: 'file'.", param="file", code="missing_required_parameter"
        )
    return request


def _refuse_what_dify_has_not(request: TranscriptionRequest) -> None:
    if request.response_format in _SUBTITLES:
        raise InvalidRequest(
            f"'response_format' cannot be {request.response_format!r}: Dify gives the text of a recording, "
            "but neither times nor speakers. Use 'json', 'text' or 'verbose_json'.",
            param="response_format",
            code="unsupported_value",
        )
    if request.timestamp_granularities == "word":
        raise InvalidRequest(
            "'timestamp_granularities' cannot contain 'word': Dify gives no times of words.",
            param="timestamp_granularities",
            code="unsupported_value",
        )


def _transcript(text: str, request: TranscriptionRequest) -> ResponseReturnValue:
    if request.stream:
        return flask.Response(b"".join(transcript_frames(text)), headers=STREAM_HEADERS)
    if request.response_format == "text":
        return flask.Response(text, content_type="text/plain; charset=utf-8")
    return json_response({"text": text})


def _spoken(speech: Speech, *, as_events: bool) -> flask.Response:
    # The pieces leave when the request's context is gone.
    observed = observation()
    if as_events:
        response = flask.Response(_events(speech, observed), headers=STREAM_HEADERS)
    else:
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        audio = _audio(speech, observed)
        response = flask.Response(audio, headers=headers, content_type=speech.content_type)
    response.call_on_close(speech.close)
    return response


def _events(speech: Speech, observed: Observation) -> Iterator[bytes]:
    try:
        yield from speech_frames(speech.pieces)
    except GatewayError as error:
        observed.minor_error = error.code
        yield frame(encode_json(error.to_body()))


def _audio(speech: Speech, observed: Observation) -> Iterator[bytes]:
    """The bytes; where they break off, so does the connection, since nothing else would tell."""
    try:
        yield from speech.pieces
    except GatewayError as error:
        observed.minor_error = error.code
        # What servers take for a client that left: they end the connection without a word.
        raise ConnectionResetError(errno.ECONNRESET, error.message) from error
