"""Files and audio: upload, preview, speech to text, text to speech."""

from __future__ import annotations

import base64

from flask import Blueprint, Response, abort, request
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import FileStorage

from opendify.simulator.errors import NOT_UNDERSTOOD, DifyError, invalid_param
from opendify.simulator.memory import Upload
from opendify.simulator.serving_context import (
    DEFAULT_USER,
    Json,
    json_response,
    read_body,
    require_app,
    world,
)
from opendify.simulator.turns import stable_id

blueprint = Blueprint("files", __name__, url_prefix="/v1")
signed_blueprint = Blueprint("signed_files", __name__, url_prefix="/files")

# An MPEG audio frame header and silence: enough for a content type check, not for a loudspeaker.
_SPEECH = b"\xff\xfb\x90\x00" + bytes(413)
_SPEECH_FRAMES = 4
_RED_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
_IMAGE_EXTENSIONS = frozenset({"jpg", "jpeg", "png", "webp", "gif", "svg"})
_AUDIO_EXTENSIONS = frozenset({"mp3", "m4a", "wav", "amr", "mpga"})
_VIDEO_EXTENSIONS = frozenset({"mp4", "mov", "mpeg", "webm"})
_MAX_AUDIO_BYTES = 30 * 1024 * 1024
_OLD_AUDIO = frozenset({"mp3", "mp4", "mpeg", "mpga", "m4a", "wav", "webm", "amr"})
_NEW_AUDIO = frozenset({"mp3", "m4a", "wav", "amr", "mpga"})


@blueprint.post("/files/upload")
def upload_file() -> ResponseReturnValue:
    caller = require_app()
    part = _read_part("no_file_uploaded", "Please upload your file.")
    if not part.filename:
        raise DifyError(400, "filename_not_exists_error", "The specified filename does not exist.")
    if not part.mimetype:
        raise DifyError(415, "unsupported_file_type", "File type not allowed.")
    if "/" in part.filename or "\\" in part.filename:
        raise invalid_param("Filename contains invalid characters")
    user = request.form.get("user") or DEFAULT_USER
    upload = Upload(caller.app_key, user, part.filename, part.mimetype, part.read(), world().clock())
    _check_size(upload)
    world().store.add_upload(upload)
    return json_response(_upload_row(upload), 201)


@blueprint.get("/files/<uuid:upload_id>/preview")
def preview_file(upload_id: object) -> ResponseReturnValue:
    if not world().quirks.serves_preview:
        abort(404)
    caller = require_app()
    upload = world().store.uploads.get(str(upload_id))
    if upload is None or not upload.used or upload.app_key != caller.app_key:
        raise DifyError(404, "file_not_found", "File not found in message context")
    if request.args.get("as_attachment") == "true":
        answer = Response(upload.content, content_type="application/octet-stream")
        answer.headers["Content-Disposition"] = "attachment; filename*=UTF-8''file"
    else:
        answer = Response(upload.content, content_type=upload.mime_type)
    answer.headers["Cache-Control"] = "public, max-age=3600"
    return answer


@signed_blueprint.get("/<uuid:upload_id>/file-preview")
def open_signed_upload(upload_id: object) -> ResponseReturnValue:
    """Where the links to uploads lead; nobody checks the signature."""
    upload = world().store.uploads.get(str(upload_id))
    if upload is None:
        abort(404)
    return Response(upload.content, content_type=upload.mime_type)


@signed_blueprint.get("/tools/<uuid:image_id>.png")
def open_signed_image(image_id: object) -> ResponseReturnValue:
    del image_id  # Every picture is the same.
    return Response(_RED_PNG, content_type="image/png")


@blueprint.post("/audio-to-text")
def hear() -> ResponseReturnValue:
    app = require_app().app
    if not app.speech_to_text:
        raise invalid_param("Speech to text is not enabled")
    part = _read_part("no_audio_uploaded", "Please upload your audio.")
    accepted = _NEW_AUDIO if world().quirks.serves_preview else _OLD_AUDIO
    kind, _, subtype = (part.mimetype or "").partition("/")
    if kind != "audio" or subtype not in accepted:
        raise DifyError(415, "unsupported_audio_type", "Audio type not allowed.")
    content = part.read()
    if len(content) > _MAX_AUDIO_BYTES:
        raise DifyError(413, "audio_too_large", "Audio size larger than 30 mb")
    return json_response({"text": f"Simulated transcript of {len(content)} bytes."})


@blueprint.post("/text-to-audio")
def speak() -> ResponseReturnValue:
    """Answers JSON `null` with 200 where there is nothing to say, as Dify does."""
    caller = require_app()
    body = read_body()
    if not caller.app.text_to_speech and not body.get("voice"):
        raise invalid_param("TTS is not enabled")
    message_id = body.get("message_id")
    text = body.get("text")
    if message_id:
        message = world().store.messages.get(str(message_id))
        text = message.answer if message else None
    if not text:
        return json_response(None)
    return Response((_SPEECH for _ in range(_SPEECH_FRAMES)), content_type="audio/mpeg")


def _read_part(code: str, message: str) -> FileStorage:
    part = request.files.get("file")
    if part is not None:
        return part
    if not world().quirks.rich_uploads:
        raise DifyError(400, "bad_request_key_error", NOT_UNDERSTOOD)
    raise DifyError(400, code, message)


def _check_size(upload: Upload) -> None:
    options = world().options
    limits = (
        (_IMAGE_EXTENSIONS, options.max_image_bytes),
        (_AUDIO_EXTENSIONS, options.max_audio_bytes),
        (_VIDEO_EXTENSIONS, options.max_video_bytes),
    )
    limit = next((limit for known, limit in limits if upload.extension in known), options.max_upload_bytes)
    if len(upload.content) > limit:
        # Dify never fills in this template.
        raise DifyError(413, "file_too_large", "File size exceeded. {message}")


def _upload_row(upload: Upload) -> Json:
    fields: Json = {
        "id": upload.id,
        "name": upload.name,
        "size": len(upload.content),
        "extension": upload.extension,
        "mime_type": upload.mime_type,
        "created_by": stable_id(upload.app_key, upload.user),
        "created_at": int(upload.created_at),
    }
    if world().quirks.rich_uploads:
        signed = world().uploaded_file_url(upload.id)
        fields |= dict.fromkeys(("preview_url", "original_url", "user_id", "conversation_id", "file_key"))
        fields |= {"source_url": signed, "tenant_id": stable_id("tenant")}
    return fields
