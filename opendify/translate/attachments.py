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
_MOST_NAME_CHARS = 200
# Of paths, and of what terminals and header lines obey.
_NO_NAME = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_TYPES: dict[str, AttachmentType] = {"image": "image", "audio": "audio", "video": "video"}


def read_attachment(part: ContentPart, param: str) -> Attachment | None:
    """The file in a content part, None for text; `param` is the part's path in the request.

    The type follows the media type, not the part's name: Dify as a client sends
    audio and video as `image_url`.

    Raises:
        InvalidRequest: Neither an http(s) URL nor readable base64, or a name that is none.
    """
    match part:
        case ImagePart():
            return _from_url(part.image_url.url, None, f"{param}.image_url", "image")
        case InputImagePart():
            return _from_input_image(part, param)
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
            return (part.image_url and _name_in_url(part.image_url.url)) or "image"
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
    path = url.partition("#")[0].partition("?")[0].partition("//")[2].partition("/")[2]
    name = _NO_NAME.sub("", PurePosixPath(unquote(path)).name)
    return name[-_MOST_NAME_CHARS:]


def _from_input_image(part: InputImagePart, param: str) -> Attachment:
    if part.image_url:
        return _from_url(part.image_url.url, None, f"{param}.image_url", "image")
    if part.file_id:
        return Attachment("image", "", "", f"{param}.file_id", file_id=part.file_id)
    raise InvalidRequest(
        f"'{param}' needs 'image_url' (an http(s) URL or a data: URI) or 'file_id'.",
        param=param,
        code="missing_required_parameter",
    )


def _from_file(source: FileSource, param: str) -> Attachment:
    filename = _checked_name(source.filename, f"{param}.filename")
    if source.file_id:
        name, where = filename or "", f"{param}.file_id"
        return Attachment("document", name, "", where, file_id=source.file_id)
    if source.file_url:
        return _from_url(source.file_url, filename, f"{param}.file_url", "document")
    if source.file_data is None:
        raise InvalidRequest(
            f"'{param}' needs 'file_data' (a data: URI or base64), 'file_id' or 'file_url'.",
            param=param,
            code="missing_required_parameter",
        )
    if source.file_data.startswith("data:"):
        return _from_url(source.file_data, filename, f"{param}.file_data", "document")
    mime_type = mimetypes.guess_type(filename or "")[0] or ""
    content = _decode(source.file_data, f"{param}.file_data")
    return Attachment(type_of(mime_type, "document"), filename or "file", mime_type, param, content=content)


def _checked_name(filename: str | None, param: str) -> str | None:
    """A name as a file of one folder could have it; Dify, and whoever saves the file, take it as it is."""
    if not filename:
        return None
    if len(filename) > _MOST_NAME_CHARS or filename in {".", ".."} or _NO_NAME.search(filename):
        raise InvalidRequest(
            f"Invalid '{param}': expected a file's name of at most {_MOST_NAME_CHARS} characters, "
            "without a path and control characters.",
            param=param,
            code="invalid_value",
        )
    return filename


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
    return Attachment(type_of(mime_type, default), name, mime_type, param, url=url)


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
    if not content:
        raise InvalidRequest(f"Invalid '{param}': the file is empty.", param=param, code="invalid_value")
    kind = type_of(mime_type, default)
    name = filename or f"{kind}{mimetypes.guess_extension(mime_type) or ''}"
    return Attachment(kind, name, mime_type, param, content=content)


def type_of(mime_type: str, default: AttachmentType) -> AttachmentType:
    """Dify's type for a media type; `default` where there is none."""
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
