"""Content parts that hold files → `Attachment`s of Dify's types."""

import base64
import binascii
import hashlib
import mimetypes
import re
from pathlib import PurePosixPath
from urllib.parse import unquote, unquote_to_bytes

from opendify.errors import InvalidRequest
from opendify.translate.turn import Attachment, AttachmentType
from opendify.wire.openai_chat import (
    ContentPart,
    FilePart,
    FileSource,
    ImagePart,
    InputAudioPart,
    InputFilePart,
    InputImagePart,
    RefusalPart,
    TextPart,
)

# It goes into a header line of the upload.
_MIME_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+", re.ASCII)
_TYPES: dict[str, AttachmentType] = {"image": "image", "audio": "audio", "video": "video"}


def read_attachment(part: ContentPart, param: str) -> Attachment | None:
    """The file in a content part, None for text; `param` is the part's path in the request.

    The type follows the media type, not the part's name: Dify as a client sends
    audio and video as `image_url`.

    Raises:
        InvalidRequest: Neither an http(s) URL nor readable base64.
    """
    match part:
        case ImagePart() | InputImagePart():
            return _from_url(part.image_url.url, None, f"{param}.image_url", "image")
        case InputAudioPart():
            audio = part.input_audio
            name, mime_type = f"audio.{audio.format}", f"audio/{audio.format}"
            content = _decode(audio.data, f"{param}.input_audio.data")
            return Attachment("audio", name, mime_type, param, content=content)
        case FilePart():
            return _from_file(part.file, f"{param}.file")
        case InputFilePart():
            return _from_file(part, param)
        case TextPart() | RefusalPart():
            return None


def attachment_name(part: ContentPart) -> str:
    """What to call a file of an earlier turn, whose content nobody looks at again."""
    match part:
        case ImagePart() | InputImagePart():
            return _name_in_url(part.image_url.url) or "image"
        case FilePart():
            return part.file.filename or _name_in_url(part.file.file_url or "") or "file"
        case InputFilePart():
            return part.filename or _name_in_url(part.file_url or "") or "file"
        case _:
            return "audio"


def attachment_digest(part: ContentPart) -> str:
    """What tells a file from another: a digest of its source as the client wrote it."""
    return hashlib.blake2b(part.model_dump_json().encode(), digest_size=16).hexdigest()


def _name_in_url(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        return ""
    return PurePosixPath(unquote(url.partition("?")[0].partition("//")[2].partition("/")[2])).name


def _from_file(source: FileSource, param: str) -> Attachment:
    if source.file_url:
        return _from_url(source.file_url, source.filename, f"{param}.file_url", "document")
    if source.file_data is None:
        raise InvalidRequest(
            f"'{param}' needs 'file_data': a data: URI or base64. File ids are not supported yet.",
            param=param,
            code="unsupported_value" if source.file_id else "missing_required_parameter",
        )
    if source.file_data.startswith("data:"):
        return _from_url(source.file_data, source.filename, f"{param}.file_data", "document")
    name = source.filename or "file"
    mime_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    content = _decode(source.file_data, f"{param}.file_data")
    return Attachment(_type_of(mime_type, "document"), name, mime_type, param, content=content)


def _from_url(url: str, filename: str | None, param: str, default: AttachmentType) -> Attachment:
    if url.startswith("data:"):
        return _from_data_uri(url, filename, param, default)
    if not re.match(r"https?://[^\s/?#]", url):
        raise InvalidRequest(
            f"Invalid '{param}': expected an http(s) URL or a base64 data: URI.",
            param=param,
            code="invalid_value",
        )
    name = filename or _name_in_url(url) or default
    mime_type = mimetypes.guess_type(name)[0] or ""
    return Attachment(_type_of(mime_type, default), name, mime_type, param, url=url)


def _from_data_uri(uri: str, filename: str | None, param: str, default: AttachmentType) -> Attachment:
    header, comma, encoded = uri.removeprefix("data:").partition(",")
    if not comma:
        raise InvalidRequest(
            f"Invalid '{param}': a data: URI needs a comma.", param=param, code="invalid_value"
        )
    mime_type, *parameters = header.lower().split(";")
    if not _MIME_TYPE.fullmatch(mime_type):
        mime_type = ""
    content = _decode(encoded, param) if "base64" in parameters else unquote_to_bytes(encoded)
    kind = _type_of(mime_type, default)
    name = filename or f"{kind}{mimetypes.guess_extension(mime_type) or ''}"
    return Attachment(kind, name, mime_type or "text/plain", param, content=content)


def _type_of(mime_type: str, default: AttachmentType) -> AttachmentType:
    family = mime_type.partition("/")[0]
    if family in _TYPES:
        return _TYPES[family]
    return "document" if mime_type else default


def _decode(encoded: str, param: str) -> bytes:
    try:
        content = base64.b64decode(unquote(encoded), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if not content:
        raise InvalidRequest(f"Invalid '{param}': expected base64 data.", param=param, code="invalid_value")
    return content
